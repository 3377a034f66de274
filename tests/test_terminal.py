"""What a person is told, and what becomes of it when nobody reads any more."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from forwarder import terminal
from forwarder.levels import Err, Info, Notice


def test_what_was_asked_for_goes_to_stdout_and_complaints_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.show("one\ntwo")
    terminal.say("three")
    assert capsys.readouterr() == ("one\ntwo\n", "forwarder: three\n")


def test_whoever_has_stopped_reading_ends_nothing() -> None:
    program = "from forwarder import terminal as t; import sys; t.say(str([t.show('one'), t.show('two')]))"
    unread, written = os.pipe()
    os.close(unread)
    done = subprocess.run([sys.executable, "-c", program], stdout=written, stderr=subprocess.PIPE, text=True, check=False)
    os.close(written)
    assert (done.returncode, done.stderr) == (0, "forwarder: [False, True]\n")


GRADED: dict[str, Callable[[str], str]] = {"<3>": Err, "<4>": str, "<5>": Notice, "<6>": Info}


@pytest.mark.parametrize("mark", GRADED)
def test_the_journal_is_told_how_grave_a_line_is(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    line = GRADED[mark]("three")
    terminal.say(line)
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    terminal.say(line)
    assert capfd.readouterr().err == f"forwarder: three\n{mark}forwarder: three\n"


def test_a_variable_that_is_older_than_a_redirection_is_not_believed() -> None:
    reading, writing = os.pipe()
    try:
        status = os.fstat(writing)
        ours = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert terminal.is_journal(writing, ours)
        assert not terminal.is_journal(2, ours)
        assert not terminal.is_journal(writing, {})
    finally:
        os.close(reading)
        os.close(writing)
    assert not terminal.is_journal(writing, ours), "closed"


class TestWhatIsLogged:
    @pytest.fixture
    def logger(self) -> Iterator[logging.Logger]:
        """One that nothing else hears."""
        logger = logging.getLogger("forwarder.test")
        logger.propagate = False
        handler = terminal.Logged()
        logger.addHandler(handler)
        yield logger
        logger.removeHandler(handler)

    def test_is_said_with_its_traceback_and_the_journal_hears_all_lines_as_grave(
        self, logger: logging.Logger, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        status = os.fstat(2)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        try:
            int("a defect")
        except ValueError:
            logger.exception("it failed")
        lines = capfd.readouterr().err.splitlines()
        assert lines[:2] == ["<3>forwarder: it failed", "<3>Traceback (most recent call last):"]
        assert lines[-1].startswith("<3>ValueError: ")
        assert all(line.startswith("<3>") for line in lines)

    def test_the_same_is_said_once_in_a_while(
        self, logger: logging.Logger, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A defect that every query meets."""
        for number in range(1001):
            if number == 1000:
                monkeypatch.setattr(terminal, "QUIET_SECONDS", 0.0)
            logger.warning("upstream %s", number % 2)
        assert capfd.readouterr().err.splitlines() == [
            "forwarder: upstream 0",
            "forwarder: upstream 1",
            "forwarder: upstream 0",
            "It happened 499 times more since it was said last.",
        ]

    def test_little_is_remembered_of_it(self, logger: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
        (handler,) = (one for one in logger.handlers if isinstance(one, terminal.Logged))
        for number in range(3 * terminal.MAX_KINDS):
            logger.warning("upstream %s", number)
        assert handler.remembered <= terminal.MAX_KINDS
        assert len(capfd.readouterr().err.splitlines()) == 3 * terminal.MAX_KINDS
