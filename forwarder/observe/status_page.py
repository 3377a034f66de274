"""The status page at /: a few files beside this one, held in memory.

Never makes text of figures: the page asks the API for them. Always holds: what the files say is given as it is, and only to
whoever calls us by address (`observe.addressing`).
"""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forwarder.observe.addressing import ByAddress

FOLDER = Path(__file__).with_name("page")
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FRONT = "index.html"


def routes() -> Iterator[Route]:
    """A route for each file; raises OSError where they are not installed."""
    for file in sorted(file for file in FOLDER.iterdir() if file.suffix in CONTENT_TYPES):
        path = "/" if file.name == FRONT else f"/{file.name}"
        endpoint = _showing(file.read_bytes(), CONTENT_TYPES[file.suffix])
        yield Route(path, endpoint, methods=["GET"], middleware=[Middleware(ByAddress)])


def _showing(octets: bytes, content_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def show(_: Request) -> Response:
        return Response(octets, headers={"content-type": content_type})

    return show
