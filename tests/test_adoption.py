"""Sockets that were passed: told apart by what they are and where, each taken once."""

import os
import socket
from pathlib import Path

import pytest

from forwarder import adoption
from tests.lab.needs import needs_address
from tests.lab.ports import free_port


def bound(kind: socket.SocketKind, host: str, port: int) -> int:
    """The descriptor of a socket bound there."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((host, port))
    return made.detach()


def test_each_kind_at_its_address() -> None:
    port = free_port()
    descriptors = [bound(kind, "127.0.0.1", port) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    offered = adoption.Offered(descriptors)
    assert offered.take_udp(f"127.0.0.2:{port}", 1) == []
    assert offered.take_tcp(f"127.0.0.1:{port + 1}") is None
    (udp,) = offered.take_udp(f"127.0.0.1:{port}", 9)
    tcp = offered.take_tcp(f"127.0.0.1:{port}")
    assert tcp is not None
    assert (tcp.fileno(), udp.fileno()) == tuple(descriptors)
    assert offered.take_udp(f"127.0.0.1:{port}", 1) == []
    assert offered.close() == {}
    assert os.fstat(udp.fileno())  # taken: not ours to close
    udp.close()
    tcp.close()


def test_as_many_as_are_wanted_in_the_order_in_which_they_came() -> None:
    port = free_port()
    descriptors = [bound(socket.SOCK_DGRAM, "127.0.0.1", port) for _ in range(3)]
    offered = adoption.Offered(descriptors)
    taken = offered.take_udp(f"127.0.0.1:{port}", 2)
    assert [one.fileno() for one in taken] == descriptors[:2]
    assert offered.close() == {descriptors[2]: f"127.0.0.1:{port} UDP"}
    for one in taken:
        one.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[2])


def test_two_descriptors_of_one_socket_are_one() -> None:
    port = free_port()
    first = bound(socket.SOCK_DGRAM, "127.0.0.1", port)
    second = os.dup(first)
    offered = adoption.Offered([first, second])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second)
    (taken,) = offered.take_udp(f"127.0.0.1:{port}", 2)
    assert offered.close() == {}
    taken.close()


def test_addresses_are_compared_not_their_spelling() -> None:
    needs_address("::1")
    port = free_port()
    offered = adoption.Offered([bound(socket.SOCK_STREAM, "::1", port)])
    taken = offered.take_tcp(f"[0:0:0:0:0:0:0:1]:{port}")
    assert taken is not None
    taken.close()


def test_link_local_addresses_differ_by_interface() -> None:
    loopback = socket.if_nametoindex("lo")
    assert adoption.place_for(socket.SOCK_DGRAM, "[fe80::1%lo]:53") == (
        socket.SOCK_DGRAM,
        socket.inet_pton(socket.AF_INET6, "fe80::1"),
        53,
        loopback,
    )
    assert adoption.place_for(socket.SOCK_DGRAM, "[fe80::1%nowhere]:53") is None


def test_what_is_not_of_the_internet_is_named_and_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.bind(path)
    offered = adoption.Offered([descriptor := unix.detach()])
    assert offered.take_tcp("127.0.0.1:53") is None
    assert offered.close() == {descriptor: f"a socket of family {int(socket.AF_UNIX)} at {path!r}"}


def test_for_a_person() -> None:
    needs_address("::1")
    port = free_port()
    with socket.socket(fileno=bound(socket.SOCK_STREAM, "::1", port)) as tcp:
        assert adoption.described(tcp) == f"[::1]:{port} TCP"
