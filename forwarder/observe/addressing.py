"""Who asks for what tells of clients' names has to call the daemon by its address, or `localhost`.

A page from elsewhere that a person has open can have its own name lead to 127.0.0.1 (DNS rebinding); the browser then takes our
answers for that page's, but it writes that name into the Host header. Never looks anything up. Always holds: figures without
names (/metrics, /health, /ready) are given to everybody, by whatever name a scraper calls the node.
"""

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MISDIRECTED = 421
"""RFC 9110, section 15.5.20: "not able or willing to produce an authoritative response for the target URI"."""
REFUSAL = "this page is found by address or as localhost, not by another name\n"


class ByAddress:
    """An ASGI application in front of another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through who calls us rightly."""
        host = Headers(scope=scope).get("host", "")
        answer: ASGIApp = self._app if is_address(host) else PlainTextResponse(REFUSAL, MISDIRECTED)
        await answer(scope, receive, send)


def is_address(host: str) -> bool:
    """Whether a Host header, `127.0.0.1:9253`, `[::1]` or `localhost:8080`, names no other name."""
    name = re.sub(r":\d*$", "", host) if host.startswith("[") or host.count(":") == 1 else host
    if name.lower().removesuffix(".") == "localhost":
        return True
    try:
        if name.startswith("[") and name.endswith("]"):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
