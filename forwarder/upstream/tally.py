"""What is counted of one upstream: its row in the counters."""

from forwarder.observe.counters import (
    ALL_DOWN,
    CONNECTIONS_IN_ROW,
    FAILURE_REASONS,
    FAILURES_IN_ROW,
    LOOPED_IN_ROW,
    MISMATCHED_IN_ROW,
    PROBE_FAILURES_IN_ROW,
    QUERIES_IN_ROW,
    SECONDS_IN_ROW,
    SERVFAIL_SECONDS_IN_ROW,
    UP_IN_ROW,
    UPSTREAM_TRANSPORTS,
    Durations,
    observe_microseconds,
    upstream_row,
)
from forwarder.upstream.turn import Turn

UDP = UPSTREAM_TRANSPORTS.index("udp")
TCP = UPSTREAM_TRANSPORTS.index("tcp")
TLS = UPSTREAM_TRANSPORTS.index("tls")
SERVFAIL = 2
REASON_FOR_RCODE = {1: "formerr", 2: "servfail", 4: "notimp", 5: "refused"}


class Tally:
    """One upstream's row; every method is an increment."""

    __slots__ = ("_row", "answered", "slots")

    def __init__(self, slots: memoryview, number: int, turn: Turn) -> None:
        self.slots = slots
        self._row = upstream_row(number)
        self.answered = Durations(slots, self._row + SECONDS_IN_ROW, turn.at_end).add
        """A response came and was of use, after so many seconds."""

    def sent_slot(self, transport: int) -> int:
        """The slot to add 1 to when a query leaves over this transport: whoever sends does so itself."""
        return self._row + QUERIES_IN_ROW + transport

    def failed(self, reason: str) -> None:
        """An attempt ended without one; reason as in FAILURE_REASONS."""
        self.slots[self._row + FAILURES_IN_ROW + FAILURE_REASONS.index(reason)] += 1

    def failed_with(self, rcode: int, seconds: float) -> None:
        """A response came that says no, after so many seconds."""
        self.failed(REASON_FOR_RCODE.get(rcode, "other"))
        if rcode == SERVFAIL:
            observe_microseconds(self.slots, self._row + SERVFAIL_SECONDS_IN_ROW, int(seconds * 1e6))

    def probe_failed(self) -> None:
        """It was in doubt, was asked whether it is there, and did not say so."""
        self.slots[self._row + PROBE_FAILURES_IN_ROW] += 1

    def asked_while_all_are_down(self) -> None:
        """A question has to be asked though no upstream of its zone is up; of the whole worker, not of this upstream."""
        self.slots[ALL_DOWN] += 1

    def mismatched(self) -> None:
        """Something came that answers nothing we asked there."""
        self.slots[self._row + MISMATCHED_IN_ROW] += 1

    def is_up(self, *, up: bool) -> None:
        """Gauge."""
        self.slots[self._row + UP_IN_ROW] = 1 if up else 0

    def is_looped(self, *, looped: bool) -> None:
        """Gauge: what it was asked came back to us."""
        self.slots[self._row + LOOPED_IN_ROW] = 1 if looped else 0

    def connections(self, number: int) -> None:
        """Gauge: connections open, TCP or TLS."""
        self.slots[self._row + CONNECTIONS_IN_ROW] = number
