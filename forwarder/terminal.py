"""What a person at a terminal is told: what was asked for on stdout, complaints and changes of state on stderr.

Always holds: whoever has stopped reading ends nothing; the journal is told how grave each line is, a terminal or a container's
log sees the line alone; what a defect has logged again and again is said once in QUIET_SECONDS.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Mapping

from forwarder.levels import Err, Info, level_of

STDERR = 2
QUIET_SECONDS = 60.0
"""Between two lines about one defect: it may be met by every query."""
MAX_KINDS = 256
"""Of what was logged: so much is remembered of it."""


def show(text: str) -> bool:
    """Something for a person on stdout; False when nobody reads it any more."""
    try:
        print(text, flush=True)
    except OSError:
        _abandon_stdout()
        return False
    return True


def say(line: str) -> None:
    """One line about a change of state on stderr; `levels` says how grave it may be."""
    mark = f"<{level_of(line)}>" if is_journal(STDERR, os.environ) else ""
    text = f"forwarder: {line}".replace("\n", f"\n{mark}")  # the journal makes an entry of each line of a traceback
    with contextlib.suppress(OSError):
        print(f"{mark}{text}", file=sys.stderr, flush=True)


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether the journal reads what is written there: the variable may be older than a redirection (systemd.exec(5))."""
    stream = environment.get("JOURNAL_STREAM")
    if not stream:
        return False
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        return stream == f"{status.st_dev}:{status.st_ino}"
    return False


def say_what_is_logged() -> None:
    """Have what libraries and the data plane log said as all else is."""
    logging.getLogger().addHandler(Logged())


class Logged(logging.Handler):
    """Says what is logged, the same once in QUIET_SECONDS."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}
        """Where in the source it was logged and what about -> when it was said, and how often it was not since."""

    @property
    def remembered(self) -> int:
        """How many lines would not be said again now."""
        return len(self._said)

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless that was done lately."""
        kind, now = (record.pathname, record.lineno, str(record.args)), time.monotonic()
        said_at, unsaid = self._said.get(kind, (-QUIET_SECONDS, 0))
        if now - said_at < QUIET_SECONDS:
            self._said[kind] = (said_at, unsaid + 1)
            return
        if len(self._said) >= MAX_KINDS:
            self._said.clear()
        self._said[kind] = (now, 0)
        text = self.format(record) + (f"\nIt happened {unsaid} times more since it was said last." if unsaid else "")
        say(Err(text) if record.levelno >= logging.ERROR else text if record.levelno >= logging.WARNING else Info(text))


def _abandon_stdout() -> None:
    """Nobody reads stdout any more: what is still buffered goes nowhere, instead of into a complaint at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
