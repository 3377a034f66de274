"""The servers we forward to: over which transports each is asked, and all that is known of it.

Always holds: one server over one transport is one `Server`, in however many zones it stands, so that what one question learns
of it all others know. Decides nothing about a question: `selection` does.
"""

from collections.abc import Awaitable
from enum import Enum
from typing import Protocol

from forwarder.upstream.budget import Budget
from forwarder.upstream.dialect import Dialect
from forwarder.upstream.health import Health
from forwarder.upstream.round_trip import RoundTrip
from forwarder.upstream.tally import Tally
from forwarder.wire.message import Query
from forwarder.wire.records import Response


class Failed(Enum):
    """Why an exchange has no response."""

    TIMEOUT = "timeout"
    """None came in the time given to it; it is still open, and may yet bring one."""
    MISMATCHED = "mismatched"
    """Something came that is not the response; it is still open. Perhaps somebody forges answers (RFC 5452)."""
    TRUNCATED = "truncated"
    """The response does not fit a datagram: the question goes over a stream (RFC 7766 section 5)."""
    EXHAUSTED = "exhausted"
    """Nothing was sent: every socket or connection we allow ourselves is taken."""
    NETWORK = "network"
    """It could not be reached, or ended the connection before it ever answered there."""
    LOST = "lost"
    """A connection that had brought responses ended: it may have been idle for too long, or the server was replaced. Says
    nothing against the server yet, and is worth another try there at once."""
    CERTIFICATE = "certificate"
    """The server did not prove to be who it should: not asked again for this question."""
    MALFORMED = "malformed"


OPEN = (Failed.TIMEOUT, Failed.MISMATCHED)
"""After these the exchange may be awaited again, and must be, or be abandoned."""


class Exchanging(Awaitable[Response | Failed], Protocol):
    """A query on its way: to be awaited, and again after what is in OPEN."""

    def prolong(self, until: float) -> None:
        """Before it is awaited again: it is to count as late again at `until`."""

    def abandon(self) -> None:
        """Nobody waits any more: give back what it holds. For an exchange that is open only."""


class Upstream(Protocol):
    """A server over one transport: a query goes in, what came of it comes out. It never raises."""

    name: str
    """Address and port as people write them."""
    is_stream: bool
    """TCP, or TLS."""
    round_trip: RoundTrip

    def exchange(self, query: Query, until: float, *, edns: bool = True, apart: bool = False) -> Exchanging:
        """Begin; to be awaited at once. Late at `until` (seconds of the worker's clock).

        `apart`: where nothing else waits, for it may be what all wait behind.
        """

    def tidy(self, now: float) -> None:
        """Close what has been idle for so long that it is not relied upon."""

    def close(self) -> None:
        """Close what is idle; what carries a query closes when that is settled."""


class Reviewing(Protocol):
    """A zone."""

    def review(self) -> None:
        """One of its upstreams changed."""


class Probing(Protocol):
    """Who probes an upstream."""

    def on_trouble(self) -> None:
        """Its health says when to probe it."""


class Server:
    """One upstream."""

    __slots__ = (
        "budget", "dialect", "has_left", "health", "is_looped", "is_ready", "legs", "name", "probe", "tally", "zones",
    )  # fmt: skip

    def __init__(self, name: str, legs: tuple[Upstream, ...], tally: Tally, now: float, part: float = 1.0) -> None:
        """`part` of its budget is ours: one in as many as there are workers."""
        self.name = name
        self.legs = legs
        """The transport it is configured for, then the other one, for what the first cannot do; none for TLS."""
        self.tally = tally
        self.health = Health()
        self.budget = Budget(now, part)
        self.dialect = Dialect()
        self.is_looped = False
        """Whether what we ask it comes back to us."""
        self.is_ready = True
        """Whether a question goes there without another thought."""
        self.zones: list[Reviewing] = []
        """Where it stands."""
        self.has_left = False
        """Whether it is asked nothing new any more."""
        self.probe: Probing | None = None
        """Who is told when it becomes suspect, and when it says something while it is down."""
        tally.is_up(up=True)
        tally.is_looped(looped=False)

    @property
    def is_usable(self) -> bool:
        """Whether it counts as up and is not a way back to ourselves."""
        return self.health.is_up and not self.is_looped

    def failed(self, reason: str, now: float) -> None:
        """An attempt brought no readable response; `reason` as in counters.FAILURE_REASONS."""
        self.tally.failed(reason)
        if self.health.failed(now):
            self._look_into()

    def answered(self, now: float) -> None:
        """It responded, whatever it said."""
        health = self.health
        if not health.is_troubled:
            return
        if health.answered(now):
            self._came_up()
        elif not health.is_up:
            self._look_into()

    def was_probed(self, now: float, *, answered: bool) -> None:
        """A probe ended."""
        if answered:
            if self.health.probe_answered(now):
                self._came_up()
            return
        self.tally.probe_failed()
        if self.health.probe_failed(now):
            self.tally.is_up(up=False)
            self.settle()

    def took(self, leg: int, seconds: float, now: float) -> None:
        """A response came over this leg after so many seconds, to a query as it is usually sent."""
        self.legs[leg].round_trip.took(seconds, now)
        self.answered(now)

    def learn_dialect(self, now: float, *, edns: bool, was_refused: bool) -> None:
        """It answered usably, to a query with OPT or without; `was_refused`: one with OPT was, before."""
        self.dialect.learn(now, edns=edns, was_refused=was_refused)
        self.settle()

    def loops(self, *, is_looped: bool) -> None:
        """What we asked it came back to us, or does so no more."""
        self.is_looped = is_looped
        self.health.recoveries += not is_looped
        self.tally.is_looped(looped=is_looped)
        self.settle()

    def leave(self) -> None:
        """It is asked nothing new; questions in progress end where they began."""
        self.has_left = True
        self.probe = None  # which knows it: nothing else would free the two
        for leg in self.legs:
            leg.close()

    def tidy(self, now: float) -> None:
        """Once a second: add the tokens it earned, close what has been idle for too long."""
        self.budget.fill(now)
        for leg in self.legs:
            leg.tidy(now)

    def settle(self) -> None:
        """Something about it changed."""
        self.is_ready = self.is_usable and not self.dialect.is_plain
        for zone in self.zones:
            zone.review()

    def _look_into(self) -> None:
        if self.probe is not None:
            self.probe.on_trouble()

    def _came_up(self) -> None:
        self.tally.is_up(up=True)
        self.settle()
