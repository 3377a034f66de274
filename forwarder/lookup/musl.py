"""The resolver of musl (src/network/lookup_name.c and res_msend.c, 1.2.4 and later): all nameservers at once.

Pure: yields actions and is handed events (`steps`). Before 1.2.4 musl knew no TCP: it took what a truncated response held; we
play the later one and say so. Always holds: names and queries come in the order in which getaddrinfo sends them, or for other
types than addresses res_query, which has no search list.
"""

from collections.abc import Callable
from enum import Enum, auto

from forwarder.lookup.questions import Query, Wanted, joined, query_for
from forwarder.lookup.responses import Response, response_in
from forwarder.lookup.settings import Settings
from forwarder.lookup.steps import Arrived, Await, Broken, Close, GiveUp, Kind, Link, Note, Send, Steps, TimeOut
from forwarder.wire.message import Rcode
from forwarder.wire.names import name_from_text

RESENDS = 2
"""How many SERVFAIL a query may get, each round, and be sent again at once."""
LEAST_IN_STREAM = 13
"""Octets: a shorter message over TCP ends the lookup."""
ACCEPTED = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN))
"""All else is as good as silence to musl."""


class Verdict(Enum):
    """What came of one name."""

    NEXT = auto()
    """NXDOMAIN: the next name of the search list."""
    ENDED = auto()
    """Addresses, NODATA or a failure: the lookup is over."""


class Musl:
    """One lookup. `identity` draws a message ID."""

    def __init__(self, settings: Settings, wanted: Wanted, identity: Callable[[], int]) -> None:
        self._settings = settings
        self._wanted = wanted
        self._identity = identity
        self._udp = 0
        self.counted: list[Response] = []
        """What the caller of the libc is given in the end; empty when nothing."""

    def walk(self) -> Steps[None]:
        """All of the lookup (name_from_dns_search)."""
        for name in self._names():
            if name is None:
                yield Note("a name of the search list is too long, or no name: musl passes over it")
                continue
            verdict = yield from self._ask(name)
            if verdict is Verdict.ENDED:
                return

    def _names(self) -> list[bytes | None]:
        """The search list only for a name with fewer dots than ndots; the name as it is comes last."""
        wanted, settings = self._wanted, self._settings
        text = wanted.text
        is_searched = wanted.is_for_addresses and not wanted.is_absolute and text.count(".") < settings.ndots
        domains = settings.search if is_searched else ()
        return [*(joined(text, domain) for domain in domains), name_from_text(text)]

    def _ask(self, name: bytes) -> Steps[Verdict]:
        """One name (name_from_dns)."""
        identities: list[int] = []
        while len(identities) < len(self._wanted.types):
            identities = list(dict.fromkeys((*identities, self._identity())))
        queries = tuple(
            query_for(name, qtype, identities[number], self._settings, from_getaddrinfo=self._wanted.is_for_addresses)
            for number, qtype in enumerate(self._wanted.types)
        )
        accepted = yield from self._send(queries)
        for query in queries:
            response = accepted.get(query)
            if response is None:
                yield Note(f"without an answer that counts to {query.shown} musl ends the lookup (EAI_AGAIN)")
                return Verdict.ENDED
            if response.rcode == Rcode.NXDOMAIN:
                return Verdict.NEXT
        self.counted = list(accepted.values())
        return Verdict.ENDED

    def _send(self, queries: tuple[Query, ...]) -> Steps[dict[Query, Response]]:
        """Queries out, responses in (__res_msend_rc); those that count."""
        self._udp += 1
        exchange = _Exchange(self._settings, queries, f"FREE {self._udp}")
        yield from exchange.run()
        for link in exchange.open_links():
            yield Close(link)
        return exchange.accepted


class _Exchange:
    """Rounds of sending to all nameservers, until every query has its answer or the time is over."""

    def __init__(self, settings: Settings, queries: tuple[Query, ...], label: str) -> None:
        self._settings = settings
        self._queries = queries
        self._links = {server: Link(label, Kind.FREE, server) for server in settings.nameservers}
        self._streams: dict[Link, Query] = {}
        self._label = label
        self._resends = 0
        self.accepted: dict[Query, Response] = {}

    def open_links(self) -> list[Link]:
        """What is still to be closed."""
        return [*self._links.values(), *self._streams]

    def run(self) -> Steps[None]:
        timeout = float(self._settings.timeout)
        interval = timeout * 1000 // max(self._settings.attempts, 1) / 1000
        if not timeout:
            return
        begun = sent = now = yield from self._round()
        while now - begun < timeout and self._missing():
            if now - sent >= interval:
                sent = yield from self._round()
            event = yield Await((*self._links.values(), *self._streams), sent + interval, self._missing())
            now = event.now
            if isinstance(event, TimeOut):
                is_over = now - begun >= timeout
                then = "gives up" if is_over else "asks all nameservers again"
                yield GiveUp(self._missing(), sent, self._settings.nameservers, then)
            elif isinstance(event, Broken) or (isinstance(event, Arrived) and event.link.kind is Kind.STREAM):
                if not (yield from self._take_from_stream(event)):
                    return
            elif isinstance(event, Arrived):
                yield from self._take(event)

    def _missing(self) -> tuple[Query, ...]:
        return tuple(query for query in self._queries if query not in self.accepted)

    def _round(self) -> Steps[float]:
        """Each query that is not answered, to each nameserver; the time."""
        self._resends = RESENDS * len(self._queries)
        now = 0.0
        for query in self._missing():
            if query not in self._streams.values():
                for link in self._links.values():
                    now = (yield Send(link, (query,))).now
        return now

    def _take(self, event: Arrived) -> Steps[None]:
        """A datagram: only its ID is looked at."""
        response = response_in(event.message)
        asked = [query for query in self._missing() if query not in self._streams.values()]
        query = next((query for query in asked if response is not None and query.identity == response.identity), None)
        if query is None or response is None:
            return
        if response.rcode == Rcode.SERVFAIL and self._resends:
            self._resends -= 1
            yield Send(self._links[event.link.server], (query,))
        if response.rcode not in ACCEPTED:
            return
        if not response.is_truncated:
            self.accepted[query] = response
            return
        stream = Link(f"{self._label} STREAM {query.identity}", Kind.STREAM, event.link.server)
        self._streams[stream] = query
        yield Note("the response was truncated: musl asks again over TCP (before 1.2.4 it took what there was)")
        yield Send(stream, (query,))

    def _take_from_stream(self, event: Broken | Arrived) -> Steps[bool]:
        """What came over TCP; False when it ends the lookup."""
        query = self._streams.get(event.link)
        response = response_in(event.message) if isinstance(event, Arrived) else None
        if query is None or response is None or len(response.message) < LEAST_IN_STREAM or response.rcode not in ACCEPTED:
            yield Note("what came over TCP does not count, which ends musl's asking")
            return False
        self.accepted[query] = response
        del self._streams[event.link]
        yield Close(event.link)
        return True
