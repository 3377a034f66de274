"""`forwarder top`, as it is typed."""

import pytest

from forwarder.top import __main__ as top


def test_help_is_one_screen_and_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert top.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    for option in ("--interval", "--config", "--control"):
        assert any(option in line for line in lines)


@pytest.mark.parametrize("seconds", ["0", "0.1", "6", "nan", "inf", "soon", "", "-1"])
def test_an_interval_that_is_none(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert top.main([f"--interval={seconds}"]) == 2
    assert "is not from 0.2 to 5 seconds" in capsys.readouterr().err


def test_an_interval_with_its_unit() -> None:
    assert (top.interval_from("2s"), top.interval_from("0.5")) == (2.0, 0.5)


def test_what_the_reader_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        top.main(["--config", "a", "--control", "b"])
    assert end.value.code == 2
    assert "(forwarder top --help shows all there is)" in capsys.readouterr().err


def test_not_at_a_terminal_it_names_the_other_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert top.main([]) == 1
    assert "use forwarder stats" in capsys.readouterr().err
