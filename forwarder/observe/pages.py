"""The HTTP side, on a socket the supervisor bound: /metrics, /health and /ready, the status page and its API.

Never changes anything: GET and HEAD only, no body is read. Always holds: signals stay the supervisor's, no line is logged per
query of a page, and a page that is broken or a client that is slow costs the DNS side nothing.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from forwarder.observe import api, metrics, status_page
from forwarder.observe.exposition import CONTENT_TYPE
from forwarder.observe.reading import SeenWorker

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a document of ours may do; the status page is the only one, and has nothing inline and nothing from elsewhere."""
HEADERS = [
    ("cache-control", "no-store"),
    ("content-security-policy", POLICY),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
]
"""Of every response, errors included: nothing for browsers to keep, frame or guess at."""

MAX_CONNECTIONS = 64
"""A node has two or three scrapers and probes; above this 503, so that file descriptors stay for DNS."""
MAX_CONNECTION_SECONDS = 30.0
"""A page takes milliseconds; whoever sends its header octet by octet is cut off. A stream asks for longer, while it is read."""
MAX_HEADER_SIZE = 16 << 10
"""Octets before the header must have ended; scrapers send 300."""
WELL, UNAVAILABLE = 200, 503
END_SECONDS = 1
"""What a page in progress gets when the daemon ends: less than the 3 s of the whole."""


class Shown(api.Shown, Protocol):
    """The daemon as the pages see it."""

    def counts(self) -> Sequence[int]:
        """Every slot of the counters, over all workers, as `observe.counters` lays them out."""

    def figures(self) -> metrics.Figures:
        """What else /metrics says."""

    def workers(self) -> Sequence[SeenWorker]:
        """Every worker, those that wait to be started again included."""

    def is_ready(self) -> bool:
        """Whether queries were answered at least once, and the end is not near."""


def application(shown: Shown, ending: asyncio.Event) -> Starlette:
    """The pages as an ASGI application; `ending`: set when the daemon ends."""
    collector = metrics.Collector(shown.counts, shown.figures)

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.rendered(collector), headers={"content-type": CONTENT_TYPE})

    async def show_health(_: Request) -> Response:
        workers = shown.workers()
        well = all(worker.serving for worker in workers)
        described = [
            {
                "number": worker.number,
                "pid": worker.pid,
                "serving": worker.serving,
                "state": worker.state,
                "restarts": worker.restarts,
                "last_end": worker.last_end,
            }
            for worker in workers
        ]
        body = {"status": "serving" if well else "not serving", "workers": described}
        return JSONResponse(body, status_code=WELL if well else UNAVAILABLE)

    async def show_ready(_: Request) -> Response:
        ready = shown.is_ready()
        return JSONResponse({"status": "ready" if ready else "not ready"}, status_code=WELL if ready else UNAVAILABLE)

    routes = [
        Route("/metrics", show_metrics, methods=["GET"]),
        Route("/health", show_health, methods=["GET"]),
        Route("/ready", show_ready, methods=["GET"]),
        *api.routes(shown, ending),
        *status_page.routes(),
    ]
    pages = Starlette(routes=routes)
    pages.router.redirect_slashes = False  # a redirect would repeat the Host header of whoever asked
    return pages


async def serve(bound: socket.socket, shown: Shown, ending: asyncio.Event) -> None:
    """Serve the pages on a listening socket until `ending` is set; the socket is closed then."""
    config = uvicorn.Config(
        application(shown, ending),
        http=_BoundedConnection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=HEADERS,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=END_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_SIZE,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    ended = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        ended.cancel()


class _Server(uvicorn.Server):
    """Leaves the signals to the supervisor, which drains the workers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BoundedConnection(H11Protocol):
    """A connection that ends after MAX_CONNECTION_SECONDS, whatever its client does, unless a response keeps it on."""

    _cut_off: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state | {"connection": self}, _loop)
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as H11Protocol declares it
        super().connection_made(transport)
        self.keep(MAX_CONNECTION_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut_off is not None:
            self._cut_off.cancel()
        self.lost.set()
        super().connection_lost(exc)

    def keep(self, seconds: float) -> None:
        """Cut it off in so many seconds, and not before."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        self._cut_off = self.loop.call_later(seconds, self.abort)

    def abort(self) -> None:
        """Close it, whatever was not sent."""
        self.transport.abort()
