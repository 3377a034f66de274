"""systemd, played for one daemon where no systemd can be booted, or where a client of the test's own is to be beside it.

It does what systemd 252 does for Type=notify, NotifyAccess=main, Restart=always, KillMode=process, WatchdogSec=, the file
descriptor store, and a .socket unit. Always holds: leaving the `with` ends the daemon and its workers.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from tests.lab.clients import Address
from tests.lab.daemon import PROJECT, START_SECONDS
from tests.lab.ports import free_port

RESTART_SECONDS = 0.2
"""RestartSec= of the unit."""
STOP_SECONDS = 5.0
"""TimeoutStopSec= of the unit."""
MAX_DESCRIPTORS = 253
"""Of one message: SCM_MAX_FD."""
UNIT = "forwarder.socket"
"""FileDescriptorName= of what the .socket unit passes."""

_STARTER = """
import os, sys
count, *numbers = map(int, sys.argv[1].split(","))
high = [os.dup2(number, 500 + place) for place, number in enumerate(numbers)]
for place, number in enumerate(high):
    os.dup2(number, 3 + place)
os.closerange(3 + count, 1000)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Between fork and exec systemd moves the descriptors to 3 and on, and knows the process's number."""
_CREDENTIALS = struct.Struct("iII")


class PlayedSystemd:
    """`forwarder run` with this configuration (YAML text) as the main process of a unit.

    `listening`: what a .socket unit would pass, bound; they stay the caller's. `watchdog`: WatchdogSec=.
    """

    def __init__(
        self, config: str, *, server: Address | None = None, listening: Sequence[socket.socket] = (), watchdog: float = 0.0
    ) -> None:
        self.server: Address = server or ("127.0.0.1", free_port())
        """Where it listens, unless the configuration says otherwise."""
        self._config = yaml.safe_load(config)
        self._listening = list(listening)
        self._watchdog = watchdog
        self.told: list[str] = []
        """Every message of the main process, in their order."""
        self.store: list[tuple[str, int]] = []
        """What is kept: name and descriptor."""
        self.restarts = 0
        """How often a main process that ended unasked had a successor."""
        self._main: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()
        self._ready = threading.Event()
        self._leaving = threading.Event()
        self._turn = threading.RLock()
        self._hearing = threading.Lock()
        self._heard_at = 0.0

    @property
    def main(self) -> subprocess.Popen[bytes]:
        """The main process."""
        if self._main is None:
            raise RuntimeError("it was not started")
        return self._main

    @property
    def stderr(self) -> str:
        """What all of them have complained of so far."""
        return (self._directory / "log").read_text()

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="unit-"))
        defaults = {
            "listen": {"addresses": [f"{self.server[0]}:{self.server[1]}"]},
            "observe": {"http": f"127.0.0.1:{free_port()}", "control": str(self._directory / "control.sock")},
        }
        given = {section: values | self._config.get(section, {}) for section, values in defaults.items()}
        (self._directory / "config.yaml").write_text(yaml.safe_dump(self._config | given))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._notify.bind(str(self._directory / "notify"))
        self._notify.setblocking(False)
        self._watching = threading.Thread(target=self._watch)
        self._watching.start()
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        complaints = self.stderr
        self._end()
        if kind is not None:
            sys.stderr.write(f"--- stderr of the daemon\n{complaints}")
        else:
            assert "Traceback" not in complaints, complaints

    def start(self) -> None:
        """`systemctl start`: returns when it said READY=1."""
        with self._turn:
            self._start()
        assert self._ready.wait(START_SECONDS), f"it never said READY=1: {self.stderr}"

    def stop(self) -> int:
        """The first half of `systemctl restart`: SIGTERM, then the end; the exit status."""
        with self._turn:
            self.main.send_signal(signal.SIGTERM)
            try:
                status = self.main.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.main.kill()
                raise
            finally:
                self.main.wait()
                self._hear()  # its last words
            self._ready.clear()
            return status

    def restart(self) -> int:
        """`systemctl restart`; the exit status of the former."""
        with self._turn:
            status = self.stop()
            self._start()
        assert self._ready.wait(START_SECONDS), f"it never said READY=1: {self.stderr}"
        return status

    def forget_store(self) -> None:
        """`systemctl stop` without a start behind it."""
        for _, descriptor in self.store:
            os.close(descriptor)
        self.store.clear()

    def kill(self) -> None:
        """The main process alone, by SIGKILL; returns when its successor is ready."""
        restarts = self.restarts
        self._ready.clear()
        self.main.kill()
        self.wait_until(lambda: self.restarts > restarts and self._ready.is_set())

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Wait for what the daemon brings about."""
        until = time.monotonic() + START_SECONDS
        while not true():
            assert time.monotonic() < until, f"not within {START_SECONDS} s; it said {self.told}; {self.stderr}"
            time.sleep(0.01)

    def _start(self) -> None:
        passed = [(UNIT, one.fileno()) for one in self._listening] + self.store
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self._directory / "notify"),
            "LISTEN_FDS": str(len(passed)),
            "LISTEN_FDNAMES": ":".join(name for name, _ in passed),
            "WATCHDOG_USEC": str(int(self._watchdog * 1e6)),
        }
        numbers = ",".join(map(str, [len(passed), *(descriptor for _, descriptor in passed)]))
        starter = [sys.executable, "-I", "-S", "-c", _STARTER, numbers]
        program = [sys.executable, "-m", "forwarder", "run", "--config", str(self._directory / "config.yaml")]
        self._heard_at = 0.0
        with (self._directory / "log").open("ab") as log:
            self._main = subprocess.Popen(
                [*starter, *program],
                cwd=PROJECT,
                env=environment,
                pass_fds=[descriptor for _, descriptor in passed],
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._sessions.add(self._main.pid)

    def _watch(self) -> None:
        """The loop of process 1."""
        while not self._leaving.is_set():
            select.select([self._notify], [], [], 0.02)
            self._hear()
            if not self._turn.acquire(blocking=False):
                continue
            try:
                self._look()
            finally:
                self._turn.release()

    def _hear(self) -> None:
        """Take all that was said; before a process is gone for good, its last words are heard."""
        with self._hearing, contextlib.suppress(BlockingIOError):
            while True:
                data, control, _, _ = self._notify.recvmsg(4096, socket.CMSG_SPACE(4 * MAX_DESCRIPTORS) + 64)
                self._take(data.decode(), control)

    def _look(self) -> None:
        """Whether the main process still is and was heard."""
        if self._main is None or self._leaving.is_set():
            return
        if self._watchdog and self._heard_at and time.monotonic() - self._heard_at > self._watchdog:
            self._main.kill()
            self._main.wait()
        if self._main.poll() is not None:
            self._hear()
            self._ready.clear()
            time.sleep(RESTART_SECONDS)
            self._start()
            self.restarts += 1

    def _take(self, text: str, control: Sequence[tuple[int, int, bytes]]) -> None:
        sender, descriptors = 0, list[int]()
        for _, kind, octets in control:
            if kind == socket.SCM_RIGHTS:
                descriptors += struct.unpack(f"{len(octets) // 4}i", octets)
            else:
                sender = _CREDENTIALS.unpack(octets)[0]
        if self._main is None or sender != self._main.pid:
            descriptors, text = self._dropped(descriptors), ""
        lines = dict(line.partition("=")[::2] for line in text.splitlines())
        self.told += [text] if text else []
        if "FDSTORE" in lines:
            self._keep(lines.get("FDNAME", "stored"), descriptors)
        if "FDSTOREREMOVE" in lines:
            self._dropped([descriptor for name, descriptor in self.store if name == lines["FDNAME"]])
            self.store = [(name, descriptor) for name, descriptor in self.store if name != lines["FDNAME"]]
        if "READY" in lines or "WATCHDOG" in lines:
            self._heard_at = time.monotonic()
        if "READY" in lines:
            self._ready.set()

    def _keep(self, name: str, descriptors: Sequence[int]) -> None:
        """One descriptor for each socket, the last one first."""
        for descriptor in descriptors:
            if any(os.path.sameopenfile(descriptor, kept) for _, kept in self.store):
                os.close(descriptor)
            else:
                self.store.insert(0, (name, descriptor))  # systemd puts it at the head of its list

    def _dropped(self, descriptors: Sequence[int]) -> list[int]:
        for descriptor in descriptors:
            os.close(descriptor)
        return []

    def living(self) -> list[int]:
        """What runs of the unit: each main process began a session, and no other process belongs to it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    os.getsid(int(entry.name)) in self._sessions
                    and " Z " not in (entry / "stat").read_text().rpartition(")")[2]
                ):
                    found.append(int(entry.name))
        return found

    def _end(self) -> None:
        with self._turn:
            self._leaving.set()
            if self._main is not None:
                with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                    self.stop()
            for pid in self.living():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._watching.join()
        self._notify.close()
        self.forget_store()
        shutil.rmtree(self._directory, ignore_errors=True)
