"""What a person at a terminal is told: what was asked for on stdout, complaints and changes of state on stderr.

Always holds: whoever has stopped reading ends nothing.
"""

import contextlib
import os
import sys


def show(text: str) -> bool:
    """Something for a person on stdout; False when nobody reads it any more."""
    try:
        print(text, flush=True)
    except OSError:
        _abandon_stdout()
        return False
    return True


def say(line: str) -> None:
    """One line about a change of state on stderr."""
    with contextlib.suppress(OSError):
        print(f"forwarder: {line}", file=sys.stderr, flush=True)


def _abandon_stdout() -> None:
    """Nobody reads stdout any more: what is still buffered goes nowhere, instead of into a complaint at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
