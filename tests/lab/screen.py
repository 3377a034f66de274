"""A program on a terminal of its own, as a person has one: what it draws is read, keys are typed."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.lab.clients import HANG
from tests.lab.daemon import PROJECT

ROWS, COLUMNS = 24, 80
HOME = b"\x1b[H"
"""What each picture begins with."""
CODES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
WHOLE_SCREEN, ITS_END = b"\x1b[?1049h", b"\x1b[?1049l"
NO_CURSOR, CURSOR = b"\x1b[?25l", b"\x1b[?25h"


class Screen:
    """`forwarder` with these arguments, from the `with` on."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.octets = b""
        """All that it wrote."""

    def __enter__(self) -> Self:
        self._person, self._program = pty.openpty()
        fcntl.ioctl(self._program, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.mode = termios.tcgetattr(self._program)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "forwarder", *self._arguments],
            cwd=PROJECT,
            env=os.environ | {"TERM": "xterm", "LC_ALL": "C.UTF-8"},
            stdin=self._program,
            stdout=self._program,
            stderr=self._program,
            start_new_session=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._program)
        os.close(self._person)

    def picture(self) -> str:
        """The last whole one."""
        self._read(0.0)
        pictures = self.octets.split(HOME)[:-1]
        return CODES.sub(b"", pictures[-1] if pictures else b"").decode()

    def wait_for(self, true: Callable[[str], bool], what: str) -> None:
        """Until a picture is as it should be."""
        until = time.monotonic() + HANG
        while not true(self.picture()):
            assert time.monotonic() < until, f"not within {HANG:.0f} s: {what}\n{self.octets[-3000:]!r}"
            self._read(0.1)

    def type(self, keys: bytes) -> None:
        """On its keyboard."""
        os.write(self._person, keys)

    def signal(self, number: signal.Signals) -> None:
        """What Ctrl-C does, and others may."""
        self._process.send_signal(number)

    def status(self) -> int:
        """How it ended."""
        while self._process.poll() is None:
            self._read(0.1)
        self._read(0.0)
        return self._process.returncode

    def is_as_before(self) -> bool:
        """Whether the terminal was given back: its mode, its screen, its cursor."""
        said = self.octets
        given_back = said.rfind(ITS_END) > said.rfind(WHOLE_SCREEN) and said.rfind(CURSOR) > said.rfind(NO_CURSOR)
        return given_back and termios.tcgetattr(self._program) == self.mode

    def _read(self, seconds: float) -> None:
        while select.select([self._person], [], [], seconds)[0]:
            self.octets += os.read(self._person, 65536)
            seconds = 0.0
