"""The door for datagrams, with real sockets on both sides: each client hears its own answer and nobody else's, or nothing."""

import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.config import NETWORKS
from forwarder.observe import counters
from forwarder.serving.allow import AllowedClients
from forwarder.serving.noting import Wanted
from forwarder.serving.udp import MANY, TIMED_EVERY, UdpDoor
from forwarder.sockets import bind_doors
from tests.lab.behaviours import addresses, answer, nxdomain
from tests.lab.clients import HANG, extended_errors, rdatas
from tests.lab.kitchen import MAX_UDP_SIZE, PINNED_ADDRESS, Kitchen, counted, observed, octets_of, read
from tests.lab.needs import needs_address, needs_root
from tests.lab.ports import free_port

HOSTS = ["127.0.0.1", "::1"]
EVERYBODY = NETWORKS["any"]


class Bench:
    """A door, what is behind it, and clients in front."""

    def __init__(self, endpoint: socket.socket, allow: Sequence[str], clients: ExitStack, wanted: Wanted | None) -> None:
        self.kitchen = Kitchen(wanted=wanted)
        self.endpoint = endpoint
        self.family = "ipv6" if endpoint.family == socket.AF_INET6 else "ipv4"
        self._allow = allow
        self._clients = clients
        self.renew()

    def renew(self) -> None:
        """Another door on the same socket."""
        row, kitchen = counters.door_row("udp", self.family), self.kitchen
        self.door = UdpDoor(self.endpoint, kitchen.answering, AllowedClients(self._allow), kitchen.turn, row, MAX_UDP_SIZE)

    def client(self, *, host: str | None = None, source: str | None = None) -> socket.socket:
        """A socket connected to the door (by this address of it, from that address), which hears nobody else."""
        made = self._clients.enter_context(socket.socket(self.endpoint.family, socket.SOCK_DGRAM))
        made.settimeout(HANG)
        if source is not None:
            made.bind((source, 0))
        made.connect((host or self.endpoint.getsockname()[0], self.endpoint.getsockname()[1]))
        return made

    def call(self) -> None:
        """What the loop does when something waits: one call."""
        assert select.select([self.endpoint], [], [], HANG)[0]
        self.door.on_readable()

    def heard(self, *clients: socket.socket) -> list[bytes]:
        """The next datagram of each client, the door called for as long as something waits."""
        found: dict[socket.socket, bytes] = {}
        while len(found) < len(clients):
            ready, _, _ = select.select([self.endpoint, *(one for one in clients if one not in found)], [], [], HANG)
            assert ready, "nothing came"
            for one in ready:
                if one is self.endpoint:
                    self.door.on_readable()
                else:
                    found[one] = one.recv(65535)
        return [found[one] for one in clients]

    def settle(self) -> None:
        """The upstream answers what it was asked, and the turn ends."""
        self.kitchen.turn.begin()
        self.kitchen.upstream.settle()
        self.kitchen.turn.end()


def hears_nothing(one: socket.socket) -> bool:
    """Whether nothing waits; for after something sent later was heard."""
    return not select.select([one], [], [], 0)[0]


@contextmanager
def bench(
    host: str = "127.0.0.1", *, allow: Sequence[str] = EVERYBODY, wanted: Wanted | None = None
) -> Iterator[Bench]:  # fmt: skip
    needs_address("::1" if ":" in host else host)
    port = free_port()
    with (
        closing(bind_doors([f"[{host}]:{port}" if ":" in host else f"{host}:{port}"], 1 << 20)) as doors,
        ExitStack() as clients,
    ):
        yield Bench(doors.udp[0][0], allow, clients, wanted)


def in_exact(kitchen: Kitchen, *queries: bytes) -> None:
    """Have these queries answered by the exact cache, for the round that begins now."""
    for octets in queries:
        kitchen.remember(octets)
        kitchen.taken(octets)
        assert kitchen.recalled(octets) is not None
    kitchen.counts[:] = counters.private()


@pytest.mark.parametrize("host", HOSTS)
def test_a_hit_is_answered_in_the_call_that_received_it(host: str) -> None:
    with bench(host) as at:
        octets = octets_of("Some.test.", identity=0xABCD)
        in_exact(at.kitchen, octets_of("Some.test."))
        client = at.client()
        client.send(octets)
        at.call()
        assert rdatas(read(client.recv(65535), octets)) == ["192.0.2.1"]
        assert counted(at.kitchen.counts) == {("udp", "A", "exact", "NOERROR"): 1}
        slot = counters.door_row("udp", at.family) + counters.kind_for(1, counters.EXACT, 0)
        assert at.kitchen.counts[slot] == 1
        assert observed(at.kitchen.counts, "exact") == ([10e-6], 0)


@pytest.mark.parametrize("host", HOSTS)
def test_a_miss_is_answered_when_the_upstream_has_and_then_from_memory(host: str) -> None:
    with bench(host) as at:
        for source in ("upstream", "answers", "exact", "exact"):
            client, octets = at.client(), octets_of("a.test.", identity=7)
            client.send(octets)
            if source == "upstream":
                at.call()
                assert hears_nothing(client)
                at.settle()
            assert rdatas(read(at.heard(client)[0], octets)) == ["192.0.2.1"]
        assert [source for _, _, source, _ in counted(at.kitchen.counts)] == ["exact", "answers", "upstream"]
        assert len(at.kitchen.upstream.asked) == 1


KINDS = {
    "hit": "h.test.",
    "other hit": "hh.test.",
    "known": "k.test.",
    "pinned": "p.test.",
    "refused": "r.test.",
    "miss": "m.test.",
    "silent": "s.test.",
}
EXPECTED = {"refused": [], "pinned": [PINNED_ADDRESS]}


@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2 * 64 + 5), host=st.sampled_from(HOSTS))
def test_any_mix_in_any_order_gives_each_client_its_own_answer(kinds: list[str], host: str) -> None:
    with bench(host) as at:
        in_exact(at.kitchen, octets_of(KINDS["hit"]), octets_of(KINDS["other hit"]))
        at.kitchen.remember(octets_of(KINDS["known"], payload=512))
        at.kitchen.pin(b"\1p\4test\0")
        at.kitchen.counts[:] = counters.private()
        clients = [at.client() for _ in kinds]
        sent = [
            octets_of(KINDS[kind], "AXFR" if kind == "refused" else "A", identity=500 + at) for at, kind in enumerate(kinds)
        ]
        for client, octets, kind in zip(clients, sent, kinds, strict=True):
            client.send(octets[:2] + b"\x81" + octets[3:] if kind == "silent" else octets)
        waiting = at.client()
        last = octets_of(KINDS["hit"])
        waiting.send(last)
        assert rdatas(read(at.heard(waiting)[0], last)) == ["192.0.2.1"]
        at.settle()
        talking = [number for number, kind in enumerate(kinds) if kind != "silent"]
        for number, message in zip(talking, at.heard(*(clients[number] for number in talking)), strict=True):
            response = read(message, sent[number])
            assert rdatas(response) == EXPECTED.get(kinds[number], ["192.0.2.1"])
        assert all(hears_nothing(client) for client in clients), "one response each, and none to what is no query"
        assert sum(counted(at.kitchen.counts).values()) == len(talking) + 1
        assert len([1 for question, _ in at.kitchen.upstream.asked if question.name.startswith(b"\1m")]) == ("miss" in kinds)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("host", HOSTS)
def test_a_client_outside_allow_hears_nothing_and_is_counted(host: str, *, is_known: bool) -> None:
    with bench(host, allow=["192.0.2.0/24", "2001:db8::/32"]) as at:
        octets = octets_of("a.test.")
        if is_known:
            in_exact(at.kitchen, octets)
        client = at.client()
        for _ in range(3):
            client.send(octets)
        while at.kitchen.counts[counters.REFUSED_CLIENTS] < 3:
            at.call()
        assert hears_nothing(client)
        assert not at.kitchen.upstream.waiting
        assert counted(at.kitchen.counts) == {}


@pytest.mark.parametrize("is_known", [True, False])
def test_clients_inside_and_outside_allow_in_one_batch(*, is_known: bool) -> None:
    with bench(allow=["127.0.0.8/31"]) as at:
        octets = octets_of("a.test.")
        if is_known:
            in_exact(at.kitchen, octets)
        sources = ["127.0.0.1", "127.0.0.9", "127.0.0.10", "127.0.0.8", "127.0.0.7", "127.0.0.9"]
        clients = [at.client(source=source) for source in sources]
        for client in clients:
            client.send(octets)
        while at.kitchen.counts[counters.REFUSED_CLIENTS] < 3 or sum(counted(at.kitchen.counts).values()) < 3:
            at.call()
            at.settle()
        inside = [client for client, source in zip(clients, sources, strict=True) if source in {"127.0.0.8", "127.0.0.9"}]
        for message in at.heard(*inside):
            assert rdatas(read(message, octets)) == ["192.0.2.1"]
        assert all(hears_nothing(client) for client in clients)
        assert at.kitchen.counts[counters.REFUSED_CLIENTS] == 3


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\1",
        b"\1\2\1\0\0\1\0\0\0\0\0",
        octets_of("a.test.")[:2] + b"\x81\x80" + octets_of("a.test.")[4:],
        octets_of("a.test.")[:2] + b"\xa8\x00" + octets_of("a.test.")[4:],
    ],
)
def test_what_is_no_query_gets_nothing_and_is_counted(octets: bytes) -> None:
    with bench() as at:
        in_exact(at.kitchen, octets_of("a.test."))
        silent, talking = at.client(), at.client()
        silent.send(octets)
        talking.send(octets_of("a.test."))
        at.heard(talking)
        assert hears_nothing(silent)
        assert at.kitchen.counts[counters.MALFORMED_QUERIES] == 1
        assert sum(counted(at.kitchen.counts).values()) == 1


def from_port_0(octets: bytes, port: int) -> None:
    """Send a datagram from port 0 of 127.0.0.1, which no ordinary socket does."""
    needs_root()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        header = b"".join(value.to_bytes(2) for value in (0, port, 8 + len(octets), 0))
        raw.sendto(header + octets, ("127.0.0.1", 0))


@pytest.mark.parametrize("is_known", [True, False])
def test_port_0_gets_nothing_and_those_behind_it_their_answers(*, is_known: bool) -> None:
    with bench() as at:
        in_exact(at.kitchen, octets_of("a.test."))
        clients = [at.client() for _ in range(3)]
        clients[0].send(octets_of("a.test."))
        from_port_0(octets_of("a.test." if is_known else "b.test."), at.endpoint.getsockname()[1])
        for client in clients[1:]:
            client.send(octets_of("a.test."))
        for message in at.heard(*clients):
            assert rdatas(read(message, octets_of("a.test."))) == ["192.0.2.1"]
        assert b"\1b\4test\0" not in [question.name for question, _ in at.kitchen.upstream.asked]


@pytest.mark.parametrize(("payload", "limit"), [(None, 512), (600, 600), (4096, MAX_UDP_SIZE)])
def test_no_datagram_is_larger_than_client_and_we_take(payload: int | None, limit: int) -> None:
    with bench() as at:
        octets = octets_of("many.test.", payload=payload)
        at.kitchen.remember(octets, answer(*addresses(100)))
        client = at.client()
        for _ in range(3):
            client.send(octets)
            (message,) = at.heard(client)
            assert limit - 16 < len(message) <= limit, "as many whole records as fit"
            assert read(message, octets).flags & dns.flags.TC


@pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "127.0.0.5"), ("::", "::1")])
def test_a_wildcard_door_answers_from_the_address_that_was_asked(wildcard: str, asked: str) -> None:
    with bench(wildcard) as at:
        client, octets = at.client(host=asked), octets_of("a.test.")
        client.send(octets)
        at.call()
        at.settle()
        for source in ("upstream", "answers", "exact"):
            assert rdatas(read(at.heard(client)[0], octets)) == ["192.0.2.1"], source
            client.send(octets)
        at.heard(client)
        assert counted(at.kitchen.counts)["udp", "A", "exact", "NOERROR"] == 2


def test_a_wildcard_door_keeps_clients_of_two_addresses_apart_while_they_wait() -> None:
    with bench("0.0.0.0") as at:
        clients = [at.client(host=f"127.0.0.{number}") for number in (1, 5, 6)]
        for number, client in enumerate(clients):
            client.send(octets_of("a.test.", identity=number))
        while at.kitchen.coalescing.take_coalesced() == 0 or len(at.kitchen.upstream.asked) == 0:
            at.call()
        at.settle()
        for number, message in enumerate(at.heard(*clients)):
            assert rdatas(read(message, octets_of("a.test.", identity=number))) == ["192.0.2.1"]


def test_more_answers_in_one_turn_than_a_batch_are_all_sent() -> None:
    with bench() as at:
        clients = [at.client() for _ in range(150)]
        for number, client in enumerate(clients):
            client.send(octets_of(f"n{number % 10}.test.", identity=number))
        while len(at.kitchen.coalescing) < 10 or at.kitchen.counts[counters.COALESCED] < 140:
            at.kitchen.counts[counters.COALESCED] += at.kitchen.coalescing.take_coalesced()
            if at.kitchen.counts[counters.COALESCED] < 140:
                at.call()
        at.settle()
        for number, message in enumerate(at.heard(*clients)):
            assert rdatas(read(message, octets_of(f"n{number % 10}.test.", identity=number))) == ["192.0.2.1"]
        assert all(hears_nothing(client) for client in clients)


def test_a_late_answer_is_not_sent() -> None:
    with bench() as at:
        late, talking = at.client(), at.client()
        late.send(octets_of("a.test."))
        at.call()
        at.kitchen.pass_time(2.0)
        at.settle()
        talking.send(octets_of("a.test."))
        at.heard(talking)
        assert hears_nothing(late)
        assert at.kitchen.counts[counters.DEADLINE_MISSED] == 1


def test_a_query_longer_than_our_room_is_a_format_error_and_hurts_nobody() -> None:
    with bench() as at:
        in_exact(at.kitchen, octets_of("a.test."))
        large, client = at.client(), at.client()
        large.send(octets_of("a.test.") + b"\0" * 3000)
        client.send(octets_of("a.test."))
        first, second = at.heard(large, client)
        assert dns.message.from_wire(first).rcode() == dns.rcode.FORMERR
        assert rdatas(read(second, octets_of("a.test."))) == ["192.0.2.1"]


def test_a_negative_answer_from_exact_counts_by_its_rcode() -> None:
    with bench() as at:
        octets = octets_of("no.test.", "AAAA", payload=1232)
        at.kitchen.remember(octets, nxdomain("test."))
        at.kitchen.taken(octets)
        client = at.client()
        client.send(octets)
        response = read(at.heard(client)[0], octets)
        assert (response.rcode(), extended_errors(response)) == (dns.rcode.NXDOMAIN, [])
        assert counted(at.kitchen.counts)["udp", "AAAA", "exact", "NXDOMAIN"] == 1


def test_a_hit_of_an_answer_about_to_end_has_the_next_one_asked_for() -> None:
    with bench() as at:
        octets = octets_of("a.test.")
        at.kitchen.remember(octets)
        at.kitchen.pass_time(53.5)
        at.kitchen.taken(octets)
        client = at.client()
        for _ in range(3):
            at.kitchen.pass_time(1.0)
            client.send(octets)
            at.call()
            assert rdatas(read(client.recv(65535), octets)) == ["192.0.2.1"]
        assert counted(at.kitchen.counts)["udp", "A", "exact", "NOERROR"] == 3
        assert at.kitchen.counts[counters.PREFETCHES] == len(at.kitchen.upstream.waiting) == 1
        assert at.kitchen.memory.exact.ending == []


def test_of_batches_that_follow_each_other_every_hit_has_its_time_and_few_are_measured() -> None:
    with bench() as at:
        readings = iter(range(10_000))
        at.kitchen.turn.clock = lambda: at.kitchen.now + next(readings) * 1e-3
        at.kitchen.answering.clock = at.kitchen.turn.clock
        at.renew()
        octets = octets_of("a.test.")
        in_exact(at.kitchen, octets)
        client = at.client()
        for batch in (1, *(MANY,) * (TIMED_EVERY + 1), 1):
            for _ in range(batch):
                client.send(octets)
            at.call()
        buckets, _ = observed(at.kitchen.counts, "exact")
        assert len(buckets) == 2 + MANY * (TIMED_EVERY + 1)
        before = next(readings)
        for _ in range(TIMED_EVERY):
            for _ in range(MANY):
                client.send(octets)
            at.call()
        assert next(readings) - before - 1 == TIMED_EVERY + 1, "each begins with a look at the clock, and one ends with one"
