"""What `--help` prints: complete, and on one screen."""

import argparse
from collections.abc import Iterator

import pytest

from forwarder import cli, usage


def commands() -> dict[str, argparse.ArgumentParser]:
    """Those that the daemon's own command line reads."""
    (found,) = (action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001 - argparse tells nobody otherwise
    return dict(found.choices)


def options(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:  # noqa: SLF001 - argparse tells nobody otherwise
        yield from action.option_strings


@pytest.mark.parametrize("text", [usage.ALL, *usage.OF.values()])
def test_one_screen(text: str) -> None:
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("usage: forwarder ")


def test_every_command_is_there() -> None:
    assert usage.OF.keys() == commands().keys()
    shown = [line.split()[0] for line in usage.ALL.splitlines() if line.startswith("  ") and line[2] != " "]
    assert sorted(shown) == sorted([*commands(), *cli.PROGRAMS, "--version"])


@pytest.mark.parametrize("command", usage.OF)
def test_every_option_is_there(command: str) -> None:
    words = usage.OF[command].replace("|", " ").replace("[", " ").split()
    for option in options(commands()[command]):
        assert option in words
