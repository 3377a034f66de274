"""When the interpreter collects garbage: after the start, and when a flood of questions is over; never besides.

The data path makes no cycles (tests count them), so that reference counting frees everything at once and a collection would be
nothing but a pause. Yet the interpreter keeps the last small objects it freed, of each kind, for the next ones: after a flood
they lie scattered over the memory it took, and each keeps a MiB from being given back. A collection lets go of them.
"""

import gc
from collections.abc import Mapping

FLOOD = 512
"""Questions in progress or remembered as failed that make a flood: they take more than a MiB."""


def settle() -> None:
    """What stands now is never looked at again, and nothing is collected but by `Floods`."""
    isinstance("", Mapping)  # as `logging` asks of what it prints: what comes of the first such question lives on for ever
    gc.collect()
    gc.freeze()
    gc.disable()


class Floods:
    """Sees floods come and go."""

    __slots__ = ("_collect_at",)

    def __init__(self) -> None:
        self._collect_at = 0
        """How many questions are to be left for the next collection; 0: none is to be."""

    def look(self, held: int) -> None:
        """So many questions are held now: collect when they are half of what they were, and again, down to the last."""
        if held >= FLOOD:
            self._collect_at = max(self._collect_at, held // 2)
        if self._collect_at and held <= self._collect_at:
            self._collect_at = held // 2
            gc.collect()
