"""The keyboard, key by key: what was typed within some time, without waiting for Enter and without showing it.

Always holds: when it is over the terminal is as it was; where nobody can type, time passes all the same.
"""

import os
import select
import termios
import time
import tty
from types import TracebackType
from typing import Self

SUSPEND = 10
"""The place of the key that suspends among a terminal's control characters (VSUSP, termios(3)): a program that was suspended
while it had the whole screen would leave it so."""
NO_KEY = b"\0"


class Keys:
    """The keys of this terminal, from the `with` on."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: what is typed at; no terminal has no keys."""
        self._descriptor = descriptor
        self._former = termios.tcgetattr(descriptor) if os.isatty(descriptor) else None

    def __enter__(self) -> Self:
        if self._former is not None:
            tty.setcbreak(self._descriptor, termios.TCSADRAIN)
            mode = termios.tcgetattr(self._descriptor)
            mode[6][SUSPEND] = NO_KEY
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._former is not None:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, self._former)

    def typed(self, seconds: float) -> str:
        """What is typed within so many seconds: empty when they are over."""
        if self._former is None:
            time.sleep(seconds)
            return ""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return ""
        octets = os.read(self._descriptor, 64)
        if not octets:  # hung up
            raise EOFError
        return octets.decode("ascii", "replace")
