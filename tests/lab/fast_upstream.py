"""An upstream for load: a process of its own with plain sockets that answers as the oracle says, each answer a little late.

    python -m tests.lab.fast_upstream HOST PORT TTL DELAY KNOWS LOG

DELAY is in seconds; KNOWS says whose answers it gives, `oracle` or `cluster`. Names of the oracle's kind `slow` take 0.3 s
more. Prints a line when it listens; writes a line for each query to the file LOG, to none for `-`. Always holds: over UDP and
TCP alike it answers in the order of due times, keeps nothing of a query that is answered, and ends with its parent.
"""

import heapq
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import cluster_dns, oracle
from tests.lab.namespaces import Namespace
from tests.lab.oracle import HEADER_SIZE, kind_of
from tests.lab.ports import free_port
from tests.lab.steady import RECEIVE_BUFFER, SO_RCVBUFFORCE

PROJECT = Path(__file__).resolve().parents[2]
SLOW = 0.3
"""Seconds that a `slow` name takes."""
ORACLES = {"oracle": oracle.response_to, "cluster": cluster_dns.response_to}
_BATCH = 64
"""Datagrams taken in one go, so that answers due are not kept waiting."""


class FastUpstream:
    """The process; ended and begun again on the same port as often as a test likes."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        ttl: int = 300,
        delay: float = 0.0,
        namespace: Namespace | None = None,
        knows: str = "oracle",
        log: Path | None = None,
    ) -> None:
        self._log = log
        self.port = free_port(host) if namespace is None else 53
        self.address = f"{host}:{self.port}"
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.lab.fast_upstream"]
        command += [host, str(self.port), str(ttl), str(delay), knows, str(log or "-")]
        self._command = command if namespace is None else namespace.command(*command)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Listen; returns when it does."""
        self._process = subprocess.Popen(self._command, cwd=PROJECT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"no upstream on {self.address}: status {self._process.wait()}")

    def kill(self) -> None:
        """End it at once: its port is closed, its connections are reset."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def suspend(self) -> None:
        """Silent from now on: the kernel takes what comes, and nobody reads it."""
        self._signalled(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again, what came meanwhile first."""
        self._signalled(signal.SIGCONT)

    def asked(self) -> Counter[tuple[str, int]]:
        """How often each question came so far, where there is a log: first label in lower case (the root: none), QTYPE."""
        assert self._log is not None
        lines = (line.partition(" ") for line in self._log.read_text().splitlines())
        return Counter((label, int(qtype)) for qtype, _, label in lines)

    def _signalled(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class _Server:
    """The loop of the process."""

    def __init__(self, address: tuple[str, int], ttl: int, delay: float, knows: str, log: str) -> None:
        self._ttl, self._delay = ttl, delay
        self._log = -1 if log == "-" else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._response_to = ORACLES[knows]
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with suppress(PermissionError):
            self._datagrams.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self._datagrams.bind(address)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(address)
        self._listener.listen(1024)
        self._poll = select.epoll()
        for door in (self._datagrams, self._listener):
            door.setblocking(False)
            self._poll.register(door, select.EPOLLIN)
        self._streams: dict[int, tuple[socket.socket, bytearray]] = {}
        self._due: list[tuple[float, int, int, object, bytes]] = []
        """Due time, running number, descriptor of the connection (0: UDP), peer, message."""
        self._number = 0

    def run(self) -> None:
        """Until killed."""
        while True:
            wait = max(self._due[0][0] - time.monotonic(), 0.0) if self._due else -1
            for descriptor, _ in self._poll.poll(wait):
                if descriptor == self._datagrams.fileno():
                    self._read_datagrams()
                elif descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._read_stream(descriptor)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                self._send(*heapq.heappop(self._due)[2:])

    def _take(self, query: bytes, descriptor: int, peer: object) -> None:
        with suppress(ValueError, IndexError):
            message = self._response_to(query, ttl=self._ttl, is_stream=descriptor != 0)
            if self._log >= 0:
                self._write_down(query)
            late = self._delay + (SLOW if kind_of(query[HEADER_SIZE:]) == b"slow" else 0.0)
            self._number += 1
            if late:
                heapq.heappush(self._due, (time.monotonic() + late, self._number, descriptor, peer, message))
            else:
                self._send(descriptor, peer, message)

    def _write_down(self, query: bytes) -> None:
        end, start = oracle.question_end(query), HEADER_SIZE + 1
        label = query[start : start + query[HEADER_SIZE]].lower()
        os.write(self._log, b"%d %s\n" % (int.from_bytes(query[end - 4 : end - 2], "big"), label))

    def _send(self, descriptor: int, peer: object, message: bytes) -> None:
        with suppress(OSError):
            if not descriptor:
                self._datagrams.sendto(message, peer)  # type: ignore[call-overload]  # an address as recvfrom gave it
            elif (stream := self._streams.get(descriptor)) is not None and stream[0] is peer:
                stream[0].sendall(len(message).to_bytes(2, "big") + message)

    def _read_datagrams(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(_BATCH):
                query, peer = self._datagrams.recvfrom(4096)
                self._take(query, 0, peer)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            stream, _ = self._listener.accept()
            stream.settimeout(1.0)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._streams[stream.fileno()] = (stream, bytearray())
            self._poll.register(stream, select.EPOLLIN)

    def _read_stream(self, descriptor: int) -> None:
        stream, kept = self._streams[descriptor]
        try:
            octets = stream.recv(65536)
        except OSError:
            octets = b""
        if not octets:
            del self._streams[descriptor]
            self._poll.unregister(descriptor)
            stream.close()
            return
        kept += octets
        while len(kept) >= 2 and len(kept) >= (end := 2 + int.from_bytes(kept[:2], "big")):
            self._take(bytes(kept[2:end]), descriptor, stream)
            del kept[:end]


def main() -> None:
    """The program."""
    host, port, ttl, delay, knows, log = sys.argv[1:]
    server = _Server((host, int(port)), int(ttl), float(delay), knows, log)
    sys.stdout.write("listens\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main()
