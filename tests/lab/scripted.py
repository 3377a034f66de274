"""An upstream that does what the test says: UDP and TCP on one port (TLS in place of TCP), every query written down.

One thread with an event loop of its own; the test's thread writes the script and reads what was received. Always holds: a
question that is not in the script is answered REFUSED, so that a query nobody expected shows.
"""

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.name

from forwarder.upstream.probing import MARK
from tests.lab.behaviours import Behaviour, Move, Received, refusal
from tests.lab.clients import Address
from tests.lab.ports import bound_pair

LARGEST_DATAGRAM = 65535


class ScriptedUpstream:
    """Answers by script on a free port of `address`, or on this one, inside its `with` only."""

    def __init__(self, address: str = "127.0.0.1", port: int | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        """Without probes for loops, which come at any time."""
        self.probes: list[Received] = []
        """Those."""
        self.unreadable: list[bytes] = []
        """What came and was no DNS message."""
        self.default: Behaviour = refusal("REFUSED")
        self.closes_at_accept = False
        self.is_serial = False
        """Over TCP: take up a query only when the one before on that connection is dealt with, as CoreDNS does."""
        self.forwards_to: Address | None = None
        """Where forwarded queries go, over UDP."""
        self.most_open = 0
        """The most TCP connections at one time."""
        self.connections = 0
        """TCP connections accepted so far."""
        self._script: dict[tuple[str, str | None], Behaviour] = {}
        self._udp, self._listener = bound_pair(address, port)
        self._tls = tls
        self._other = socket.socket(self._udp.family, socket.SOCK_DGRAM)
        self._other.bind((address, 0))
        self._other.setblocking(False)
        self.host = address
        self.port: int = self._udp.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._is_running = threading.Event()
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._frozen: set[int] = set()
        self._forwarded: dict[bytes, Received] = {}
        """ID -> whose query it was."""
        self._thread = threading.Thread(target=self._run, name=f"upstream {self.address}", daemon=True)

    @property
    def address(self) -> str:
        """`127.0.0.1:5301`, as the configuration wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def on(self, name: str, behaviour: Behaviour, *, qtype: str | None = None) -> None:
        """What to do about a question; `*.zone.` for every name below one not named itself; any type unless one is given."""
        self._script[_spelled_alike(name), qtype] = behaviour

    def asked(self, name: str, qtype: str | None = None) -> list[Received]:
        """The queries that came for a name, in any spelling, in the order in which they came."""
        wanted = _spelled_alike(name)
        return [query for query in self.received if query.name.lower() == wanted and qtype in {None, query.qtype}]

    @property
    def open_connections(self) -> int:
        """TCP connections open now."""
        return len(self._writers)

    def drop_connections(self) -> None:
        """Close every connection there is; new ones are welcome."""

        def close_all() -> None:
            for writer in self._writers.values():
                writer.close()

        self._in_loop(close_all)

    def reset_connections(self) -> None:
        """End every connection there is by RST, as the kernel does for a process that was killed; new ones are welcome."""

        def reset_all() -> None:
            for writer in self._writers.values():
                end: socket.socket = writer.get_extra_info("socket")
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

        self._in_loop(reset_all)

    def freeze_connections(self) -> None:
        """Say nothing more on the connections there are, as when the server behind an address was replaced."""
        self._in_loop(lambda: self._frozen.update(self._writers))

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_running.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for door in (self._udp, self._listener, self._other):
            door.close()

    def _run(self) -> None:
        self._loop.add_reader(self._udp, self._read_datagrams)
        self._loop.add_reader(self._other, self._read_forwarded)
        serving = asyncio.start_server(self._serve_connection, sock=self._listener, ssl=self._tls)
        server = self._loop.run_until_complete(serving)
        self._loop.call_soon(self._is_running.set)  # not before: a `stop` would end the start alone
        self._loop.run_forever()
        self._loop.remove_reader(self._udp)
        self._loop.remove_reader(self._other)
        server.close()
        for writer in self._writers.values():
            writer.transport.abort()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _in_loop(self, action: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(action)
        self._loop.call_soon_threadsafe(done.set)
        done.wait()

    def _read_datagrams(self) -> None:
        with suppress(BlockingIOError):
            while True:
                octets, source = self._udp.recvfrom(LARGEST_DATAGRAM)
                self._take("udp", source[:2], octets, 0)

    def _read_forwarded(self) -> None:
        """What came of a query that was sent on goes back to who asked it."""
        with suppress(BlockingIOError):
            while True:
                octets = self._other.recv(LARGEST_DATAGRAM)
                query = self._forwarded.pop(octets[:2], None)
                if query is not None:
                    self._make(Move(octets), query)

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        if self.closes_at_accept:
            writer.close()
            return
        self._writers[number] = writer
        self.most_open = max(self.most_open, len(self._writers))
        source = writer.get_extra_info("peername")[:2]
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                busy = self._take("tcp", source, await reader.readexactly(length), number)
                if self.is_serial and busy:
                    await asyncio.sleep(busy)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.pop(number, None)
            writer.close()

    def _take(self, transport: str, source: tuple[str, int], octets: bytes, connection: int) -> float:
        """Do about a query what the script says; how many seconds that takes."""
        try:
            message = dns.message.from_wire(octets)
            query = Received(transport, source, connection, octets, message)
            name = query.name.lower()
        except (dns.exception.DNSException, IndexError):
            self.unreadable.append(octets)
            return 0.0
        (self.probes if name.startswith(MARK) else self.received).append(query)
        moves = self._behaviour_for(name, query.qtype)(query)
        for move in moves:
            if move.after:
                self._loop.call_later(move.after, self._make, move, query)
            else:
                self._make(move, query)
        return max((move.after for move in moves), default=0.0)

    def _behaviour_for(self, name: str, qtype: str) -> Behaviour:
        candidates = [name]
        while name:
            name = name.partition(".")[2]
            candidates.append(f"*.{name}")
        for candidate in candidates:
            for key in ((candidate, qtype), (candidate, None)):
                if key in self._script:
                    return self._script[key]
        return self.default

    def _make(self, move: Move, query: Received) -> None:
        if move.is_forwarded:
            if self.forwards_to is not None:
                self._forwarded[move.octets[:2]] = query
                self._other.sendto(move.octets, self.forwards_to)
            return
        if move.octets and query.answered_at is None:
            query.answered_at = time.monotonic()
        if query.transport == "udp":
            if move.octets:
                with suppress(OSError):
                    (self._other if move.from_other_port else self._udp).sendto(move.octets, query.source)
            return
        writer = self._writers.get(query.connection)
        if writer is None or query.connection in self._frozen or move.from_other_port:
            return
        if move.octets:
            writer.write((len(move.octets).to_bytes(2, "big") if move.is_framed else b"") + move.octets)
        if move.close:
            writer.close()


def _spelled_alike(name: str) -> str:
    """A name in lower case, absolute, with dnspython's escapes."""
    return dns.name.from_text(name).to_text().lower()
