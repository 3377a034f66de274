"""Sockets steered by the kernel: queries arrive where `worker_for` says, and Linux treats a group as `steer` tells."""

import contextlib
import errno
import os
import random
import select
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from forwarder.sockets import steer
from forwarder.steering import program_for, worker_for
from forwarder.wire.names import name_from_text
from tests.lab.namespaces import Network
from tests.lab.needs import needs_address, needs_namespaces, needs_root
from tests.lab.node_names import names as names_of_a_node

WORKERS = 4
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
NOBODY = 65534
AT_ONCE = 50
"""Datagrams under way together: all of them fit into the queue of one socket."""

Group = list[socket.socket]


def member(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    needs_address(request.param)
    return str(request.param)


@pytest.fixture
def group(host: str) -> Iterator[Group]:
    """In the order in which they were bound."""
    members = [member(host, 0)]
    members += [member(host, members[0].getsockname()[1]) for _ in range(WORKERS - 1)]
    yield members
    for one in members:
        one.close()


@pytest.fixture
def clients(host: str) -> Iterator[Group]:
    """Sockets with a port each."""
    with contextlib.ExitStack() as opened:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        yield [opened.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(64)]


def arrivals(members: Sequence[socket.socket], clients: Group, payloads: Sequence[bytes]) -> list[int]:
    """Send each payload, from one client after another: which member each came to. The payloads begin with different IDs."""
    waiting = [one for one in members if one.fileno() >= 0]
    address = waiting[0].getsockname()
    came: dict[bytes, int] = {}
    for start in range(0, len(payloads), AT_ONCE):
        batch = payloads[start : start + AT_ONCE]
        for number, payload in enumerate(batch, start):
            clients[number % len(clients)].sendto(payload, address)
        while len(came) < start + len(batch):
            readable, _, _ = select.select(waiting, [], [], 10)
            assert readable, "a datagram was lost"
            for one in readable:
                came[one.recv(2)] = members.index(one)
    return [came[payload[:2]] for payload in payloads]


def numbered(bodies: Iterable[bytes]) -> list[bytes]:
    """Queries, or whatever follows a message ID, with an ID each."""
    return [number.to_bytes(2, "big") + body for number, body in enumerate(bodies)]


def plain_query(name: bytes) -> bytes:
    """A, behind the ID."""
    return struct.pack("!5H", 0x0120, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1)


def ways_to_ask(name: bytes, dice: random.Random) -> Iterator[bytes]:
    """A and AAAA, without and with OPT, in the case of the moment; behind the ID."""
    for qtype in (1, 28):
        for opt in (b"", OPT):
            spelled = bytes(octet & ~0x20 if 0x61 <= octet <= 0x7A and dice.random() < 0.5 else octet for octet in name)
            yield struct.pack("!5H", 0x0120, 1, 0, 0, bool(opt)) + spelled + struct.pack("!HH", qtype, 1) + opt


def returning(index: int) -> bytes:
    """A program that returns this, whatever comes (BPF_RET | BPF_K)."""
    return struct.pack("HBBI", 0x06, 0, 0, index)


def test_each_name_arrives_at_its_worker_however_it_is_asked(group: Group, clients: Group) -> None:
    longest = [b"\1a" * 127 + b"\0", (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0", b"\0"]
    names = [*longest, *(name_from_text(text) for text in names_of_a_node(1_500))]
    dice = random.Random(5)  # noqa: S311 - spells names in a test, the same ones in every run
    bodies = [(name, body) for name in names for body in ways_to_ask(name, dice)]
    steer(group[0], program_for(WORKERS))
    came = arrivals(group, clients, numbered(body for _, body in bodies))
    assert came == [worker_for(name, WORKERS) for name, _ in bodies]
    assert set(came) == set(range(WORKERS))


def test_what_is_cut_short_arrives_too(group: Group, clients: Group) -> None:
    steer(group[0], program_for(WORKERS))
    bodies = [plain_query(name_from_text(text))[:size] for text in ("a", "www.example.com") for size in range(40)]
    came = arrivals(group, clients, numbered(bodies))
    assert set(came) <= set(range(WORKERS))


def test_index_is_the_order_of_binding_and_any_member_takes_the_program(group: Group, clients: Group) -> None:
    for index in range(WORKERS):
        steer(group[-1 - index], returning(index))
        assert set(arrivals(group, clients, numbered([b""] * 8))) == {index}


def test_a_later_program_takes_the_place_of_the_former(group: Group, clients: Group) -> None:
    names = [name_from_text(f"name{number}") for number in range(100)]
    queries = numbered(plain_query(name) for name in names)
    for workers in (4, 2, 3):
        steer(group[0], program_for(workers))
        assert arrivals(group, clients, queries) == [worker_for(name, workers) for name in names]


def test_the_last_one_takes_the_index_of_one_that_is_closed(group: Group, clients: Group) -> None:
    held = group[1].dup()
    group[1].close()
    steer(group[0], returning(1))
    assert set(arrivals([group[0], held, group[2], group[3]], clients, numbered([b""] * 8))) == {1}  # somebody holds it yet
    held.close()
    for index, came_to in ((0, 0), (1, 3), (2, 2)):
        steer(group[0], returning(index))
        assert set(arrivals(group, clients, numbered([b""] * 8))) == {came_to}


def test_one_bound_later_has_the_last_index_and_the_program_of_the_others(group: Group, clients: Group, host: str) -> None:
    steer(group[0], returning(WORKERS))
    with member(host, group[0].getsockname()[1]) as late:
        assert set(arrivals([*group, late], clients, numbered([b""] * 8))) == {WORKERS}


def test_an_index_that_no_socket_has_leaves_it_to_addresses_and_ports(group: Group, clients: Group) -> None:
    """64 clients at one of four sockets would be an accident of 1 in 4**63."""
    steer(group[0], returning(WORKERS))
    came = arrivals(group, clients, numbered([b""] * 256))
    assert len(set(came)) > 1
    by_client = [set(came[number :: len(clients)]) for number in range(len(clients))]
    assert [len(indices) for indices in by_client] == [1] * len(clients)


def test_without_reuseport_it_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alone:
        alone.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            steer(alone, program_for(2))


def test_what_is_no_program_is_refused(group: Group) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        steer(group[0], struct.pack("HBBI", 0x05, 0, 0, 7))


def test_nobody_in_particular_may_steer_its_own_sockets(host: str, clients: Group) -> None:
    needs_root()
    os.seteuid(NOBODY)
    try:
        members = [member(host, 0)]
        members.append(member(host, members[0].getsockname()[1]))
        steer(members[0], returning(1))
    finally:
        os.seteuid(0)
    came = arrivals(members, clients, numbered([b""] * 8))
    for one in members:
        one.close()
    assert set(came) == {1}


def test_16_kib_of_the_kernel_are_enough() -> None:
    """Before Linux 6.8 the limit is one for the whole machine, 20 KiB unless somebody raised it, and stays as it is here."""
    needs_namespaces()
    with Network() as network, network.namespace("optmem").inside():
        limit = Path("/proc/sys/net/core/optmem_max")
        with member("127.0.0.1", 0) as bound:
            if limit.exists():
                limit.write_text("8192")
                with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
                    steer(bound, program_for(64))
                limit.write_text("16384")
            steer(bound, program_for(64))
