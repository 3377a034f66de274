"""What may be asked of an upstream beyond the first query of each question: a token bucket.

Retransmissions, hedges, prefetches and probes share it, so that a server in trouble is never asked much more because it is
slow: a slow recursor must not be tripled, and cloud resolvers drop above 1,024 packets a second. Several workers divide it
among them. Pure. Always holds: no more than BURST tokens in all workers; they grow by a tenth of the first queries, or by
LEAST_RATE a second where that is more.
"""

SHARE = 0.1
"""Tokens for each first query."""
LEAST_RATE = 10.0
"""Tokens a second however little is asked: a node that asks once a second must survive a lost datagram."""
BURST = 256.0
"""Tokens kept: what 8 connections with 32 queries outstanding on each lose at once when a server is replaced."""


class Budget:
    """The tokens of one upstream."""

    __slots__ = ("_burst", "_filled_at", "_least_rate", "_tokens", "firsts")

    def __init__(self, now: float, part: float = 1.0) -> None:
        """`part` of the tokens: one in as many as there are workers."""
        self._burst = max(BURST * part, 1.0)
        self._least_rate = LEAST_RATE * part
        self._tokens = self._burst
        self._filled_at = now
        self.firsts = 0
        """First queries since tokens were last counted; whoever sends one adds it."""

    def has_any(self, now: float) -> bool:
        """Whether there is a token."""
        self.fill(now)
        return self._tokens >= 1

    def take(self, now: float) -> bool:
        """Whether there is a token, which is then gone."""
        if not self.has_any(now):
            return False
        self._tokens -= 1
        return True

    def spend(self, now: float) -> None:
        """Take a token though there be none: for the one probe that says what all who wait want to know."""
        self.fill(now)
        self._tokens -= 1

    def fill(self, now: float) -> None:
        """Add what was earned since the last time."""
        earned = max(self.firsts * SHARE, (now - self._filled_at) * self._least_rate)
        self._tokens = min(self._tokens + earned, self._burst)
        self._filled_at = now
        self.firsts = 0
