"""What `forwarder stats` prints: every figure there is, in plain text."""

from forwarder.inside import screen
from forwarder.observe.overview import Moment
from tests.lab.figures import Daemon
from tests.lab.moments import hostile, moment


def rows(told: Moment) -> dict[str, str]:
    """Each line by its first word."""
    return {line.split()[0]: " ".join(line.split()) for line in reversed(screen.text_for(told).splitlines()) if line}


def test_each_figure_has_its_line() -> None:
    found = rows(moment(warnings=["The sky falls: look up."]))
    assert found["forwarder"] == "forwarder 1.0, up 1157 d 9 h, serving"
    assert found["queries"] == "queries 1,000/s 1,001,000"
    assert found["hit"].startswith("hit ratio 90.0 % 99.9 %")
    assert found["exact"] == "exact 900/s 1,000,900 99.9 %"
    assert found["upstream"].startswith("upstream 100/s 100 ")
    assert found["192.0.2.1:53"].startswith("192.0.2.1:53 up 100/s 10/s ")
    assert found["192.0.2.2:53"].startswith("192.0.2.2:53 down 0/s 0/s - -")
    assert found["workers"] == "workers 0 serving (pid 4711)"
    assert found["conntrack"] == "conntrack 500 of 1,000 connections; refused: 0; dropped: 0"
    assert found["50.0"] == "50.0 % www.example."
    assert found["The"] == "The sky falls: look up."


def test_in_the_first_second_there_is_no_pace() -> None:
    found = rows(Moment(Daemon().overview(), None))
    assert found["queries"] == "queries - 0"
    assert found["hit"].startswith("hit ratio - -")
    assert "warnings" not in found


def test_nothing_steers_the_terminal() -> None:
    text = screen.text_for(hostile())
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert text.count("\\u001b[2J") >= 7
