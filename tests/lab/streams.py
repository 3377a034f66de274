"""The door for streams on a real loop, in front of it clients on the same loop.

Always holds: whatever a scenario opened is closed when it ends, the door's connections too; a scenario that hangs fails.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from typing import Self

import dns.message
import uvloop

from forwarder.config import NETWORKS
from forwarder.observe import counters
from forwarder.serving.allow import AllowedClients
from forwarder.serving.noting import Wanted
from forwarder.serving.tcp import Admission, TcpDoor
from forwarder.sockets import bind_doors
from tests.lab.clients import HANG, framed
from tests.lab.kitchen import Kitchen, read
from tests.lab.ports import free_port

EVERYBODY = NETWORKS["any"]
IDLE_TIMEOUT = 10.0


class Client:
    """One connection, with its socket's buffers as they are wanted."""

    def __init__(self, family: int, *, buffers: int | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffers is not None:
            _set_buffers(self.socket, buffers)
        self._kept = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, *messages: bytes) -> None:
        """All in one write, each with its length."""
        await self.send_octets(b"".join(framed(message) for message in messages))

    async def send_octets(self, octets: bytes) -> None:
        await self.loop.sock_sendall(self.socket, octets)

    async def received(self) -> bytes | None:
        """The next message; None when the server ended the connection, between two messages."""
        while len(self._kept) < 2 or len(self._kept) < 2 + int.from_bytes(self._kept[:2]):
            data = await self.loop.sock_recv(self.socket, 1 << 20)
            if not data:
                assert not self._kept, "cut within a message"
                return None
            self._kept += data
        end = 2 + int.from_bytes(self._kept[:2])
        message, self._kept = self._kept[2:end], self._kept[end:]
        return message

    async def ask(self, octets: bytes) -> dns.message.Message:
        """The response that answers this query, which is the next."""
        await self.send(octets)
        message = await self.received()
        assert message is not None, "closed"
        return read(message, octets)

    async def is_closed(self) -> bool:
        """Wait for the end of the connection, nothing more having come."""
        with suppress(ConnectionError):
            return await self.received() is None
        return True


class Bench:
    """A door on a loop, what is behind it, and clients in front."""

    def __init__(self, listener: socket.socket, kitchen: Kitchen, admission: Admission, clients: AsyncExitStack) -> None:
        self.listener = listener
        self.kitchen = kitchen
        self.admission = admission
        row = counters.door_row("tcp", "ipv6" if listener.family == socket.AF_INET6 else "ipv4")
        self.door = TcpDoor(asyncio.get_running_loop(), listener, kitchen.answering, kitchen.turn, row, admission)
        self._clients = clients

    async def client(self, *, buffers: int | None = None, source: str | None = None) -> Client:
        """A client that is connected, and that the door had the time to accept."""
        made = await self._clients.enter_async_context(Client(self.listener.family, buffers=buffers))
        if source is not None:
            made.socket.bind((source, 0))
        await made.loop.sock_connect(made.socket, self.listener.getsockname())
        await turns()
        return made

    def settle(self) -> None:
        """The upstream answers what it was asked, and the turn ends."""
        self.kitchen.turn.begin()
        self.kitchen.upstream.settle()
        self.kitchen.turn.end()

    @property
    def connections(self) -> int:
        """As the gauge says."""
        return int(self.kitchen.counts[counters.TCP_CONNECTIONS])

    async def until(self, true: Callable[[], object]) -> None:
        """Let the loop run until something has come about."""
        while not true():  # noqa: ASYNC110 - what changes are counters of the code under test: there is nothing to await
            await asyncio.sleep(0.001)


def _set_buffers(one: socket.socket, octets: int) -> None:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        one.setsockopt(socket.SOL_SOCKET, option, octets)


async def turns() -> None:
    """Let the loop look at its sockets a few times."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def bench(
    host: str = "127.0.0.1",
    *,
    allow: Sequence[str] = EVERYBODY,
    max_connections: int = 100,
    max_in_progress: int = 1000,
    buffers: int | None = None,
    wanted: Wanted | None = None,
) -> AsyncIterator[Bench]:
    """`buffers`: octets the kernel may hold each way for a connection."""
    port = free_port()
    with closing(bind_doors([f"[{host}]:{port}" if ":" in host else f"{host}:{port}"], 1 << 20)) as doors:
        (listener,) = doors.tcp
        if buffers is not None:
            _set_buffers(listener, buffers)  # accepted sockets inherit them
        admission = Admission(AllowedClients(allow), max_connections, IDLE_TIMEOUT)
        async with AsyncExitStack() as clients, asyncio.timeout(HANG):
            at = Bench(listener, Kitchen(max_in_progress=max_in_progress, wanted=wanted), admission, clients)
            try:
                yield at
            finally:
                at.door.close()
                for client in list(admission.clients):
                    client.close()
            assert at.connections == 0


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """On the loop that the worker uses."""

    async def awaited() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(awaited())


def in_loop(scenario: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test that is a coroutine."""

    def test() -> None:
        run(scenario)

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test
