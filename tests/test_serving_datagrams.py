"""Batches of datagrams on real sockets.

Each response goes back to whom its query came from, from the address that was asked, and none holds up others.
"""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.serving.datagrams import BATCH, Datagrams
from forwarder.sockets import bind_doors
from tests.lab.clients import HANG
from tests.lab.needs import needs_address
from tests.lab.ports import free_port

SIZE = 1232
HOSTS = ["127.0.0.1", "::1"]
NO_PORT = b"\0\0"


@contextmanager
def bound(host: str, *, size: int = SIZE) -> Iterator[tuple[socket.socket, Datagrams]]:
    """A UDP socket as the supervisor binds it, and its datagrams."""
    needs_address("::1" if ":" in host else host)
    port = free_port()
    with closing(bind_doors([f"[{host}]:{port}" if ":" in host else f"{host}:{port}"], 1 << 20)) as doors:
        ((endpoint,),) = doors.udp
        yield endpoint, Datagrams(endpoint, size, with_control=host in {"0.0.0.0", "::"})


def client(endpoint: socket.socket, *, host: str | None = None) -> socket.socket:
    """A socket connected to the endpoint (by this address of it), which hears nobody else."""
    made = socket.socket(endpoint.family, socket.SOCK_DGRAM)
    made.settimeout(HANG)
    made.connect((host or endpoint.getsockname()[0], endpoint.getsockname()[1]))
    return made


def heard(one: socket.socket) -> bytes:
    """The next datagram of a client's."""
    return one.recv(65535)


def hears_nothing(one: socket.socket) -> bool:
    """Whether nothing waits; for after something sent later has arrived."""
    return not select.select([one], [], [], 0)[0]


def received(endpoint: socket.socket, batch: Datagrams) -> list[int]:
    """A batch, as soon as something waits."""
    assert select.select([endpoint], [], [], HANG)[0]
    return batch.receive()


def octets_at(batch: Datagrams, place: int, size: int) -> bytes:
    return batch.octets[place * batch.stride : place * batch.stride + size]


def gathered(endpoint: socket.socket, batch: Datagrams, count: int) -> list[tuple[tuple[bytes, bytes], bytes]]:
    """Whom so many datagrams came from, and what was in them, over as many batches as they come in."""
    found: list[tuple[tuple[bytes, bytes], bytes]] = []
    while len(found) < count:
        sizes = received(endpoint, batch)
        assert 0 < len(sizes) <= BATCH
        found += [(batch.peer(place), octets_at(batch, place, size)) for place, size in enumerate(sizes)]
        batch.reset(len(sizes))
    return found


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_waits_and_nothing_is_received(host: str) -> None:
    with bound(host) as (_, batch):
        assert batch.receive() == []


@pytest.mark.parametrize("host", HOSTS)
def test_each_datagram_goes_back_to_whom_it_came_from(host: str) -> None:
    with bound(host) as (endpoint, batch), ExitStack() as stack:
        clients = [stack.enter_context(client(endpoint)) for _ in range(5)]
        for number, one in enumerate(clients):
            one.send(b"%d" % number * (number + 1))
        found = gathered(endpoint, batch, 5)
        assert {octets for _, octets in found} == {b"0", b"11", b"222", b"3333", b"44444"}
        batch.put([(peer, b"to " + octets) for peer, octets in found])
        batch.send(0, 5)
        assert [heard(one) for one in clients] == [b"to 0", b"to 11", b"to 222", b"to 3333", b"to 44444"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_response_written_over_its_query_goes_back_in_place(host: str) -> None:
    with bound(host) as (endpoint, batch), client(endpoint) as one:
        for text, reply in ((b"long enough", b"short"), (b"s", b"x" * SIZE), (b"y" * SIZE, b"z")):
            one.send(text)
            assert received(endpoint, batch) == [len(text)]
            batch.octets[: len(reply)] = reply
            batch.sizes[0] = len(reply)
            batch.send(0, 1)
            batch.reset(1)
            assert heard(one) == reply


@pytest.mark.parametrize("host", HOSTS)
def test_address_and_port_are_the_octets_of_the_client(host: str) -> None:
    with bound(host) as (endpoint, batch), client(endpoint) as one:
        one.send(b"?")
        (((address, control), _),) = gathered(endpoint, batch, 1)
        assert address[2:4] == one.getsockname()[1].to_bytes(2)
        assert socket.inet_pton(endpoint.family, host) in address
        assert control == b""


def test_more_than_a_batch_is_taken_batch_by_batch_whole_and_in_order() -> None:
    with bound("127.0.0.1") as (endpoint, batch), client(endpoint) as one:
        sent = [number.to_bytes(2) * (SIZE // 2 - number) for number in range(2 * BATCH + 7)]
        for octets in sent:
            one.send(octets)
        assert [octets for _, octets in gathered(endpoint, batch, len(sent))] == sent
        assert batch.receive() == []


def test_what_is_longer_than_the_room_is_cut_and_touches_no_neighbour() -> None:
    with bound("127.0.0.1", size=512) as (endpoint, batch), client(endpoint) as one:
        for octet in b"abc":
            one.send(bytes((octet,)) * 2000)
        assert [octets for _, octets in gathered(endpoint, batch, 3)] == [b"a" * 512, b"b" * 512, b"c" * 512]


@pytest.mark.parametrize("size", [512, 1232, 2048, 4096])
def test_every_place_holds_a_datagram_of_full_size(size: int) -> None:
    with bound("127.0.0.1", size=size) as (endpoint, batch), client(endpoint) as one:
        one.send(b"?")
        ((peer, _),) = gathered(endpoint, batch, 1)
        batch.put([(peer, bytes((place,)) * size) for place in range(BATCH)])
        for first in range(0, BATCH, 8):  # no more at once than the client's receive buffer holds
            batch.send(first, 8)
            assert [heard(one) for _ in range(8)] == [bytes((place,)) * size for place in range(first, first + 8)]


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.data())
def test_what_cannot_be_sent_is_left_out_and_all_behind_it_is_sent(sendable: list[bool], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(sendable) - 1))
    count = data.draw(st.integers(0, len(sendable) - first))
    with bound("127.0.0.1") as (endpoint, batch), client(endpoint) as one:
        one.send(b"?")
        (((address, _), _),) = gathered(endpoint, batch, 1)
        nowhere = address[:2] + NO_PORT + address[4:]
        batch.put([((address if is_sendable else nowhere, b""), b"%d" % place) for place, is_sendable in enumerate(sendable)])
        batch.send(first, count)
        expected = [b"%d" % place for place in range(first, first + count) if sendable[place]]
        assert [heard(one) for _ in expected] == expected
        batch.put([((address, b""), b"end")])
        batch.send(0, 1)
        assert heard(one) == b"end", "and nothing twice, and nothing before or behind the run"


@pytest.mark.parametrize("host", HOSTS)
def test_port_0_and_an_address_that_is_not_permitted_in_the_middle(host: str) -> None:
    with bound(host) as (endpoint, batch), client(endpoint) as one:
        one.send(b"?")
        ((peer, _),) = gathered(endpoint, batch, 1)
        no_port = peer[0][:2] + NO_PORT + peer[0][4:]
        broadcast = peer[0][:4] + b"\xff\xff\xff\xff" + peer[0][8:] if ":" not in host else no_port
        run = (peer[0], no_port, peer[0], broadcast, no_port, peer[0])
        batch.put([((address, b""), b"%d" % place) for place, address in enumerate(run)])
        batch.send(0, 6)
        assert [heard(one) for _ in range(3)] == [b"0", b"2", b"5"]
        assert hears_nothing(one)


@pytest.mark.parametrize(
    ("wildcard", "asked"), [("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "127.0.0.5"), ("0.0.0.0", "127.9.8.7"), ("::", "::1")]
)
def test_a_wildcard_socket_replies_from_the_address_that_was_asked(wildcard: str, asked: str) -> None:
    with bound(wildcard) as (endpoint, batch), client(endpoint, host=asked) as one:
        peers = []
        for text in (b"in place", b"and again"):
            one.send(text)
            assert received(endpoint, batch) == [len(text)]
            batch.forget_interfaces(1)
            peers.append(batch.peer(0))
            batch.sizes[0] = len(text)
            batch.send(0, 1)
            batch.reset(1)
            assert heard(one) == text
        batch.put([(peer, b"later") for peer in peers])
        batch.send(1, 1)
        assert heard(one) == b"later"


def test_clients_of_several_addresses_in_one_batch_each_hear_the_one_they_asked() -> None:
    with bound("0.0.0.0") as (endpoint, batch), ExitStack() as stack:
        hosts = [f"127.0.0.{number}" for number in range(1, 21)]
        clients = [stack.enter_context(client(endpoint, host=host)) for host in hosts]
        for host, one in zip(hosts, clients, strict=True):
            one.send(host.encode())
        found = gathered(endpoint, batch, len(hosts))
        batch.put(found[::-1])
        batch.send(0, len(found))
        assert [heard(one).decode() for one in clients] == hosts


def test_routing_chooses_the_interface_of_a_response_and_not_the_one_it_came_by() -> None:
    with bound("0.0.0.0") as (endpoint, batch), client(endpoint, host="127.0.0.5") as one:
        one.send(b"?")
        assert received(endpoint, batch) == [1]
        _, before = batch.peer(0)
        batch.forget_interfaces(1)
        _, after = batch.peer(0)
        loopback = socket.if_nametoindex("lo").to_bytes(4, "little")
        assert before.count(loopback + socket.inet_aton("127.0.0.5")) == 1
        assert after == before.replace(loopback + socket.inet_aton("127.0.0.5"), bytes(4) + socket.inet_aton("127.0.0.5"))


def test_what_was_written_over_a_datagram_is_told_and_nothing_of_others() -> None:
    with bound("127.0.0.1") as (endpoint, datagrams):
        senders = [client(endpoint) for _ in range(3)]
        for sender in senders:
            sender.send(b"query")
        assert datagrams.receive() == [5, 5, 5]
        datagrams.octets[datagrams.stride : datagrams.stride + 8] = b"response"
        datagrams.sizes[1] = 8
        assert [datagrams.written_over(place, 4) for place in range(3)] == [b"", b"resp", b""]
        assert datagrams.written_over(1, 99) == b"response"
        datagrams.reset(3)
        assert datagrams.written_over(1, 99) == b""
        for sender in senders:
            sender.close()
