"""What every command has in common: how its words are read, and its exit status.

Always holds: 0 it went well, 1 the thing asked for failed, 2 the command line or the configuration is wrong; what an operator
can mend is said on stderr in a line for each problem, never as a traceback.
"""

import argparse
from collections.abc import Callable
from typing import NoReturn

from forwarder import terminal
from forwarder.errors import ConfigError, ControlError, ListenError, NodeError, PrivilegeError
from forwarder.levels import Err

WELL, FAILED, WRONG = 0, 1, 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, prog: str) -> None:
        """`prog`: the words before the options, `forwarder node`."""
        super().__init__(prog, allow_abbrev=False, add_help=False)

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        terminal.say(Err(f"{message} ({self.prog} --help shows all there is)"))
        self.exit(WRONG)


def is_help(words: list[str]) -> bool:
    """Whether help is asked for, wherever in the line."""
    return not {"-h", "--help"}.isdisjoint(words)


def shown(text: str) -> int:
    """Something for a person on stdout; the exit status."""
    return WELL if terminal.show(text) else FAILED


def status_of(work: Callable[[], int]) -> int:
    """Do it; its exit status, or that of the error which it raised and which is said here."""
    try:
        return work()
    except ConfigError as error:
        for problem in error.problems:
            terminal.say(Err(problem))
        return WRONG
    except (ListenError, PrivilegeError, ControlError, NodeError) as error:
        for line in str(error).splitlines():
            terminal.say(Err(line))
        return FAILED
    except KeyboardInterrupt:
        return FAILED  # typed before there was anything to drain
