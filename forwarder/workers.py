"""Keeping a worker: starts its program, hears whether it serves, starts it again when it dies or hangs.

Never touches a datagram and reads no file. Always holds: each process counts in a map of its own; a worker that dies has a
successor at once or after the back-off, and after `drain` there is none; whoever asked a worker for something hears when that
worker is gone.
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

import msgspec

from forwarder import link
from forwarder.levels import Err
from forwarder.observe import counters
from forwarder.observe.totals import Totals

WORKER_PROGRAM = (sys.executable, "-m", "forwarder.worker")
"""The number of its end of the link is appended."""

SO_SNDBUFFORCE = 32
"""Not named by the socket module of Python 3.11."""
SEND_OVERHEAD = 32
"""Octets of the send buffer which the kernel keeps from a message (unix_dgram_sendmsg)."""
REPORT_SIZE = 65536
"""Octets of the longest report: some hundred, most of them a sentence."""
SEND_AGAIN_SECONDS = 0.05
"""When a worker is behind with what it was told: it reads a message in microseconds, and hangs or comes to it soon."""

QUICK_DEATH_SECONDS = 1.0
"""A worker that lived longer than this served well before it died: its successor starts at once."""
FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 5.0
"""The back-off between: 0, 0.1, 0.2, 0.4 ... 5 s. Longer would only add to an outage, shorter would take a core."""
GIVE_UP_AFTER = 5
"""Quick deaths of workers of which none ever served: the program is broken, and saying so beats trying on."""
LOOK_SECONDS = 1.0
"""Between two looks at a worker's heart, which beats once a second."""
HUNG_AFTER = 4
"""Looks in a row at which it stood still. Counted in looks and not in seconds: a host that was asleep woke us both."""
STARTED_AFTER = 15
"""Looks in a row at which a worker did not serve yet: it takes a fifth of a second where nothing is wrong."""

REPORT = "Please report this, with the lines before it"
KILLED = "Somebody killed it, or the kernel for want of memory: see dmesg"
"""What to do about a worker that ended."""


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
    """What workers need from their supervisor."""

    program: Sequence[str]
    """The command line, less the number of the link."""
    descriptors: Callable[[], Sequence[int]]
    """Inherited under their own numbers: the sockets, and all else that is the same for each."""
    totals: Totals
    """Where what is counted comes together."""
    begin: Callable[["Worker"], link.Begin]
    """The first message to a worker, as the configuration and the watched files are at that moment."""
    say: Callable[[str], None]
    """Takes one line about a change of state."""
    say_once: Callable[[str], None]
    """The same, for what is true of many workers."""
    on_serving: Callable[["Worker"], None]
    on_giving_up: Callable[[], None]
    reopen: Callable[["Worker"], None]
    """A process took the place of another, and is to answer: `open` it, now or soon."""


class Worker:
    """One worker and its successors, seen from the supervisor; lives in a running asyncio loop."""

    def __init__(self, number: int, surroundings: Surroundings) -> None:
        self.number = number
        self.serving = False
        self.ever_served = False
        self.restarts = 0
        self.last_end = ""
        """How the process before ended, when it was not asked to; else empty."""
        self.memory = os.memfd_create("forwarder-snapshot")
        """Into which it writes its answers; lives as long as this object."""
        self.counters = -1
        """Descriptor of the map of the process that runs."""
        self.gone = asyncio.Event()
        """Set when it ended and no successor comes."""
        self._around = surroundings
        self._back_off = BackOff()
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._process_ended = -1
        self._link: socket.socket | None = None
        self._slots = counters.private()
        self._started_at = 0.0
        self._next_start: asyncio.TimerHandle | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._opens = False
        self._draining = False
        self._asked: dict[int, asyncio.Future[link.Done | None]] = {}
        self._questions = 0

    def __del__(self) -> None:
        os.close(self.memory)

    @property
    def pid(self) -> int | None:
        """The process, or None while none runs."""
        return None if self._process is None else self._process.pid

    @property
    def state(self) -> str:
        """In a word or two, for people."""
        if self._process is None:
            return "ended" if self._draining else "waits to be started again"
        return "draining" if self._draining else "serving" if self.serving else "starting"

    def start(self) -> None:
        """Start the program; a start that fails counts as a quick death. Its doors stay closed until `open`."""
        self._next_start = None
        self._started_at = self._loop.time()
        self.counters = os.memfd_create("forwarder-counters")
        ours, theirs = link_pair()
        try:
            os.ftruncate(self.counters, counters.SIZE * 8)
            self._slots = counters.mapped(self.counters)
            ours.send(link.written(self._around.begin(self)))
            self._process = subprocess.Popen(  # noqa: S603 - the program is ours, its argument a number
                [*self._around.program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(*self._around.descriptors(), self.counters, self.memory, theirs.fileno()),
                env=environment(),
                process_group=0,  # an interrupt typed at the terminal is for the supervisor, which then drains
            )
            self._process_ended = os.pidfd_open(self._process.pid)
        except OSError as error:
            ours.close()
            self._abandon()
            self._start_again(f"worker {self.number} cannot be started: {error.strerror}", "See that the system permits it")
            return
        finally:
            theirs.close()
        self._link = ours
        self._around.totals.begin(self._slots)
        self._loop.add_reader(ours, self._hear)
        self._loop.add_reader(self._process_ended, self._end)
        self._next_look = self._loop.call_later(LOOK_SECONDS, self._look, 0, 0)
        if self._opens:
            self._around.reopen(self)

    def open(self) -> None:
        """Let it answer, and have its successors answer as soon as they can. Once for each process."""
        self._opens = True
        self.tell(link.Open())

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

    def ask(self, order: link.Numbered) -> asyncio.Future[link.Done | None]:
        """Have something done: what it reports when it is, None when the worker that was asked is no more."""
        done: asyncio.Future[link.Done | None] = self._loop.create_future()
        if self._link is None:
            done.set_result(None)
            return done
        self._questions += 1
        self._asked[self._questions] = done
        self._ask(self._link, msgspec.structs.replace(order, number=self._questions))
        return done

    def drain(self) -> asyncio.Future[link.Done | None]:
        """Let it answer what is in progress and leave; no successor is started.

        The future is done when it takes nothing new any more, `gone` is set when it has left.
        """
        self._draining = True
        if self._next_start is not None:
            self._next_start.cancel()
        if self._process is None:
            self.gone.set()
        return self.ask(link.Drain())

    def kill(self) -> None:
        """End it at once; no successor is started."""
        self._draining = True
        if self._next_start is not None:
            self._next_start.cancel()
        if self._process is not None:
            self._process.kill()
        else:
            self.gone.set()

    def _ask(self, ours: socket.socket, order: link.Numbered) -> None:
        if ours is self._link and not self.tell(order):
            self._loop.call_later(SEND_AGAIN_SECONDS, self._ask, ours, order)

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
            if report.unfenced:
                self._around.say_once(report.unfenced)
            self.serving = True
            self.ever_served = True
            self._around.on_serving(self)
        else:
            self._settle(self._asked.pop(report.number, None), report)
        return data

    @staticmethod
    def _settle(asked: asyncio.Future[link.Done | None] | None, report: link.Done | None) -> None:
        if asked is not None and not asked.done():
            asked.set_result(report)

    def _look(self, beats: int, still: int) -> None:
        """Kill it when its heart stands still; `beats` at the last look, and at so many before."""
        now = self._slots[counters.HEARTBEAT]
        still = still + 1 if now == beats else 0
        if still >= (HUNG_AFTER if self.serving else STARTED_AFTER) and self._process is not None:
            self._around.say(f"worker {self.number} (pid {self.pid}) hangs: killed. {REPORT}, unless somebody stopped it")
            self._process.kill()
            return
        self._next_look = self._loop.call_later(LOOK_SECONDS, self._look, now, still)

    def _end(self) -> None:
        """The process ended: forget it, say so, start its successor."""
        if self._process is None:
            return
        status, pid = self._process.wait(), self._process.pid
        self._loop.remove_reader(self._process_ended)
        os.close(self._process_ended)
        if self._next_look is not None:
            self._next_look.cancel()
        if self._link is not None:
            self._loop.remove_reader(self._link)
            while self._heard(self._link):
                pass  # its last words
            self._link.close()
        self._process, self._link, self.serving = None, None, False
        self._close_counters()
        self._around.totals.end(self._slots)
        while self._asked:
            self._settle(self._asked.popitem()[1], None)
        if self._draining:
            self.gone.set()
        else:
            self.last_end = described(status)
            mend = KILLED if status == -signal.SIGKILL else REPORT
            self._start_again(f"worker {self.number} (pid {pid}) ended unasked, {self.last_end}", mend)

    def _close_counters(self) -> None:
        os.close(self.counters)
        self.counters = -1

    def _abandon(self) -> None:
        """End a process that started but cannot be kept an eye on."""
        self._close_counters()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start_again(self, what_happened: str, mend: str) -> None:
        delay = self._back_off.delay_after(self._loop.time() - self._started_at)
        if not self.ever_served and self._back_off.quick_deaths >= GIVE_UP_AFTER:
            self._around.say(Err(f"{what_happened}; none of {GIVE_UP_AFTER} ever served, giving up. {mend}"))
            self.gone.set()
            self._around.on_giving_up()
            return
        self._around.say(f"{what_happened}; starting another one {f'in {delay:.1f} s' if delay else 'at once'}. {mend}")
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
