"""What a person is told, and what becomes of it when nobody reads any more."""

import os
import subprocess
import sys

import pytest

from forwarder import terminal


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
