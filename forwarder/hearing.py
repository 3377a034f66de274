"""What the supervisor hears of single queries: workers' notes, for the names asked most and for the query log.

All workers, those of a generation that leaves included, write to one socket, whose end each inherits. Never writes to it, never
waits. Always holds: what is not wanted by the configuration of this moment is forgotten as it comes; whatever a worker writes,
it is heard or dropped, and ends nothing.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

import msgspec

from forwarder.config import ObserveSettings
from forwarder.observe import counters, notes
from forwarder.observe.names import AskedNames
from forwarder.observe.overview import Names
from forwarder.observe.query_log import QueryLog, lines_of
from forwarder.observe.totals import Totals

RECEIVE_SIZE = 1 << 19
"""Octets of the longest batch: the socket holds less."""
AT_ONCE = 16
"""Batches taken before others have their turn."""
LOOK_SECONDS = 1.0
"""Between two looks at what the configuration wants."""
LAST_SECONDS = 0.2
"""What the last lines get to be written; a reader who does not read holds the supervisor up for as long, and no query."""


class Hearing:
    """The reading end; lives in a running asyncio loop."""

    def __init__(self, wanted: Callable[[], ObserveSettings], totals: Totals, say: Callable[[str], None]) -> None:
        """`wanted` gives the settings as they are now; `say` takes one line about a change of state, from any thread."""
        self._wanted = wanted
        self._totals = totals
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._settings: ObserveSettings | None = None
        self._names: AskedNames | None = None
        self._log: QueryLog | None = None
        self._lost = 0
        """What the log had lost when that was last counted."""
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def descriptor(self) -> int:
        """What workers write to."""
        return self._theirs.fileno()

    def names(self) -> Names | None:
        """The names of the last minutes; None where they are not wanted."""
        return None if self._names is None else self._names.shown(time.monotonic())

    def begin(self) -> None:
        """Hear, from now on."""
        self._loop.add_reader(self._ours, self._hear)
        self._look_on()

    def close(self) -> None:
        """Hear what was said to the last, and no more."""
        if self._next_look is not None:
            self._next_look.cancel()
        self._loop.remove_reader(self._ours)
        while self._hear_one():
            pass
        self._leave_log()
        self._ours.close()
        self._theirs.close()

    def look(self) -> None:
        """Do what the configuration says by now, and count what the log lost."""
        self._count_lost()
        settings, before = self._wanted(), self._settings
        if settings == before:
            return
        self._settings = settings
        if not settings.top_names:
            self._names = None
        elif self._names is None:
            self._names = AskedNames(time.monotonic())
        if before is not None and (settings.query_log != "off", settings.query_log_file) == (
            before.query_log != "off", before.query_log_file
        ):  # fmt: skip
            return
        self._leave_log()
        if settings.query_log != "off":
            self._log = QueryLog(settings.query_log_file, self._say)

    def _look_on(self) -> None:
        self._next_look = self._loop.call_later(LOOK_SECONDS, self._look_on)
        self.look()

    def _leave_log(self) -> None:
        if self._log is not None:
            self._log.end()
            self._log.wait(LAST_SECONDS)
            self._count_lost()
        self._log, self._lost = None, 0

    def _count_lost(self) -> None:
        if self._log is not None:
            lost = self._log.lost
            self._totals.add(counters.QUERY_LOG_DROPS, lost - self._lost)
            self._lost = lost

    def _hear(self) -> None:
        for _ in range(AT_ONCE):
            if not self._hear_one():
                return

    def _hear_one(self) -> bool:
        """Take one batch; whether there was one."""
        try:
            data = self._ours.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return False
        heard: list[notes.Note] = []
        with contextlib.suppress(msgspec.DecodeError):  # a worker that somebody found a way into may write anything
            heard = notes.read(data)
        if self._names is not None:
            self._names.add(heard, time.monotonic())
        if self._log is not None and self._settings is not None:
            lines = lines_of(heard, self._settings.query_log)
            if lines:
                self._log.put(lines)
        return True
