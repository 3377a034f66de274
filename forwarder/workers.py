"""Keeping a worker: starts its program, hears whether it serves, starts it again when it dies.

Never touches a datagram and reads no file. Always holds: at most one process at a time writes to the counters, a worker that
dies has a successor at once or after the back-off, and after `drain` there is none.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forwarder import link
from forwarder.observe import counters

WORKER_PROGRAM = (sys.executable, "-m", "forwarder.worker")
"""The number of its end of the link is appended."""

SO_SNDBUFFORCE = 32
"""Not named by the socket module of Python 3.11."""
SEND_OVERHEAD = 32
"""Octets of the send buffer which the kernel keeps from a message (unix_dgram_sendmsg)."""
REPORT_SIZE = 65536
"""Octets of the longest report: some hundred, most of them a sentence."""

QUICK_DEATH_SECONDS = 2.0
"""A worker that lived longer than this served well before it died: its successor starts at once."""
FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 5.0
"""The back-off between: 0, 0.1, 0.2, 0.4 ... 5 s. Longer would only add to an outage, shorter would take a core."""
GIVE_UP_AFTER = 5
"""Quick deaths of workers of which none ever served: the program is broken, and saying so beats trying on."""


class BackOff:
    """How long to wait before the next worker."""

    def __init__(self) -> None:
        self.quick_deaths = 0

    def delay_after(self, lived: float) -> float:
        """Seconds until the next start, after a worker that lived this many seconds."""
        if lived >= QUICK_DEATH_SECONDS:
            self.quick_deaths = 0
            return 0.0
        self.quick_deaths += 1
        if self.quick_deaths == 1:
            return 0.0
        exponent = min(self.quick_deaths - 2, 16)  # 2**16 is far above the ceiling, and no number grows without end
        return min(FIRST_DELAY_SECONDS * 2.0**exponent, MAX_DELAY_SECONDS)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker needs from its supervisor."""

    program: Sequence[str]
    """The command line, less the number of the link."""
    descriptors: tuple[int, ...]
    """Inherited under their own numbers: the sockets and the counters."""
    slots: memoryview
    """The counters, mapped."""
    begin: Callable[[], link.Begin]
    """The first message, as the configuration and the watched files are at that moment."""
    say: Callable[[str], None]
    """Takes one line about a change of state."""
    on_serving: Callable[[], None]
    on_report: Callable[[link.Beside], None]
    """Takes what a worker says besides, its last words included."""
    on_giving_up: Callable[[], None]


class Worker:
    """One worker and its successors, seen from the supervisor; lives in a running asyncio loop."""

    def __init__(self, number: int, surroundings: Surroundings) -> None:
        self.number = number
        self.serving = False
        self.ever_served = False
        self.restarts = 0
        self.gone = asyncio.Event()
        """Set when it ended and no successor comes."""
        self._around = surroundings
        self._back_off = BackOff()
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._process_ended = -1
        self._link: socket.socket | None = None
        self._started_at = 0.0
        self._next_start: asyncio.TimerHandle | None = None
        self._draining = False

    @property
    def pid(self) -> int | None:
        """The process, or None while none runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the program; a start that fails counts as a quick death."""
        self._next_start = None
        self._started_at = self._loop.time()
        reset_gauges(self._around.slots)
        ours, theirs = link_pair()
        try:
            ours.send(link.written(self._around.begin()))
            self._process = subprocess.Popen(  # noqa: S603 - the program is ours, its argument a number
                [*self._around.program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(*self._around.descriptors, theirs.fileno()),
                env=environment(),
                process_group=0,  # an interrupt typed at the terminal is for the supervisor, which then drains
            )
            self._process_ended = os.pidfd_open(self._process.pid)
        except OSError as error:
            ours.close()
            self._abandon()
            self._start_again(f"worker {self.number} cannot be started: {error.strerror}")
            return
        finally:
            theirs.close()
        self._link = ours
        self._loop.add_reader(ours, self._hear)
        self._loop.add_reader(self._process_ended, self._end)

    def tell(self, order: link.Order) -> bool:
        """Say something to the worker that runs; False when it has not read what was said before."""
        if self._link is None:
            return True  # its successor begins with what is true then
        try:
            self._link.send(link.written(order))
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is ending: the same
        return True

    def drain(self) -> None:
        """Let it answer what is in progress and leave; no successor is started. `gone` says when."""
        self._draining = True
        if self._next_start is not None:
            self._next_start.cancel()
        if self._process is None:
            self.gone.set()
        elif not self.tell(link.Drain()):
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._draining = True
        if self._process is not None:
            self._process.kill()

    def _hear(self) -> None:
        if self._link is not None and self._heard(self._link) == b"":
            self._loop.remove_reader(self._link)  # its end is closed; the process follows, and `_end` with it

    def _heard(self, ours: socket.socket) -> bytes | None:
        """Take the next report: its octets, none when there will be no more, None when there is none now."""
        try:
            data = ours.recv(REPORT_SIZE)
        except (BlockingIOError, ConnectionResetError):
            return None
        if not data:
            return data
        report = link.read_report(data)
        if isinstance(report, link.Serving):
            if report.unfenced and not self.ever_served:
                self._around.say(report.unfenced)
            self.serving = True
            self.ever_served = True
            self._around.on_serving()
        else:
            self._around.on_report(report)
        return data

    def _end(self) -> None:
        """The process ended: forget it, say so, start its successor."""
        if self._process is None:
            return
        status, pid = self._process.wait(), self._process.pid
        self._loop.remove_reader(self._process_ended)
        os.close(self._process_ended)
        if self._link is not None:
            self._loop.remove_reader(self._link)
            while self._heard(self._link):
                pass  # its last words
            self._link.close()
        self._process, self._link, self.serving = None, None, False
        if self._draining:
            self.gone.set()
        else:
            self._start_again(f"worker {self.number} (pid {pid}) ended unasked, {described(status)}")

    def _abandon(self) -> None:
        """End a process that started but cannot be kept an eye on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start_again(self, what_happened: str) -> None:
        delay = self._back_off.delay_after(self._loop.time() - self._started_at)
        if not self.ever_served and self._back_off.quick_deaths >= GIVE_UP_AFTER:
            self._around.say(f"{what_happened}; none of {GIVE_UP_AFTER} ever served, giving up")
            self.gone.set()
            self._around.on_giving_up()
            return
        self._around.say(f"{what_happened}; starting another one {f'in {delay:.1f} s' if delay else 'at once'}")
        self.restarts += 1
        self._next_start = self._loop.call_later(delay, self.start)


def described(status: int) -> str:
    """How a process ended, from its return code as subprocess gives it."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"


def environment() -> dict[str, str]:
    """Ours, and the worker imports the same package that we run from, never one of the current directory."""
    root = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}


def link_pair() -> tuple[socket.socket, socket.socket]:
    """Our end, non-blocking, and the worker's, each with as large a send buffer as the kernel grants."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        try:
            end.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, link.MAX_MESSAGE_SIZE)
        except PermissionError:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, link.MAX_MESSAGE_SIZE)
    ours.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
    return ours, theirs


def link_capacity() -> int:
    """Octets of the longest message a link takes: less than MAX_MESSAGE_SIZE where net.core.wmem_max forbids it."""
    ours, theirs = link_pair()
    with ours, theirs:
        return min(ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - SEND_OVERHEAD, link.MAX_MESSAGE_SIZE)


def reset_gauges(slots: memoryview) -> None:
    """A dead worker has no connections and an empty cache; what only grows stays. Only while no worker runs."""
    for number in range(counters.MAX_UPSTREAMS):
        row = counters.upstream_row(number)
        slots[row + counters.UP_IN_ROW] = 0
        slots[row + counters.CONNECTIONS_IN_ROW] = 0
        slots[row + counters.LOOPED_IN_ROW] = 0
    for number in range(len(counters.CACHE_KINDS)):
        slots[counters.CACHE_ENTRIES_AT + number] = 0
    for slot in (counters.CACHE_BYTES, counters.IN_PROGRESS, counters.TCP_CONNECTIONS):
        slots[slot] = 0
