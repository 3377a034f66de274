"""Lines about what changes back and forth: said at once, but not again and again.

Pure: time is an argument. Always holds: of one thing no more than BURST changes in WINDOW seconds are said one by one; then one
line says that it comes and goes, and the next one what became of it, when it has been the same for CALM seconds.
"""

from dataclasses import dataclass, field

BURST = 6
"""Three times there and back, as somebody who restarts a server again and again may cause: each of them is news."""
WINDOW = 600.0
CALM = 60.0


@dataclass(slots=True)
class _Thing:
    """What is known of one."""

    said_at: list[float] = field(default_factory=list)
    """When changes of the last WINDOW seconds were said."""
    changed_at: float = 0.0
    held_back: str = ""
    """The line that would have been said last."""


class Flapping:
    """The things that changed lately."""

    def __init__(self) -> None:
        self._things: dict[str, _Thing] = {}

    def changed(self, what: str, line: str, now: float) -> list[str]:
        """It changed, which this line says; what is to be said of it. `what` is how people call it."""
        thing = self._things.setdefault(what, _Thing())
        thing.changed_at = now
        if thing.held_back:
            thing.held_back = line
            return []
        thing.said_at = [at for at in thing.said_at if now - at < WINDOW]
        if len(thing.said_at) < BURST:
            thing.said_at.append(now)
            return [line]
        thing.held_back = line
        often = f"{BURST} times within {WINDOW / 60:.0f} minutes"
        return [f"{what} changes again and again, {often}: nothing more is said of it until it stays the same for {CALM:.0f} s"]

    def settled(self, now: float) -> list[str]:
        """What became of things of which nothing was said lately, and which change no more."""
        told = []
        for what, thing in list(self._things.items()):
            if now - thing.changed_at >= CALM and thing.held_back:
                told.append(thing.held_back)
                thing.held_back = ""
            elif now - thing.changed_at >= WINDOW:
                del self._things[what]
        return told

    def forget(self, what: str) -> None:
        """It is no more."""
        self._things.pop(what, None)
