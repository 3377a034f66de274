"""A daemon that outlives its processes: told to read its configuration again, handed over, killed and adopted.

All instances share one configuration file, its addresses and what they print; `process` is the one started last. Always
holds: whatever an instance leaves behind, workers of a supervisor that was killed included, is ended with the `with`.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lab.clients import HANG, ask, query, rdatas
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.patience import wait_for
from tests.lab.steady import SO_RCVBUFFORCE

RELOADED = "forwarder: configuration"
"""How the line begins that says what became of a reload."""
SESSION = 3
"""Place of the session behind the name in /proc/PID/stat (proc(5): the sixth field)."""
STATE = 0
FIRST_PASSED = 100
ACTIVATION = """
import os, sys
passed, command = sys.argv[1].split(","), sys.argv[2:]
for place, descriptor in enumerate(passed):
    os.dup2(int(descriptor), 3 + place)
    os.close(int(descriptor))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(passed)))
os.execv(command[0], command)
"""
"""sd_listen_fds(3): descriptors from 3 on, and who they are for."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A former supervisor that left."""

    status: int
    workers: list[int]
    """Process numbers of those it had when its successor was started."""


class Instances(Daemon):
    """The instance started by the `with`, and those that come after it."""

    _sessions: tuple[int, ...] = ()

    def reload(self, config: str) -> None:
        """Rewrite the configuration, have it read, and wait for the line that says what became of it."""
        lines = self.stderr.count(RELOADED)
        self.rewrite(config)
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.stderr.count(RELOADED) > lines, f"a line {RELOADED!r}... after SIGHUP")

    def hand_over(self) -> Ended:
        """Start an instance that takes over, and wait until the former has left."""
        former, workers = self.process, self.workers()
        self._start("--takeover")
        status = former.wait(HANG)
        wait_for(lambda: len(self.workers()) == len(workers), "the successor has workers")
        return Ended(status, workers)

    def kill_supervisor(self) -> list[int]:
        """With kill -9; the process numbers of the workers it leaves behind."""
        workers = self.workers()
        self.process.kill()
        self.process.wait()
        self.process.returncode = 0  # killed by the test: no fault of the daemon's
        return workers

    def start_again(self, *arguments: str) -> None:
        """Another instance, as if the former had never been, or with these arguments."""
        self._start(*arguments)
        self._wait_until_answering()

    def shown_workers(self) -> list[dict[str, Any]]:
        """What /health tells of each worker: number, pid, serving, restarts."""
        workers: list[dict[str, Any]] = json.loads(self.page("/health").text)["workers"]
        return workers

    def living(self) -> list[int]:
        """Process numbers of all that runs of all instances."""
        sessions = {str(pid) for pid in (*self._sessions, self.process.pid)}
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal():
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if fields[SESSION] in sessions and fields[STATE] != "Z":
                        found.append(int(entry.name))
        return found

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """As the daemon does, and end what former instances left."""
        try:
            super().__exit__(kind, error, traceback)
        finally:
            for pid in self.living():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _start(self, *arguments: str) -> None:
        self._sessions += (self.process.pid,)
        command = [*self._before, sys.executable, "-m", "forwarder", "run", *arguments, "--config", self.config_file]
        self._process = self._spawned(command)


def told(daemon: Daemon, name: str) -> list[str]:
    """The addresses that it gives for a name."""
    return rdatas(ask(daemon.server, query(name)))


def reload(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    """`forwarder reload`, ended."""
    return run_to_end("reload", "--control", daemon.control)


class PassedSockets(Instances):
    """The same, with sockets that are bound before the first instance and stay bound between two, as systemd passes them."""

    def __init__(self, config: str, *, receive_buffer: int) -> None:
        """`receive_buffer`: octets that wait for the next instance."""
        super().__init__(config)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sockets = (datagrams, listener)
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as the unit says
            one.bind(self.server)
        datagrams.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
        listener.listen()
        # Numbers that are nobody's when the program starts which moves them to where systemd has them.
        self._inherited = tuple(fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_PASSED) for one in self._sockets)
        self._before = (sys.executable, "-c", ACTIVATION, ",".join(map(str, self._inherited)))

    def stop_and_start(self) -> int:
        """SIGTERM, and when it has left another one; the exit status."""
        status = self.stop()
        self._start()
        return status

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """And close the sockets."""
        try:
            super().__exit__(kind, error, traceback)
        finally:
            for descriptor in self._inherited:
                os.close(descriptor)
            for one in self._sockets:
                one.close()
