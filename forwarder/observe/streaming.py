"""Responses that are given part by part, as fast as their client takes them, and for as long as it looks on.

Never keeps more for a slow client than one part and what the kernel and asyncio buffer (64 KiB). Always holds: a response ends
when its client is gone or takes nothing any more, when its time is over, and at once when the daemon ends.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

MAX_STREAMS = 16
"""At one time: a few people with a page each; the other connections stay for scrapers and probes."""
STREAM_SECONDS = 3600.0
"""Then it ends, and a page that is still looked at asks again."""
STALLED_SECONDS = 10.0
"""A client that takes no part for so long is gone, or will not come back."""
LAST_SECONDS = 0.2
"""For the last octets, where the client reads at all: less than the pages have when the daemon ends."""
RETRY_SECONDS = 2
"""When somebody who was turned away may come again."""


class Connection(Protocol):
    """The connection that a response goes out on."""

    lost: asyncio.Event
    """It is closed, by whomever."""

    def keep(self, seconds: float) -> None:
        """Cut it off in so many seconds, and not before."""

    def abort(self) -> None:
        """Close it, whatever was not sent."""


Parts = Callable[[], AsyncGenerator[bytes]]
"""Gives the body anew for each response."""


class Streaming:
    """An ASGI application: the same parts for everybody who asks, for a few at a time."""

    def __init__(self, parts: Parts, content_type: str, ending: asyncio.Event) -> None:
        """`ending`: set when the daemon ends."""
        self._parts = parts
        self._content_type = content_type
        self._ending = ending
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its body is not read."""
        if self._open >= MAX_STREAMS:
            refusal = PlainTextResponse("too many look on already\n", 503, {"retry-after": str(RETRY_SECONDS)})
            await refusal(scope, receive, send)
            return
        self._open += 1
        try:
            headers = [(b"content-type", self._content_type.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            connection: Connection = scope["state"]["connection"]
            if scope["method"] != "HEAD":
                await self._tell(connection, send)
            await _end(connection, send)
        finally:
            self._open -= 1

    async def _tell(self, connection: Connection, send: Send) -> None:
        """Until all is told, or nobody hears it."""

        async def tell() -> None:
            async with aclosing(self._parts()) as parts:
                async for part in parts:
                    connection.keep(STALLED_SECONDS)
                    await send({"type": "http.response.body", "body": part, "more_body": True})

        telling = asyncio.create_task(tell())
        until = {telling, *(asyncio.create_task(event.wait()) for event in (connection.lost, self._ending))}
        try:
            await asyncio.wait(until, timeout=STREAM_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
        finally:
            for task in until:
                task.cancel()
            await asyncio.gather(*until, return_exceptions=True)


async def _end(connection: Connection, send: Send) -> None:
    """As HTTP ends a response; a client that does not read is left without."""
    try:
        async with asyncio.timeout(LAST_SECONDS):
            await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        connection.abort()
        await connection.lost.wait()
