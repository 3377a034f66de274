"""A query on its way to an upstream, over whichever transport: what came back is made sense of here.

Always holds: whoever awaits an exchange gets a response that was read, or the reason why there is none; it never raises. After
a reason that leaves it open (`servers.OPEN`) it is awaited again in the same call stack, or abandoned.
"""

import math
from collections.abc import Generator

from forwarder.errors import WireError
from forwarder.upstream.servers import Failed
from forwarder.upstream.waiting import Waiting
from forwarder.wire.message import Query
from forwarder.wire.records import Response, parse_response


class Exchange(Waiting):
    """To be resumed with the message that matched, or with why there is none."""

    __slots__ = ("query",)

    query: Query
    """The client's."""

    def __await__(self) -> Generator[Waiting, None, Response | Failed]:
        yield self
        message = self._value
        if not isinstance(message, bytes):
            reason: Failed = message
            return reason
        query = self.query
        try:
            return parse_response(message, query.name, query.qtype, do=query.do)
        except WireError:
            return Failed.MALFORMED

    def prolong(self, until: float) -> None:
        """Be told again at `until`; whoever told it just now looks at it then."""
        self.due = until

    def give_up(self) -> None:
        """Nothing came in time: whoever waits is told, and may go on waiting."""
        self.due = math.inf
        self.resume(Failed.TIMEOUT)


class Settled:
    """An exchange that ended before it began."""

    __slots__ = ("_outcome",)

    def __init__(self, outcome: Failed) -> None:
        self._outcome = outcome

    def __await__(self) -> Generator[Waiting, None, Response | Failed]:
        yield from ()
        return self._outcome

    def prolong(self, until: float) -> None:
        """It is over."""

    def abandon(self) -> None:
        """It holds nothing."""
