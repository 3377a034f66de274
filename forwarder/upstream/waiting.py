"""How a question waits for the network: coroutines stepped by us, and the one place that knows when waiting ends.

A question's coroutine awaits a `Waiting`; whoever has what it waits for calls `resume`, which runs the coroutine on, in the
same call stack, to its next wait or its end. No task, no future, no timer per question: `Timers` looks at what is due every
TICK.

Always holds: a `Waiting` is resumed once per await: with a value by the network, or when its time is over. However many are
due at once, AT_ONCE are looked at before others have their turn.
"""

import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

logger = logging.getLogger(__name__)

TICK = 0.01
"""Seconds between two looks at what is due. Waiting ends up to twice this much early, never late: one per cent of the
deadline."""
SLACK = 2 * TICK
"""Seconds by which waiting may end early: what is as near as that is due."""
AT_ONCE = 16
"""Waits ended in one sweep: thousands of questions at a silent upstream end together, each costs up to 100 microseconds, and
clients whose answers are known must not stand behind them all."""

Steps = Generator["Waiting", None, None]
"""A coroutine seen as its waits, one after the other."""


class Waiting:
    """Something that a coroutine waits for; subclasses say what."""

    __slots__ = ("_value", "coroutine", "due")

    _value: Any

    def __init__(self) -> None:
        self.coroutine: Steps | None = None
        """Who waits, to be stepped; None when nobody does."""
        self.due = 0.0

    def __await__(self) -> Generator["Waiting", None, Any]:
        yield self
        return self._value

    def resume(self, value: object) -> None:
        """Hand over what was waited for, if anybody still waits."""
        coroutine = self.coroutine
        if coroutine is None:
            return
        self.coroutine = None
        self._value = value
        _run(coroutine)

    def look(self, _now: float) -> int:
        """It is due; whoever was resumed meanwhile waits no more."""
        if self.coroutine is not None:
            self.give_up()
        return 1

    def give_up(self) -> None:
        """Its time is over: whoever waits is told nothing, or what a subclass says."""
        self.resume(None)


def step(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its first wait or its end. What it raises is a defect: it is logged, and the daemon lives on."""
    _run(coroutine.__await__())


def _run(steps: Steps) -> None:
    # By its iterator, whose end costs no exception: `next` gives None, where `send` would raise StopIteration.
    try:
        waiting = next(steps, None)
    except Exception:
        logger.exception("a question's coroutine failed; please report this")
        return
    if waiting is not None:
        waiting.coroutine = steps


class Due(Protocol):
    """Something with a time at which it is to be looked at."""

    due: float

    def look(self, now: float) -> int:
        """End what has waited for long enough, AT_ONCE of it; how many waits that were."""


class Timers:
    """What waits until when, in slots of one TICK."""

    __slots__ = ("_slots", "on_first")

    def __init__(self) -> None:
        self._slots: dict[int, list[Due]] = {}
        self.on_first: Callable[[], None] = _nothing
        """Called when there is something to look at again after there was nothing."""

    def __bool__(self) -> bool:
        return bool(self._slots)

    def watch(self, waiting: Due, due: float) -> None:
        """Have it looked at when it is due; whoever was watched before with another time no longer is."""
        waiting.due = due
        number = int(due / TICK)
        slot = self._slots.get(number)
        if slot is None:
            if not self._slots:
                self.on_first()
            self._slots[number] = [waiting]
        else:
            slot.append(waiting)

    def sweep(self, now: float) -> bool:
        """End what is due, AT_ONCE of it; whether there is more.

        A `Waiting` that has since begun a later wait stands in a later slot too, and is left alone here.
        """
        latest = int(now / TICK) + 1
        limit = now + SLACK
        left = AT_ONCE
        for number in sorted(number for number in self._slots if number <= latest):
            slot = self._slots[number]
            while slot and left > 0:
                watched = slot.pop()
                if watched.due <= limit:
                    left -= watched.look(now)
            if slot:
                return True
            del self._slots[number]
        return left <= 0


def _nothing() -> None:
    """Before the worker says what to do."""
