"""A line and its level."""

import pytest

from forwarder.levels import Err, Info, Notice, level_of


@pytest.mark.parametrize(("line", "level"), [(Err("x"), 3), ("x", 4), (Notice("x"), 5), (Info("x"), 6)])
def test_each_has_the_level_of_syslog_and_is_the_same_text(line: str, level: int) -> None:
    assert level_of(line) == level
    assert (line, f"{line}", {line: 1}["x"]) == ("x", "x", 1)


def test_what_is_no_text_yet_becomes_text() -> None:
    assert Err(ValueError("wrong")) == "wrong"
