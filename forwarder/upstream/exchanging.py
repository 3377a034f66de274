"""A query on its way to an upstream, over whichever transport: what came back is made sense of here.

Always holds: whoever awaits an exchange gets a response that was read, or the reason why there is none; it never raises.
"""

from collections.abc import Awaitable, Generator

from forwarder.errors import WireError
from forwarder.upstream.selection import Failed
from forwarder.upstream.waiting import Waiting
from forwarder.wire.message import Query
from forwarder.wire.records import Response, parse_response


class Exchange(Waiting):
    """To be resumed with the message that matched, with why there is none, or with the exchange that goes on in its stead."""

    __slots__ = ("query",)

    query: Query
    """The client's."""

    def __await__(self) -> Generator[Waiting, None, Response | Failed]:
        yield self
        message = self._value
        if not isinstance(message, bytes):
            instead: Failed | Awaitable[Response | Failed] = message
            return instead if isinstance(instead, Failed) else (yield from instead.__await__())
        query = self.query
        try:
            return parse_response(message, query.name, query.qtype, do=query.do)
        except WireError:
            return Failed.MALFORMED

    def give_up(self) -> None:
        """Nothing came in time. Subclasses put in order what they hold first."""
        self.resume(Failed.TIMEOUT)


async def settled(outcome: Failed) -> Failed:
    """An exchange that ended before it began."""
    return outcome
