"""One turn of the loop: input is read, everything it leads to happens at one time, and then output is written once.

The clock is read when a turn begins; whatever happens within it happens at `now`, which is at most the length of a turn old.
Writers collect what they have and ask to be flushed at the end of the turn; whoever the loop calls (a door, the upstreams'
readiness, the timers) begins the turn and ends it before it returns. Never holds anything between two turns.
"""

from collections.abc import Callable


class Turn:
    """When it is, and what is to be written at the end."""

    __slots__ = ("_flushes", "clock", "now")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._flushes: list[Callable[[], None]] = []
        self.now = clock()
        """Seconds, of a clock that also runs while the host sleeps."""

    def begin(self) -> float:
        """Read the clock; returns `now`."""
        self.now = now = self.clock()
        return now

    def at_end(self, flush: Callable[[], None]) -> None:
        """Call this once at the end of the turn; the writer sees to it that it asks once."""
        self._flushes.append(flush)

    def end(self) -> None:
        """Write. Flushing may lead to more output (a connection found dead has its queries asked elsewhere)."""
        flushes = self._flushes
        try:
            for flush in flushes:  # and for what they add
                flush()
        finally:
            flushes.clear()
