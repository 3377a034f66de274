"""Exit status and complaints that all commands share."""

from collections.abc import Callable

import pytest

from forwarder.arguments import Parser, is_help, shown, status_of
from forwarder.errors import ConfigError, ControlError, ForwarderError, ListenError, NodeError, PrivilegeError, Problem


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


class TestStatus:
    def test_what_went_well_says_so_itself(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert status_of(lambda: 0) == 0
        assert status_of(lambda: 1) == 1
        assert capfd.readouterr() == ("", "")

    def test_every_problem_of_a_configuration_is_said(self, capfd: pytest.CaptureFixture[str]) -> None:
        error = ConfigError((Problem("f: zones", "is empty"), Problem("f: cache", "is nonsense")))
        assert status_of(raising(error)) == 2
        assert capfd.readouterr() == ("", "forwarder: f: zones: is empty\nforwarder: f: cache: is nonsense\n")

    @pytest.mark.parametrize("kind", [ListenError, PrivilegeError, ControlError, NodeError])
    def test_what_failed_is_said_line_by_line(self, kind: type[ForwarderError], capfd: pytest.CaptureFixture[str]) -> None:
        assert status_of(raising(kind("one\ntwo"))) == 1
        assert capfd.readouterr() == ("", "forwarder: one\nforwarder: two\n")

    def test_interrupted(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert status_of(raising(KeyboardInterrupt())) == 1
        assert capfd.readouterr() == ("", "")

    def test_a_defect_is_not_hidden(self) -> None:
        with pytest.raises(KeyError):
            status_of(raising(KeyError("x")))


class TestParser:
    def test_what_is_wrong_is_one_line_that_names_the_help(self, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            Parser("forwarder node").parse_args(["--nonsense"])
        assert ended.value.code == 2
        line = "forwarder: unrecognized arguments: --nonsense (forwarder node --help shows all there is)\n"
        assert capfd.readouterr() == ("", line)

    def test_options_are_not_guessed(self) -> None:
        parser = Parser("forwarder node")
        parser.add_argument("--config")
        with pytest.raises(SystemExit):
            parser.parse_args(["--conf", "x"])

    @pytest.mark.parametrize(("words", "asked"), [([], False), (["up", "--help"], True), (["-h"], True), (["help"], False)])
    def test_help(self, words: list[str], *, asked: bool) -> None:
        assert is_help(words) is asked


def test_what_is_shown_is_status_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert shown("text") == 0
    assert capfd.readouterr() == ("text\n", "")
