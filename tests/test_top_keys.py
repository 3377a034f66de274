"""The keyboard: what is typed comes at once, and the terminal is left as it was."""

import os
import pty
import termios
import time
from collections.abc import Iterator

import pytest

from forwarder.top.keys import Keys


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The person's side and the program's."""
    person, program = pty.openpty()
    yield person, program
    os.close(program)
    os.close(person)


def test_a_key_comes_without_enter_and_is_not_shown(terminal: tuple[int, int]) -> None:
    person, program = terminal
    before = termios.tcgetattr(program)
    with Keys(program) as keys:
        assert keys.typed(0.0) == ""
        os.write(person, b"q")
        assert keys.typed(20.0) == "q"
        assert not termios.tcgetattr(program)[3] & (termios.ICANON | termios.ECHO)
        assert termios.tcgetattr(program)[6][termios.VSUSP] == b"\0", "it cannot be left behind with the whole screen"
    assert termios.tcgetattr(program) == before


def test_the_terminal_is_as_it_was_however_it_ends(terminal: tuple[int, int]) -> None:
    before = termios.tcgetattr(terminal[1])
    with pytest.raises(RuntimeError), Keys(terminal[1]):
        raise RuntimeError("a defect")
    assert termios.tcgetattr(terminal[1]) == before


def test_where_nobody_can_type_time_passes_all_the_same() -> None:
    unread, written = os.pipe()
    with Keys(unread) as keys:
        begun = time.monotonic()
        assert keys.typed(0.05) == ""
        assert time.monotonic() - begun >= 0.05
    os.close(unread)
    os.close(written)
