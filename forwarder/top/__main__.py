"""`python -m forwarder.top`: the program behind `forwarder top`, which reads the rest of the command line.

Always holds: exit status 0 it was left, 1 there is no daemon or no terminal, 2 what was typed is wrong; the terminal is given
back as it was, however it ends.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from rich.console import Console, Group
from rich.live import Live

from forwarder import terminal
from forwarder.arguments import FAILED, WELL, Parser, is_help, shown, status_of
from forwarder.errors import ConfigError, ControlError, Problem
from forwarder.meant import add_place, control_paths
from forwarder.top.drawing import Paper, frame
from forwarder.top.inquiry import Inquiry
from forwarder.top.keys import Keys
from forwarder.top.trail import Trail

HELP = """\
usage: forwarder top [--interval S] [--config F | --control PATH]

Show the running daemon live: hit ratio and queries a second, where answers come
from and how long they take, upstreams, workers, names, and what needs a look.

  --interval S     seconds between two looks, 0.2 to 5: 1
  --config F       that which runs with this configuration
  --control PATH   that which is asked at this socket; without either the one at
                   /run/forwarder/control.sock, or below $XDG_RUNTIME_DIR

q or Ctrl-C leaves. A daemon that goes away, or hands over to another, is looked
for again. NO_COLOR=1 leaves out colours. Not at a terminal: forwarder stats.

Exit status: 0 it was left, 1 no daemon, or no terminal, 2 the command line or
the configuration is wrong.
"""
STDIN = 0
"""The descriptor, which may be closed."""
LEAST_INTERVAL, MOST_INTERVAL = 0.2, 5.0
"""Seconds. Above it the daemon takes the conversation for over (10 s)."""


class Arguments(argparse.Namespace):
    """The command line, read."""

    interval: str
    config: str | None
    control: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if is_help(words):
        return shown(HELP.rstrip("\n"))
    return status_of(lambda: _watch(parser().parse_args(words, namespace=Arguments())))


def parser() -> Parser:
    """The reader of the command line; it ends with status 2 by itself when something is wrong."""
    found = Parser("forwarder top")
    found.add_argument("--interval", metavar="S", default="1")
    add_place(found)
    return found


def interval_from(text: str) -> float:
    """Seconds. Raises ConfigError."""
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not LEAST_INTERVAL <= seconds <= MOST_INTERVAL:
        raise ConfigError((Problem("top --interval", f"{text!a} is not from {LEAST_INTERVAL} to {MOST_INTERVAL:.0f} seconds"),))
    return seconds


def _watch(arguments: Arguments) -> int:
    interval = interval_from(arguments.interval)
    inquiry = Inquiry(control_paths(arguments.config, arguments.control))
    console = Console(markup=False, highlight=False, emoji=False)
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        terminal.say("top draws on a terminal, and this is none that it can draw on: use forwarder stats")
        return FAILED
    trail = Trail()
    trail.add(inquiry.ask())
    signal.signal(signal.SIGTERM, _leave)
    try:
        with Keys(STDIN) as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                size = console.size
                paper = Paper(size.width, size.height, has_blocks=console.encoding.startswith("utf"))
                live.update(Group(*frame(trail, paper)), refresh=True)
                if "q" in keys.typed(interval).lower():
                    return WELL
                _look(trail, inquiry)
    except (KeyboardInterrupt, EOFError):
        return WELL
    finally:
        inquiry.close()


def _look(trail: Trail, inquiry: Inquiry) -> None:
    try:
        trail.add(inquiry.ask())
    except ControlError as error:
        trail.miss(str(error))


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - as signal(2) calls it
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
