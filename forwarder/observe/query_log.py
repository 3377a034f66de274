"""The query log: what is noted of single queries, as JSON lines in a file or on stdout.

A thread writes; whoever hands lines over never waits for a disk or a reader. What cannot be written is dropped and counted,
and one line says so when that begins and one when it is over. Always holds: a line is one JSON object, and nothing in it is a
control character, whatever was asked; a file is made with mode 0600, and opened anew when another has its name.
"""

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from dnslib import CLASS, QTYPE

from forwarder.errors import WireError
from forwarder.observe.counters import RCODES, SOURCES
from forwarder.observe.notes import SLOW_MICROSECONDS, Note, is_failing
from forwarder.wire.names import Names, text_from_name

MODES: dict[str, Callable[[Note], bool]] = {
    "off": lambda _note: False,
    "errors": lambda note: is_failing(note.source, note.rcode),
    "slow": lambda note: is_failing(note.source, note.rcode) or note.microseconds >= SLOW_MICROSECONDS,
    "all": lambda _note: True,
}
"""`observe.query_log` -> whether a note belongs there."""
MOST_WAITING = 256
"""Batches that wait for the thread, some two megabytes at most: a disk may stand still for some seconds."""
LOOK_SECONDS = 1.0
"""Between two looks whether the file is still the one with its name."""
MODE = 0o600
"""Who asked what is for the daemon's user alone."""
STDOUT = 1
FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}
"""Octets of a client's address -> its family."""


class Question(msgspec.Struct, frozen=True, rename={"qtype": "type", "qclass": "class"}):
    """What was asked."""

    name: str
    """As the client spelled it, escaped as in a zone file (RFC 4343 section 2.1)."""
    qtype: str
    qclass: str


class Line(msgspec.Struct, frozen=True):
    """One line."""

    time: str
    """When it was answered, UTC (RFC 3339)."""
    client: str
    question: Question
    transport: str
    rcode: str
    source: str
    microseconds: int
    upstream: str
    """Who answered, or was asked last; empty where nobody was asked."""
    attempts: int
    stands_for: int
    """How many queries like it were answered for each that has a line; more than 1 only under load."""


_encoder = msgspec.json.Encoder()


def lines_of(notes: Iterable[Note], mode: str) -> list[bytes]:
    """The lines of those that belong into the log, each with its end; a note that names nothing has none."""
    belongs = MODES[mode]
    return [line for note in notes if len(note.client) in FAMILIES and belongs(note) for line in _written(note)]


def _written(note: Note) -> Iterator[bytes]:
    try:
        name, after = Names(note.question).spelled(0)
    except WireError:
        return
    qtype, qclass = (int.from_bytes(note.question[at : at + 2]) for at in (after, after + 2))
    line = Line(
        time=datetime.fromtimestamp(note.at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        client=socket.inet_ntop(FAMILIES[len(note.client)], note.client),
        question=Question(text_from_name(name), QTYPE.get(qtype, f"TYPE{qtype}"), CLASS.get(qclass, f"CLASS{qclass}")),
        transport="tcp" if note.is_stream else "udp",
        rcode=RCODES[note.rcode],
        source=SOURCES[note.source],
        microseconds=note.microseconds,
        upstream=note.upstream,
        attempts=note.attempts,
        stands_for=note.stands_for,
    )
    yield _encoder.encode(line) + b"\n"


class QueryLog:
    """Where the lines go."""

    def __init__(self, path: str | None, say: Callable[[str], None]) -> None:
        """`path`: None for stdout; `say` takes one line about a change of state, from any thread."""
        self._path = path
        self._where = path or "stdout"
        self._say = say
        self._waiting: queue.Queue[list[bytes]] = queue.Queue(MOST_WAITING)
        self._is_behind = False
        self._is_ending = False
        self._lost_waiting = 0
        # What follows is the thread's alone.
        self._lost_writing = 0
        self._is_failing = False
        self._is_torn = False
        """Whether the last write broke off in the middle of a line."""
        self._descriptor = -1
        self._look_at = 0.0
        self._thread = threading.Thread(target=self._write_on, name="query log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that were dropped so far."""
        return self._lost_waiting + self._lost_writing

    def put(self, lines: list[bytes]) -> None:
        """Have these lines written, soon; or dropped, where too many wait already."""
        try:
            self._waiting.put_nowait(lines)
        except queue.Full:
            self._lost_waiting += len(lines)
            if not self._is_behind:
                self._is_behind = True
                self._say(f"query log: {self._where} takes lines more slowly than they come: those that do not fit are dropped")
            return
        if self._is_behind and self._waiting.qsize() < MOST_WAITING // 2:
            self._is_behind = False
            self._say(f"query log: {self._where} keeps up again")

    def end(self) -> None:
        """Take no more lines; those that wait are written."""
        self._is_ending = True
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait([])

    def wait(self, seconds: float) -> None:
        """After `end`: until all is written, so many seconds at most."""
        self._thread.join(seconds)

    def _write_on(self) -> None:
        """What the thread does; the file is there before its first line."""
        self._write([])
        while not (self._is_ending and self._waiting.empty()):
            self._write(self._waiting.get())
        if self._descriptor > STDOUT:
            os.close(self._descriptor)

    def _write(self, lines: list[bytes]) -> None:
        data, written = b"".join(lines), 0
        try:
            self._open()
            if self._is_torn:
                os.write(self._descriptor, b"\n")
                self._is_torn = False
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self._is_torn = self._is_torn or data[:written][-1:] not in {b"", b"\n"}
            self._lost_writing += len(lines) - data.count(b"\n", 0, written)
            if not self._is_failing:
                self._is_failing = True
                self._say(f"query log: {self._where} cannot be written ({error.strerror}): lines are dropped until it can")
            return
        if self._is_failing and lines:
            self._is_failing = False
            self._say(f"query log: {self._where} is written again")

    def _open(self) -> None:
        """Have a descriptor of what has the file's name now, as far as LOOK_SECONDS ago can tell. Raises OSError."""
        if self._path is None:
            self._descriptor = STDOUT
            return
        now = time.monotonic()
        if self._descriptor >= 0 and now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if self._descriptor >= 0 and _is_named(self._descriptor, self._path):
            return
        fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY, MODE)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._is_torn = fresh, False


def _is_named(descriptor: int, path: str) -> bool:
    """Whether this name leads to the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    except FileNotFoundError:
        return False


def warnings_for(path: str | None) -> Iterator[str]:
    """What will keep the file from being written, each one sentence with the mend."""
    if path is None:
        return
    directory = Path(path).parent
    if Path(path).is_dir():
        yield f"observe.query_log_file: {path} is a directory: name a file in it, or no query is logged"
    elif not directory.is_dir():
        yield f"observe.query_log_file: {directory} is no directory: make it, or no query is logged"
    elif not os.access(path if Path(path).exists() else directory, os.W_OK):
        yield f"observe.query_log_file: {path} cannot be written to: permit it, or no query is logged"
