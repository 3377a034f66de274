"""The pages around a daemon that a test makes up, over real HTTP; and somebody who asks them."""

import asyncio
import http.client
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from forwarder.observe import metrics, pages
from forwarder.observe.history import History
from forwarder.observe.overview import Moment, Overview, Pace
from tests.lab.figures import Daemon, SeenWorker

SECONDS = 20
"""Nothing here takes so long."""


@dataclass
class Shown:
    """A daemon to look at: its figures are those of `daemon`, a second further at each look."""

    daemon: Daemon = field(default_factory=Daemon)
    ready: bool = True
    restarted: int = 0
    latest: Moment | None = None
    history: History = field(default_factory=History)
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def slots(self) -> memoryview:
        """Its counters."""
        return self.daemon.slots

    def counts(self) -> Sequence[int]:
        return self.daemon.slots

    def figures(self) -> metrics.Figures:
        return metrics.Figures(self.restarted, 5, self.daemon.upstreams)

    def workers(self) -> Sequence[SeenWorker]:
        return self.daemon.workers

    def is_ready(self) -> bool:
        return self.ready

    def overview(self) -> Overview:
        return self.daemon.overview()

    def paces(self) -> Sequence[Pace]:
        return self.history.paces

    async def next_moment(self) -> Moment:
        await self.looked.wait()
        assert self.latest is not None
        return self.latest

    def look(self, seconds: float = 1.0) -> None:
        """So many seconds have passed. In the loop of the pages only."""
        now = self.daemon.overview(seconds)
        self.history.add(now)
        self.latest = Moment(now, self.history.paces[-1] if self.history.paces else None)
        looked, self.looked = self.looked, asyncio.Event()
        looked.set()


@dataclass(frozen=True, slots=True)
class Served:
    """Pages that are being served."""

    port: int
    loop: asyncio.AbstractEventLoop
    shown: Shown

    def look(self) -> None:
        """A second passes, seen from another thread; returns when it has."""
        done = asyncio.run_coroutine_threadsafe(self._look(), self.loop)
        done.result(SECONDS)

    async def _look(self) -> None:
        self.shown.look()

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, host: str | None = None) -> "Answer":
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {} if host is None else {"Host": host})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()

    def connected(self) -> socket.socket:
        """A connection on which nothing was asked yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


def visited(shown: Shown, visit: Callable[[Served], object]) -> None:
    """Serve the pages, let somebody visit them from another thread, end."""

    async def inside() -> None:
        bound = socket.create_server(("127.0.0.1", 0))
        bound.setblocking(False)
        ending = asyncio.Event()
        serving = asyncio.create_task(pages.serve(bound, shown, ending))
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.to_thread(visit, Served(bound.getsockname()[1], asyncio.get_running_loop(), shown))
        finally:
            ending.set()
            async with asyncio.timeout(SECONDS):
                await serving

    asyncio.run(inside())


def answer(shown: Shown, path: str, *, method: str = "GET", host: str | None = None) -> Answer:
    """What one request gets."""
    answers: list[Answer] = []
    visited(shown, lambda served: answers.append(served.ask(path, method=method, host=host)))
    return answers[0]
