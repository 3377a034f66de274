"""One turn of the loop: input is read, everything it leads to happens, and then output is written once.

Writers collect what they have and ask to be flushed at the end of the turn; whoever the loop calls (a door, the upstreams'
readiness, the timers) ends the turn before it returns. Never holds anything between two turns.
"""

from collections.abc import Callable


class Turn:
    """What is to be written at the end of this turn."""

    __slots__ = ("_flushes",)

    def __init__(self) -> None:
        self._flushes: list[Callable[[], None]] = []

    def at_end(self, flush: Callable[[], None]) -> None:
        """Call this once at the end of the turn; the writer sees to it that it asks once."""
        self._flushes.append(flush)

    def end(self) -> None:
        """Write. Flushing may lead to more output (a connection found dead has its queries asked elsewhere)."""
        while self._flushes:
            flushes, self._flushes = self._flushes, []
            for flush in flushes:
                flush()
