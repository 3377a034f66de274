"""The figures for programs, as JSON: /api/overview, /api/history, /api/events; docs/api.md has every field.

Never changes anything. Always holds: it is the shape of `observe.overview` and nothing else, and one moment is written as JSON
once, however many look on.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import msgspec
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forwarder.observe.addressing import ByAddress
from forwarder.observe.overview import VERSION, Moment, Overview, Pace
from forwarder.observe.streaming import RETRY_SECONDS, Streaming

JSON = "application/json"
EVENTS = "text/event-stream"
PACES_IN_PART = 50
"""Some 50 KB: what one slow reader of the history costs."""
PLACES = {
    "overview": "the daemon now: totals since it began, upstreams, workers, cache, names, warnings",
    "history": "the last ten minutes, one entry a second, the oldest first",
    "events": "server-sent events: the overview and the second before it, once a second",
}
"""What there is below /api/, and what it is."""

Endpoint = Callable[[Request], Awaitable[Response]] | Streaming


class Shown(Protocol):
    """The daemon as the API sees it."""

    latest: Moment | None
    """What was seen last; None before the first look."""

    def overview(self) -> Overview:
        """All of it, as it is now."""

    def paces(self) -> Sequence[Pace]:
        """The last minutes, the oldest first."""

    async def next_moment(self) -> Moment:
        """What is seen at the next look."""


def routes(shown: Shown, ending: asyncio.Event) -> Iterator[Route]:
    """All of them; `ending` is set when the daemon ends."""
    live = Live(shown)

    async def show_places(_: Request) -> Response:
        return _json({"version": VERSION, "places": PLACES})

    async def show_overview(_: Request) -> Response:
        return _json(shown.overview())

    endpoints: dict[str, Endpoint] = {
        "/api/": show_places,
        "/api/overview": show_overview,
        "/api/history": Streaming(lambda: history(shown.paces()), JSON, ending),
        "/api/events": Streaming(live.events, EVENTS, ending),
    }
    for path, endpoint in endpoints.items():
        yield Route(path, endpoint, methods=["GET"], middleware=[Middleware(ByAddress)])


async def history(paces: Sequence[Pace]) -> AsyncGenerator[bytes]:
    """The paces as one JSON array, in parts."""
    left = iter(tuple(paces))
    before = b"["
    while part := list(islice(left, PACES_IN_PART)):
        yield before + msgspec.json.encode(part)[1:-1]
        before = b","
    yield b"]" if before == b"," else b"[]"


class Live:
    """Moments as events, for any number of streams."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._moment: Moment | None = None
        self._event = b""

    async def events(self) -> AsyncGenerator[bytes]:
        """The one that is there, and each that comes. Whoever is slow misses some."""
        yield b"retry: %d\n\n" % (RETRY_SECONDS * 1000)
        moment = self._shown.latest or await self._shown.next_moment()
        while True:
            yield self._written(moment)
            moment = await self._shown.next_moment()

    def _written(self, moment: Moment) -> bytes:
        if moment is not self._moment:
            self._moment = moment
            self._event = b"data: " + msgspec.json.encode(moment) + b"\n\n"
        return self._event


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type=JSON)
