"""The tree of errors: what is drawn at its head is what there is, and each says what a person or a client is to be told."""

import ast
import inspect
import re

import pytest

from forwarder import errors
from forwarder.errors import (
    ConfigError,
    ControlError,
    ForwarderError,
    ListenError,
    NodeError,
    Problem,
    SnapshotError,
    WireError,
)


def errors_defined() -> set[str]:
    return {name for name, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Exception)}


def test_the_tree_drawn_is_the_tree() -> None:
    drawn = re.findall(r"\b(\w+Error)\b", errors.__doc__ or "")
    assert drawn == [
        "ForwarderError",
        "WireError",
        "ConfigError",
        "ListenError",
        "PrivilegeError",
        "SnapshotError",
        "ControlError",
        "NodeError",
    ]
    assert set(drawn) == errors_defined()


@pytest.mark.parametrize("error", [WireError, ConfigError, ListenError, SnapshotError, ControlError, NodeError])
def test_all_hang_on_the_root_and_on_nothing_else(error: type[ForwarderError]) -> None:
    assert error.__bases__ == (ForwarderError,)


def test_the_root_is_no_error_of_pythons() -> None:
    """A defect (KeyError, ValueError) must never be taken for what we raise on purpose, nor ours for one."""
    assert ForwarderError.__bases__ == (Exception,)


def test_nothing_of_ours_is_imported() -> None:
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(errors))) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any("forwarder" in ast.unparse(one) for one in imports)


class TestWireError:
    def test_says_what_is_wrong_and_what_to_tell_the_client(self) -> None:
        error = WireError("QDCOUNT other than 1", 1)
        assert (str(error), error.rcode) == ("QDCOUNT other than 1", 1)

    def test_silence_unless_told_otherwise(self) -> None:
        assert WireError("shorter than a header").rcode is None


class TestConfigError:
    def test_prints_every_problem_on_a_line_of_its_own(self) -> None:
        problems = (Problem("f.yaml: zones[0].zone", "is no name"), Problem("f.yaml: cache.memory", "has no unit"))
        error = ConfigError(problems)
        assert error.problems == problems
        assert str(error) == "f.yaml: zones[0].zone: is no name\nf.yaml: cache.memory: has no unit"

    def test_problems_are_values(self) -> None:
        assert Problem("where", "what") == Problem("where", "what")
        with pytest.raises(AttributeError):
            Problem("where", "what").where = "elsewhere"  # type: ignore[misc]  # that it cannot be done is what is tested


def test_a_listen_error_is_its_one_line() -> None:
    assert str(ListenError("127.0.0.1:53 UDP is taken")) == "127.0.0.1:53 UDP is taken"
