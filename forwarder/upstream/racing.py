"""Several exchanges of one question at a time: whichever has something first is heard first.

For questions whose first attempt did not do; all others await their one exchange. Always holds: after `close` nothing that
was entered holds a socket, or wakes anybody.
"""

from collections.abc import Generator
from typing import Self

from forwarder.upstream.selection import Attempt
from forwarder.upstream.servers import OPEN, Exchanging, Failed
from forwarder.upstream.waiting import Timers, Waiting, step
from forwarder.wire.records import Response

Event = tuple[Attempt, Response | Failed]


class Race(Waiting):
    """What a question waits for while more than one exchange may answer it."""

    __slots__ = ("_events", "_is_closed", "_open", "_timers")

    def __init__(self, timers: Timers) -> None:
        super().__init__()
        self._timers = timers
        self._events: list[Event] = []
        self._open: list[tuple[Attempt, Exchanging]] = []
        self._is_closed = False

    def enter(self, attempt: Attempt, exchange: Exchanging) -> None:
        """Hear what comes of this exchange too."""
        self._open.append((attempt, exchange))
        step(self._report(attempt, exchange))

    def following(self, until: float) -> Self:
        """To be awaited for what comes next; None when nothing does by `until`."""
        if not self._events:
            self._timers.watch(self, until)
        return self

    def __await__(self) -> Generator[Waiting, None, Event | None]:
        if not self._events:
            yield self
        return self._events.pop(0) if self._events else None

    def close(self) -> None:
        """Whatever is still open is waited for no more."""
        self._is_closed = True
        for _, exchange in self._open:
            exchange.abandon()
        self._open.clear()

    async def _report(self, attempt: Attempt, exchange: Exchanging) -> None:
        outcome: Response | Failed | None = Failed.TIMEOUT
        while outcome in OPEN and not self._is_closed:
            outcome = None
            try:
                outcome = await exchange
            finally:  # a defect ends it as well: what it held may be another's by now
                if outcome not in OPEN:
                    self._open = [entered for entered in self._open if entered[0] is not attempt]
            self._events.append((attempt, outcome))
            self.resume(None)
