"""The resolver of glibc (resolv/res_query.c and res_send.c, 2.36 to 2.43): which name next, which server next, and how long.

Pure: yields actions and is handed events (`steps`). Always holds: names and queries come in the order in which getaddrinfo, or
for one type res_search, sends them; what a thread remembers from one name to the next (the latch of single-request) lives as
long as the `Glibc`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from forwarder.lookup.questions import Query, Wanted, joined, query_for
from forwarder.lookup.responses import BARE_ERRORS, Response, answers_query, rcode_text, response_in
from forwarder.lookup.settings import Settings
from forwarder.lookup.steps import Arrived, Await, Break, Broken, Close, GiveUp, Kind, Link, Note, Send, Steps, TimeOut
from forwarder.wire.message import Rcode
from forwarder.wire.names import name_from_text

STREAM_SECONDS = 30.0
"""How long we wait for a server over TCP. glibc sets no time-out there: it waits until the kernel ends the connection."""


class Verdict(Enum):
    """What came of one name, as far as the walk is concerned."""

    FOUND = auto()
    """NOERROR with records."""
    NOT_FOUND = auto()
    """NXDOMAIN, NODATA, or SERVFAIL from all servers: the next name of the search list."""
    FAILED = auto()
    """Any other failure: no further name of the search list, the name as it is all the same."""
    NOBODY_THERE = auto()
    """Every server refused the connection: nothing more is asked."""
    ENDLESS = auto()
    """A server that says nothing over TCP: glibc would wait on."""


class Fault(Enum):
    """Why `_send` came back without a response (errno)."""

    TIMED_OUT = auto()
    REFUSED = auto()
    ENDLESS = auto()


@dataclass(slots=True)
class Latch:
    """What one lost response changes for good in a thread (RES_F_SNGLKUP, RES_F_SNGLKUPREOP)."""

    single: bool
    """AAAA leaves only when A was answered."""
    reopen: bool
    """And from another port."""


class Glibc:
    """One thread's resolver. `identity` draws a message ID; `turn` is where `options rotate` begins."""

    def __init__(self, settings: Settings, wanted: Wanted, identity: Callable[[], int], *, turn: int = 0) -> None:
        self.settings = settings
        self._wanted = wanted
        self._identity = identity
        self._turn = turn
        reopen = "single-request-reopen" in settings.flags
        self.latch = Latch(reopen or "single-request" in settings.flags, reopen)
        self._generations: dict[str, int] = {}
        self.first_rcode = 0
        """RCODE of the message that came last while none counted yet: glibc reads it from its buffer afterwards."""
        self.fault = Fault.TIMED_OUT
        self.counted: list[Response] = []
        """What the caller of the libc is given in the end; empty when nothing."""

    def walk(self) -> Steps[None]:
        """All of the lookup (__res_context_search)."""
        text, settings = self._wanted.text, self.settings
        dots = text.count(".")
        as_is = name_from_text(text)
        was_asked = searched = False
        if dots >= settings.ndots or self._wanted.is_absolute:
            verdict = yield from self._ask(as_is)
            if self._wanted.is_absolute or verdict in {Verdict.FOUND, Verdict.ENDLESS}:
                return
            was_asked = True
        for domain in settings.search:
            searched = True
            entry = domain.removeprefix(".")
            was_asked = was_asked or not entry
            verdict = yield from self._ask(joined(text, entry))
            if verdict in {Verdict.FOUND, Verdict.ENDLESS}:
                return
            if verdict is Verdict.NOBODY_THERE:
                yield Note("nobody listens at any nameserver: glibc gives up")
                return
            if verdict is Verdict.FAILED:
                yield Note("glibc leaves the search list after such a failure")
                break
        if not was_asked and (dots or not searched or "no-tld-query" not in settings.flags):
            yield from self._ask(as_is)

    def _ask(self, name: bytes | None) -> Steps[Verdict]:
        """One name (__res_context_query)."""
        if name is None:
            yield Note("a name of the search list is too long, or no name: a failure to glibc, nothing is asked")
            return Verdict.FAILED
        types = self._wanted.types
        if self._wanted.is_pair and "no-aaaa" in self.settings.flags:
            types = types[:1]
        identities: list[int] = []
        while len(identities) < len(types):
            identities = list(dict.fromkeys((*identities, self._identity())))
        queries = tuple(query_for(name, qtype, identities[number], self.settings) for number, qtype in enumerate(types))
        self.first_rcode = 0
        responses = yield from self._send(queries)
        for link in self._links():
            yield Close(link)
        if not responses:
            return self._verdict_on_silence()
        first, last = responses[0], responses[-1]
        if first.has_answers or last.has_answers:
            self.counted = responses
            return Verdict.FOUND
        rcode = first.rcode or last.rcode
        if rcode in {Rcode.NOERROR, Rcode.NXDOMAIN} or rcode == self.first_rcode == Rcode.SERVFAIL:
            return Verdict.NOT_FOUND
        return Verdict.FAILED

    def _verdict_on_silence(self) -> Verdict:
        if self.fault is Fault.ENDLESS:
            return Verdict.ENDLESS
        if self.fault is Fault.REFUSED:
            return Verdict.NOBODY_THERE
        return Verdict.NOT_FOUND if self.first_rcode == Rcode.SERVFAIL else Verdict.FAILED

    def _send(self, queries: tuple[Query, ...]) -> Steps[list[Response]]:
        """The queries to one server after another (__res_context_send); the responses that count, none when it failed."""
        servers = self.settings.nameservers
        begin = self._turn if "rotate" in self.settings.flags else 0
        self._turn += 1
        self.fault = Fault.REFUSED
        over_tcp = "use-vc" in self.settings.flags
        attempts = self.settings.attempts
        while attempts > 0:
            attempts -= 1
            for number in ((begin + shift) % len(servers) for shift in range(len(servers))):
                if not over_tcp:
                    responses = yield from self._over_udp(number, queries)
                    if responses is not None:
                        if responses:
                            return responses
                        continue
                    yield Note("the response was truncated: glibc asks again over TCP")
                over_tcp, attempts = True, 0
                responses = yield from self._over_tcp(number, queries)
                if responses or self.fault is Fault.ENDLESS:
                    return responses
        return []

    def _over_udp(self, number: int, queries: tuple[Query, ...]) -> Steps[list[Response] | None]:
        """One attempt at one server (send_dg), once more when it latches. None when a response was truncated."""
        seconds = self._seconds(number)
        while True:
            link = self.link_to(number, Kind.CONNECTED)
            begun = yield Send(link, queries[:1] if self.latch.single else queries)
            attempt = _Attempt(self, number, link, queries, begun.now + seconds)
            ending = yield from attempt.run()
            if ending is not _Ending.SILENT:
                return None if ending is _Ending.TRUNCATED else attempt.good
            self.fault = Fault.TIMED_OUT
            then = self._after_silence(number, is_half=bool(attempt.good))
            yield GiveUp(attempt.missing(), begun.now, (link.server,), then)
            if not attempt.good or then == GOES_ON_WITH_HALF:
                return attempt.good
            if self.latch.reopen:
                yield Close(attempt.link)
                self.renew(number)

    def _after_silence(self, number: int, *, is_half: bool) -> str:
        """What follows a time-out; with one of two answered, the latch closes a step further."""
        if not is_half:
            is_last = number == len(self.settings.nameservers) - 1
            return "goes on with the next server or attempt" if not is_last else "goes on with the next attempt, or fails"
        if not self.latch.single:
            self.latch.single = True
            return "asks again, and from now on asks AAAA only once A is answered (single-request, for the life of the thread)"
        if not self.latch.reopen:
            self.latch.reopen = True
            return "asks again, and from now on from a new port for AAAA (single-request-reopen, for the life of the thread)"
        return GOES_ON_WITH_HALF

    def _over_tcp(self, number: int, queries: tuple[Query, ...]) -> Steps[list[Response]]:
        """Both queries on one connection, a second one if the first is reset (send_vc)."""
        was_reset = False
        while True:
            link = self.link_to(number, Kind.STREAM)
            begun = yield Send(link, queries)
            waiting = {query.identity: query for query in queries}
            good: list[Response] = []
            event = begun
            while waiting:
                event = yield Await((link,), begun.now + STREAM_SECONDS, tuple(waiting.values()))
                if not isinstance(event, Arrived):
                    break
                response = response_in(event.message)
                if response is not None and not good:
                    self.first_rcode = response.rcode
                if response is not None and response.identity in waiting:
                    del waiting[response.identity]
                    good.append(response)
            else:
                yield Close(link)
                return good
            if isinstance(event, TimeOut):
                yield GiveUp(tuple(waiting.values()), begun.now, (link.server,), "would wait on: it has no time-out over TCP")
                self.fault = Fault.ENDLESS
                return []
            yield Close(link)
            self.renew(number)
            why = event.why if isinstance(event, Broken) else Break.GARBLED
            if why is Break.RESET and not was_reset:
                was_reset = True
                continue
            self.fault = Fault.REFUSED if why is Break.NO_LISTENER else Fault.TIMED_OUT
            return []

    def _seconds(self, number: int) -> int:
        """How long server `number` (from 0) is waited for: later ones longer, shared out among all."""
        seconds = self.settings.timeout << number
        return max(seconds // len(self.settings.nameservers) if number else seconds, 1)

    def link_to(self, number: int, kind: Kind) -> Link:
        """The socket to this server in use."""
        server = self.settings.nameservers[number]
        generation = self._generations.setdefault(f"{number}", 0)
        return Link(f"{kind.name} {number} {generation}", kind, server)

    def _links(self) -> list[Link]:
        """The UDP links in use; the next name begins with new ones."""
        links = [self.link_to(number, Kind.CONNECTED) for number in range(len(self.settings.nameservers))]
        for number in range(len(links)):
            self.renew(number)
        return links

    def renew(self, number: int) -> None:
        """The next link to this server is a new socket."""
        self._generations[f"{number}"] = self._generations.get(f"{number}", 0) + 1


GOES_ON_WITH_HALF = "goes on with the half it has"


class _Ending(Enum):
    ANSWERED = auto()
    """`good` is what counts; when it is empty, the next server is asked."""
    TRUNCATED = auto()
    SILENT = auto()


class _Attempt:
    """The waiting part of send_dg: one server, until all are answered, it fails, or the time is over."""

    def __init__(self, resolver: Glibc, number: int, link: Link, queries: tuple[Query, ...], until: float) -> None:
        self._resolver = resolver
        self._number = number
        self.link = link
        self._queries = queries
        self._until = until
        self._is_single = resolver.latch.single
        self.good: list[Response] = []
        self.answered: list[Query] = []

    def missing(self) -> tuple[Query, ...]:
        """What was sent and is not answered."""
        sent = self._queries[: len(self.answered) + 1] if self._is_single else self._queries
        return tuple(query for query in sent if query not in self.answered)

    def run(self) -> Steps[_Ending]:
        """Receive until it is decided."""
        while True:
            missing = self.missing()
            event = yield Await((self.link,), self._until, missing)
            if isinstance(event, TimeOut):
                return _Ending.SILENT
            response = response_in(event.message) if isinstance(event, Arrived) else None
            if response is None:
                return (yield from self._failed())
            self._resolver.fault = Fault.TIMED_OUT
            if not self.answered or len(self._queries) == 1:
                self._resolver.first_rcode = response.rcode
            query = next((query for query in missing if answers_query(response, query)), None)
            if query is None:
                continue
            ending = yield from self._take(response, query)
            if ending is not None:
                return ending

    def _take(self, response: Response, query: Query) -> Steps[_Ending | None]:
        """What a response that matches leads to; None when more is waited for."""
        latch, settings = self._resolver.latch, self._resolver.settings
        if response.rcode in BARE_ERRORS or response.is_lame:
            if "strict-error" not in settings.flags:
                if self.answered:
                    return _Ending.ANSWERED
                if len(self._queries) > 1 and not latch.single:
                    self.answered.append(query)
                    return None
            what = "a NOERROR with nothing in it, AA and RA unset" if response.is_lame else rcode_text(response.rcode)
            yield Note(f"{what} makes glibc ask the next server, or this one again")
            return (yield from self._failed())
        if response.is_truncated:
            return _Ending.TRUNCATED
        self.answered.append(query)
        self.good.append(response)
        if len(self.answered) == len(self._queries):
            return _Ending.ANSWERED
        if latch.single:
            if latch.reopen:
                yield Close(self.link)
                self._resolver.renew(self._number)
                self.link = self._resolver.link_to(self._number, Kind.CONNECTED)
            yield Send(self.link, self._queries[1:])
        return None

    def _failed(self) -> Steps[_Ending]:
        """The socket is closed, and nothing of this attempt counts."""
        yield Close(self.link)
        self._resolver.renew(self._number)
        self.good = []
        return _Ending.ANSWERED
