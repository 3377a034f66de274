"""Which upstream is asked next, for how long, and when a failed one is tried again.

Pure decisions: `now` and what happened go in, what to do comes out. Always holds: upstreams are asked in the order in which
they are written, a later one only after an earlier failed or while it counts as down; at most MAX_ATTEMPTS queries for a
question, at most MAX_ATTEMPTS_EACH of them to one upstream; an upstream that answered with a failure is not asked again for
this question.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from forwarder.wire.message import Query
from forwarder.wire.records import Response

MAX_ATTEMPTS = 6
"""Upstream queries for one question, whatever happens."""
MAX_ATTEMPTS_EACH = 3
"""To one upstream over one transport (RFC 9520 section 3.1)."""
FIRST_WAIT = 0.4
"""Seconds the first attempt waits. A recursor that knows the answer takes milliseconds, one that must go far some 300."""
LONGER_WAIT = 1.5
"""How much longer each further round over the upstreams waits: 0.4, 0.6, 0.9 s; the deadline cuts the last."""
LEAST_WAIT = FIRST_WAIT / 2
WAITS = tuple(FIRST_WAIT * LONGER_WAIT**number for number in range(MAX_ATTEMPTS_EACH))
DOWN_AFTER = 3
"""Attempts in a row without a readable response after which an upstream counts as down and is asked last. One lost datagram,
or two, happens to upstreams in good health."""
FIRST_REST = 1.0
"""Seconds until a down upstream is asked first again; doubles each time it fails again."""
LONGEST_REST = 30.0
"""Seconds: an upstream that came back is in use after this long at the latest."""


class Failed(Enum):
    """Why an attempt brought no response."""

    TIMEOUT = "timeout"
    NETWORK = "network"
    """It could not be reached."""
    LOST = "lost"
    """A connection that had been established ended: it may have been idle for too long, or the server was replaced. Says
    nothing against the server yet, and is worth another try there at once."""
    CERTIFICATE = "certificate"
    """The server did not prove to be who it should: not asked again for this question."""
    MALFORMED = "malformed"


class Upstream(Protocol):
    """A server over one transport: a query goes in, what came of it comes out. It never raises."""

    name: str
    """Address and port as people write them."""

    def exchange(self, query: Query, until: float) -> Awaitable[Response | Failed]:
        """Begin one attempt, to be awaited once, at once; ended at `until` (seconds of the worker's clock) at the latest."""


@dataclass(slots=True)
class Health:
    """What is known of one upstream, from real answers only."""

    failures: int = 0
    """Attempts without a readable response since the last."""
    rest: float = FIRST_REST
    rests_until: float = 0.0
    """Asked last until then."""

    @property
    def is_up(self) -> bool:
        """Whether it counts as up."""
        return self.failures < DOWN_AFTER


@dataclass(slots=True)
class Attempts:
    """What was tried for one question so far."""

    made: dict[int, int] = field(default_factory=dict)
    """Attempts by upstream."""
    ruled_out: set[int] = field(default_factory=set)
    """Upstreams that answered with a failure."""
    total: int = 0


class Selection:
    """The upstreams of one zone, by number, in written order."""

    __slots__ = ("health",)

    def __init__(self, upstreams: int) -> None:
        self.health = [Health() for _ in range(upstreams)]

    def first(self, now: float) -> int:
        """Whom a new question goes to: the first in order that is not resting, else the first. -1: there is none."""
        number = 0
        for health in self.health:
            if health.rests_until <= now:
                return number
            number += 1
        return 0 if number else -1

    def next(self, attempts: Attempts, now: float, *, again: int = -1) -> int:
        """Whom the question goes to after what was tried, `again` first where it may be; -1: enough."""
        if attempts.total >= MAX_ATTEMPTS:
            return -1
        if 0 < attempts.made.get(again, 0) < MAX_ATTEMPTS_EACH:
            return again
        open_to = [
            number
            for number in range(len(self.health))
            if number not in attempts.ruled_out and attempts.made.get(number, 0) < MAX_ATTEMPTS_EACH
        ]
        return min(
            open_to,
            key=lambda number: (attempts.made.get(number, 0), self.health[number].rests_until > now, number),
            default=-1,
        )

    def give_up_at(self, round_number: int, now: float, until: float) -> float:
        """When the next attempt ends: this round's wait, or the deadline. A rest too short for another attempt is added."""
        ends = now + WAITS[round_number]
        return ends if until - ends >= LEAST_WAIT else until

    def answered(self, number: int) -> None:
        """It responded: it is up."""
        health = self.health[number]
        if health.failures:
            health.failures = 0
            health.rest = FIRST_REST
            health.rests_until = 0.0

    def failed(self, number: int, now: float) -> None:
        """It timed out, could not be reached, or sent what nobody can read."""
        health = self.health[number]
        health.failures += 1
        if health.failures >= DOWN_AFTER and now >= health.rests_until:
            health.rests_until = now + health.rest
            health.rest = min(health.rest * 2, LONGEST_REST)
