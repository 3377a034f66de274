"""A real server as a process of its own, in a namespace or not: what nsd, unbound and dnsmasq have in common here.

Always holds: it answers before the body of its `with` begins, keeps its files in a directory of its own, and both end with the
`with`.
"""

import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.message

from tests.lab.clients import Address, UdpClient
from tests.lab.namespaces import Namespace

START_SECONDS = 10.0
PROBE_SECONDS = 0.1


class RealServer(ABC):
    """A subclass says how it is started. `before`: a program that changes where or how it runs."""

    def __init__(self, server: Address, *, namespace: Namespace | None = None, before: Sequence[str] = ()) -> None:
        self.server = server
        """Where it listens."""
        self._namespace = namespace
        self._before = before

    @property
    def address(self) -> str:
        """`127.0.0.1:5301`, as the configuration wants it."""
        return f"{self.server[0]}:{self.server[1]}"

    @abstractmethod
    def command(self, directory: Path) -> list[str]:
        """The command line; its files go into the directory, what it logs into `log` there."""

    @abstractmethod
    def probe(self) -> dns.message.Message:
        """A query that it answers as soon as it serves."""

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="server-"))
        command = [*self._before, *self.command(self._directory)]
        if self._namespace is not None:
            command = self._namespace.command(*command)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait_until_answering()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def is_answering(self) -> bool:
        """Whether the probe is answered, over UDP."""
        inside: AbstractContextManager[None] = nullcontext() if self._namespace is None else self._namespace.inside()
        with inside, suppress(OSError), UdpClient(self.server) as client:
            client.send(self.probe())
            return client.receive_octets(seconds=PROBE_SECONDS) is not None
        return False

    def _wait_until_answering(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            if self.is_answering():
                return
            time.sleep(0.02)
        log = self._directory / "log"
        text = log.read_text() if log.exists() else "no log"
        raise RuntimeError(f"{type(self).__name__} does not answer on {self.address}: {text}")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
