"""How long an upstream takes to answer, and so how long an attempt waits before another one is made.

Smoothed time and deviation as TCP keeps them (RFC 6298 section 2), of real answers only; of equal ones the slowest hundredth
too, for hedging. Pure. Always holds: FIRST_WAIT until something was measured, then between LEAST_WAIT and LONGEST_WAIT.
"""

FIRST_WAIT = 0.4
"""Seconds for an upstream never measured. A recursor that knows an answer takes milliseconds, one that must go far some 300."""
LEAST_WAIT = 0.05
"""Seconds: far above what a busy host adds to an answer of a millisecond, low enough that a lost datagram is hardly felt.
unbound has the same floor."""
LONGEST_WAIT = 0.8
"""Seconds: a second attempt must have a chance within the deadline of 1.8 s."""
TAIL_SAMPLES = 128
"""Answers of which the slowest but one is the 99th percentile."""
TAIL_REVIEW = 32
"""Answers between two looks at them: sorting 128 numbers costs some 10 microseconds."""


class RoundTrip:
    """The times of one upstream over one transport."""

    __slots__ = ("_deviation", "_samples", "_smoothed", "_taken", "sampled_at", "tail", "wait")

    def __init__(self) -> None:
        self.wait = FIRST_WAIT
        """Seconds an attempt waits before it counts as late."""
        self.sampled_at = -1.0
        """When an answer was last taken into account; one a turn is enough (RFC 6298 section 3: one per round trip)."""
        self.tail = -1.0
        """Seconds within which 99 of 100 answers came; -1 while too few are known."""
        self._smoothed = -1.0
        self._deviation = 0.0
        self._samples: list[float] = []
        self._taken = 0

    def took(self, seconds: float, now: float) -> None:
        """An answer came after so many seconds."""
        self.sampled_at = now
        smoothed = self._smoothed
        if smoothed < 0:
            self._smoothed, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(seconds - smoothed) - self._deviation) / 4
            self._smoothed = smoothed + (seconds - smoothed) / 8
        wait = self._smoothed + 4 * self._deviation
        self.wait = LEAST_WAIT if wait < LEAST_WAIT else min(wait, LONGEST_WAIT)

    def took_among_equals(self, seconds: float) -> None:
        """The same for the tail, where queries are hedged."""
        if len(self._samples) < TAIL_SAMPLES:
            self._samples.append(seconds)
        else:
            self._samples[self._taken % TAIL_SAMPLES] = seconds
        self._taken += 1
        if self._taken >= TAIL_SAMPLES and not self._taken % TAIL_REVIEW:
            self.tail = sorted(self._samples)[-2]
