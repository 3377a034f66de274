"""The recipe on a bench: real caches, coalescing and zones between fakes for the clock, the upstream and the doors.

Always holds: nothing happens by itself. The clock stands until it is told, the upstream answers when the test says so, and what
was counted is read back in words.
"""

import contextlib
import socket
import time
import weakref
from collections.abc import Mapping

import dns.flags
import dns.message
import dns.rcode

from forwarder.cache.answers import AnswerCache
from forwarder.cache.denial import Denial
from forwarder.cache.exact import ExactCache
from forwarder.cache.failures import Failures
from forwarder.cache.lifetime import Limits
from forwarder.cache.pairs import Pairs
from forwarder.cache.pinned import PinnedNames
from forwarder.observe import counters, notes
from forwarder.serving.answering import Answering, Memory
from forwarder.serving.coalescing import Coalescing
from forwarder.serving.noting import Noting, Wanted
from forwarder.serving.responding import Responding, Terms
from forwarder.upstream.asking import Unanswered
from forwarder.upstream.network import Network
from forwarder.upstream.probing import Probing
from forwarder.upstream.readiness import Readiness
from forwarder.upstream.round_trip import RoundTrip
from forwarder.upstream.servers import Failed, Server
from forwarder.upstream.tally import Tally
from forwarder.upstream.turn import Turn
from forwarder.upstream.unpredictable import Unpredictable
from forwarder.upstream.waiting import TICK, Timers, Waiting
from forwarder.upstream.zones import Zone, Zones
from forwarder.wire.message import Query, query_for_upstream
from forwarder.wire.names import ROOT
from forwarder.wire.records import Response, parse_response
from tests.lab.behaviours import Behaviour, Received, answer
from tests.lab.clients import extended_errors, query

DEADLINE = 1.8
CLIENT_RESPONSE_TIMER = 0.4
FAILURE_TTL = 1.0
MAX_FAILURE_TTL = 30.0
FAILURE_RECHECK_TIMER = 5.0
MAXIMUM_STALE_TIMER = 3600.0
STALE_ANSWER_TTL = 30
MAX_UDP_SIZE = 1232
ONE = answer("@ 60 IN A 192.0.2.1")
PINNED_ADDRESS = "198.51.100.7"


CLIENT = bytes((192, 0, 2, 7))
"""Whoever asks at a fake door."""


class FakeDoor:
    """Keeps what would be sent; an empty message says that nothing will be."""

    def __init__(self, *, is_stream: bool = False) -> None:
        self.row = counters.door_row("tcp" if is_stream else "udp", "ipv4")
        self.is_stream = is_stream
        self.replies: list[tuple[object, bytes]] = []

    def reply(self, peer: object, message: bytes) -> None:
        """Take what is sent."""
        self.replies.append((peer, message))

    def client(self, peer: object) -> bytes:
        """Everybody is at one address."""
        del peer
        return CLIENT


class Asked(Waiting):
    """One question that reached the upstream, and waits for what the test makes of it."""

    def __init__(self, question: Query, until: float) -> None:
        super().__init__()
        self.query = question
        self.until = until

    def prolong(self, until: float) -> None:
        """It is late, and waited for until then."""
        self.until = until

    def abandon(self) -> None:
        """Nobody waits any more."""
        self.coroutine = None


class FakeUpstream:
    """Answers when the test says so; raises when it is told to, which a real one never does."""

    name = "192.0.2.53:53"
    is_stream = False

    def __init__(self) -> None:
        self.round_trip = RoundTrip()
        self.asked: list[tuple[Query, float]] = []
        """Every question that came, and until when it may take."""
        self.waiting: list[Asked] = []
        """Those not answered yet."""
        self.defect: Exception | None = None

    def exchange(self, query: Query, until: float, *, edns: bool = True, apart: bool = False) -> Asked:
        """One attempt, ended by `settle`; however it is to be sent."""
        del edns, apart
        self.asked.append((query, until))
        if self.defect is not None:
            raise self.defect
        asked = Asked(query, until)
        self.waiting.append(asked)
        return asked

    def tidy(self, now: float) -> None:
        """Nothing is idle."""

    def close(self) -> None:
        """Nothing is idle."""

    def settle(self, outcome: Behaviour | Response | Failed = ONE) -> None:
        """Answer all that waits, and what is asked because of that, until nothing waits."""
        while self.waiting:
            self.settle_one(0, outcome)

    def settle_one(self, place: int, outcome: Behaviour | Response | Failed = ONE) -> None:
        """Answer one of what waits, and leave the others waiting."""
        asked = self.waiting.pop(place)
        asked.resume(outcome if isinstance(outcome, Response | Failed) else said(asked.query, outcome))


def said(question: Query, behaviour: Behaviour) -> Response:
    """What an upstream that behaves so says to a query of ours for this question."""
    octets = query_for_upstream(0, question.name + question.question[-4:], question, wants_ad=False)
    (move,) = behaviour(Received("udp", ("192.0.2.53", 53), 0, octets, dns.message.from_wire(octets)))
    return parse_response(move.octets, question.name, question.qtype, do=question.do)


class KitchenZone(Zone):
    """A zone whose upstreams are down, have come back, or have nothing to spare when the test says so."""

    __slots__ = ("_is_down", "budget", "times_recovered", "untils")

    def __init__(self, number: int, servers: list[Server], network: Network) -> None:
        self._is_down = False
        super().__init__(number, servers, network)
        self.times_recovered = 0
        self.budget = 1000
        """Questions that may still be asked ahead."""
        self.untils: list[float] = []
        """Until when each question might be asked that came here."""

    def put(self, *, down: bool) -> None:
        """All its upstreams are down from now on, or none."""
        self._is_down = down
        self.review()

    def review(self) -> None:
        """Whatever its upstreams did, it is as the test said."""
        self.is_down = self._is_down

    async def ask(self, query: Query, until: float) -> Response | Unanswered:
        """As ever."""
        self.untils.append(until)
        return await super().ask(query, until)

    @property
    def recoveries(self) -> int:
        """As often as the test said so."""
        return self.times_recovered

    def may_ask_ahead(self, now: float) -> bool:  # noqa: ARG002 - a real one needs it
        """One less, while there are any."""
        self.budget -= 1
        return self.budget >= 0


class Kitchen:
    """The recipe, its ingredients, and two doors; for another door, `answering`, `turn` and `counts` are there."""

    def __init__(
        self,
        *,
        max_in_progress: int = 1000,
        is_clock_real: bool = False,
        prefetch: bool = True,
        special: Mapping[str, frozenset[int]] | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        """`special`: fields of Terms that name zones, of which there is one, number 0."""
        self.now = 1000.0
        """What the clock says, seconds."""
        self.counts = counters.private()
        self.turn = Turn(time.monotonic if is_clock_real else lambda: self.now)
        self.upstream = FakeUpstream()
        self.timers = Timers()
        failures = Failures(1 << 20, FAILURE_TTL, MAX_FAILURE_TTL)
        exact, answers = ExactCache(1 << 20), AnswerCache(1 << 20)
        denial = Denial(1 << 20, exact.clear)
        self.memory = Memory(exact, PinnedNames(), answers, Pairs(answers, exact.clear), denial, failures)
        self.coalescing = Coalescing(max_in_progress)
        self.network = Network(Readiness(self.turn), self.timers, self.turn, Unpredictable())
        server = Server(self.upstream.name, (self.upstream,), Tally(self.counts, 0, self.turn), self.turn.now)
        self.zone = KitchenZone(0, [server], self.network)
        self.limits = Limits(max_ttl=3600, max_negative_ttl=30, maximum_stale_timer=MAXIMUM_STALE_TIMER)
        terms = Terms(
            DEADLINE, CLIENT_RESPONSE_TIMER, FAILURE_RECHECK_TIMER, STALE_ANSWER_TTL, prefetch, MAX_UDP_SIZE, {0: self.limits},
            **special or {},
        )  # fmt: skip
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        for end in (self.ours, theirs):
            weakref.finalize(self, end.close)  # in a circle of garbage, `__del__` may come after the socket's own end
        self.noting = None if wanted is None else Noting(wanted, theirs, self.turn, self.counts)
        responding = Responding(terms, self.counts, self.turn, self.noting)
        zones = Zones({ROOT: self.zone}, self.zone)
        self.answering = Answering(self.memory, self.coalescing, zones, responding, Probing(self.network), self.timers)
        self.udp = FakeDoor()
        self.tcp = FakeDoor(is_stream=True)

    def notes(self) -> list[notes.Note]:
        """What was noted, where it is wanted, since the last call."""
        assert self.noting is not None
        self.noting.write()
        found: list[notes.Note] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found += notes.read(self.ours.recv(1 << 20))
        return found

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on, and the next turn begin, with what is due by then."""
        self.now += seconds
        self.timers.sweep(self.turn.begin())

    def fail(self, outcome: Behaviour | Response | Failed) -> None:
        """Have the upstream do so again and again, until nobody waits for it any more."""
        self.upstream.settle(outcome)
        while self.coalescing:
            self.pass_time(TICK)
            self.upstream.settle(outcome)

    def take(self, octets: bytes, peer: object = None, *, door: FakeDoor | None = None) -> None:
        """Do what a door does with a query that its exact cache does not know."""
        door = door or self.udp
        now = self.turn.begin()
        self.memory.exact.begin(now)
        outcome = self.answering.at_once(octets, door, now)
        if isinstance(outcome, Query):
            self.answering.ask(outcome, door, peer, now)
        elif outcome is not None:
            door.reply(peer, outcome)

    def taken(self, octets: bytes, *, door: FakeDoor | None = None) -> bytes:
        """The response to a query that gets one without anybody being asked."""
        door = door or self.udp
        asked = len(self.upstream.asked)
        self.take(octets, octets, door=door)
        assert len(self.upstream.asked) == asked
        peer, message = door.replies.pop()
        assert peer == octets
        return message

    def recalled(self, octets: bytes) -> bytes | None:
        """What the exact cache answers, which a door asks first."""
        self.memory.exact.begin(self.turn.begin())
        known = self.memory.exact.recall(octets[2:])
        return octets[:2] + known[0] if known else None

    def remember(self, octets: bytes, behaviour: Behaviour = ONE) -> None:
        """Have the answer in memory, as after a query by TCP."""
        self.take(octets, door=self.tcp)
        self.upstream.settle(behaviour)
        self.tcp.replies.clear()

    def pin(self, *names: bytes) -> None:
        """Pin these names (lower-cased wire form) to PINNED_ADDRESS."""
        self.memory.pinned.replace((name, 1, 30, [bytes(map(int, PINNED_ADDRESS.split(".")))]) for name in names)


def counted(counts: memoryview) -> dict[tuple[str, str, str, str], int]:
    """Responses by (transport, type, source, RCODE) over both address families, those that are not zero."""
    found: dict[tuple[str, str, str, str], int] = {}
    for door, (transport, _) in enumerate(counters.DOORS):
        for at, number in enumerate(counts[door * counters.PER_DOOR : (door + 1) * counters.PER_DOOR].tolist()):
            if number:
                qtype, rest = divmod(at, counters.PER_TYPE)
                source, rcode = divmod(rest, counters.PER_SOURCE)
                key = (transport, counters.TYPES[qtype], counters.SOURCES[source], counters.RCODES[rcode])
                found[key] = found.get(key, 0) + number
    return found


def observed(counts: memoryview, source: str) -> tuple[list[float], int]:
    """The bucket of each response of this source, by its upper bound in seconds, and the sum of all in microseconds."""
    first = counters.HISTOGRAMS_AT + counters.SOURCES.index(source) * counters.PER_HISTOGRAM
    *slots, total = counts[first : first + counters.PER_HISTOGRAM].tolist()
    bounds = (*counters.SECONDS_BUCKETS, float("inf"))
    return [bound for bound, times in zip(bounds, slots, strict=True) for _ in range(times)], total


def octets_of(name: str, qtype: str = "A", *, identity: int = 1, rd: bool = True, payload: int | None = None) -> bytes:
    """A query as octets; with an OPT record without options when a payload size is given."""
    message = query(name, qtype, payload=payload)
    message.id = identity
    message.flags = dns.flags.RD if rd else dns.flags.Flag(0)
    return message.to_wire()


def read(message: bytes, octets: bytes) -> dns.message.Message:
    """The response, which is this query's: ID, question as spelled, RD as sent, RA=1, AA=0, OPT if and only if it had one."""
    response, asked = dns.message.from_wire(message), dns.message.from_wire(octets)
    assert response.id == asked.id
    question = octets[12 : octets.index(0, 12) + 5]
    assert message[12 : 12 + len(question)] == question
    assert response.flags & (dns.flags.QR | dns.flags.RA) == dns.flags.QR | dns.flags.RA
    assert not response.flags & dns.flags.AA
    assert response.flags & dns.flags.RD == asked.flags & dns.flags.RD
    assert (response.edns >= 0) == (asked.edns >= 0)
    return response


def failure(message: bytes, octets: bytes) -> tuple[int, str]:
    """The extended error of a SERVFAIL that answers this query."""
    response = read(message, octets)
    assert response.rcode() == dns.rcode.SERVFAIL
    assert not response.answer + response.authority
    (error,) = extended_errors(response)
    return error
