"""Sockets of the daemon: bound with the right options, refused with a sentence, shared with nobody."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from forwarder import sockets
from forwarder.errors import ListenError
from tests.lab.needs import needs_address, needs_root
from tests.lab.ports import free_port

BUFFER = 1 << 17


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def doors(address: str) -> Iterator[sockets.Doors]:
    bound = sockets.bind_doors([address], BUFFER)
    yield bound
    bound.close()


def option(bound: socket.socket, level: int, name: int) -> int:
    return bound.getsockopt(level, name)


def test_one_udp_and_one_tcp_socket_per_address_both_non_blocking(address: str, doors: sockets.Doors) -> None:
    (((udp,),), (tcp,)) = doors.udp, doors.tcp
    port = int(address.rpartition(":")[2])
    assert udp.getsockname() == tcp.getsockname() == ("127.0.0.1", port)
    assert (udp.type, tcp.type) == (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    assert not os.get_blocking(udp.fileno())
    assert not os.get_blocking(tcp.fileno())
    assert option(tcp, socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert option(udp, socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1


def test_receive_buffer_is_what_was_asked_for(doors: sockets.Doors) -> None:
    assert option(doors.udp[0][0], socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * BUFFER  # the kernel doubles it for its own needs
    assert doors.receive_buffer == BUFFER


def test_root_gets_more_than_rmem_max() -> None:
    needs_root()
    bound = sockets.bind_doors([f"127.0.0.1:{free_port()}"], 32 << 20)
    size = option(bound.udp[0][0], socket.SOL_SOCKET, socket.SO_RCVBUF)
    bound.close()
    assert size == 64 << 20


def test_wildcard_is_told_where_a_datagram_went() -> None:
    needs_address("::1")
    port = free_port()
    bound = sockets.bind_doors([f"0.0.0.0:{port}", f"[::]:{port}"], BUFFER)
    (four,), (six,) = bound.udp
    told = option(four, socket.IPPROTO_IP, sockets.IP_PKTINFO), option(six, socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)
    only = [option(one, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) for one in (six, bound.tcp[1])]
    bound.close()
    assert told == (1, 1)
    assert only == [1, 1]


def test_a_single_address_is_not(doors: sockets.Doors) -> None:
    assert option(doors.udp[0][0], socket.IPPROTO_IP, sockets.IP_PKTINFO) == 0


def test_an_address_no_interface_has_yet_is_bound_and_named() -> None:
    address = f"192.0.2.77:{free_port()}"
    bound = sockets.bind_doors([address], BUFFER)
    bound.close()
    assert bound.absent == (address,)


def test_an_address_of_this_host_is_not_called_absent(doors: sockets.Doors) -> None:
    assert doors.absent == ()


@pytest.mark.parametrize(("kind", "transport"), [(socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")])
def test_port_in_use_is_one_line_with_the_mend(address: str, kind: socket.SocketKind, transport: str) -> None:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        with pytest.raises(ListenError) as raised:
            sockets.bind_doors([address], BUFFER)
    sentence = str(raised.value)
    assert sentence.startswith(f"{address} {transport}: already in use")
    assert "ss -ln" in sentence
    assert "listen.addresses" in sentence
    assert "\n" not in sentence


def test_a_second_instance_is_noticed_although_the_port_is_shared(address: str, doors: sockets.Doors) -> None:
    assert doors.udp
    with pytest.raises(ListenError, match="already in use, by another forwarder"):
        sockets.bind_doors([address], BUFFER)


def test_a_specific_address_below_a_wildcard_is_noticed(doors: sockets.Doors) -> None:
    port = doors.udp[0][0].getsockname()[1]
    with pytest.raises(ListenError, match="already in use"):
        sockets.bind_doors([f"0.0.0.0:{port}"], BUFFER)


def test_nothing_stays_open_when_one_address_is_refused(address: str) -> None:
    free = f"127.0.0.1:{free_port()}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        with pytest.raises(ListenError):
            sockets.bind_doors([free, address], BUFFER)
    sockets.bind_doors([free, address], BUFFER).close()


def test_a_low_port_without_privilege_says_what_to_do() -> None:
    needs_root()
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())  # container engines set it to 0
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.setuid(65534)
            sockets.bind_doors(["127.0.0.1:1"], BUFFER)
        except ListenError as error:
            said = str(error)
        finally:
            os._exit(0 if ("CAP_NET_BIND_SERVICE" in said) == (lowest > 1) else 1)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0


def test_an_unknown_scope_is_no_traceback() -> None:
    with pytest.raises(ListenError, match=r"^\[fe80::1%nosuch0\]:53 UDP: "):
        sockets.bind_doors(["[fe80::1%nosuch0]:53"], BUFFER)


def test_the_pages_port_in_use_names_its_setting() -> None:
    port = free_port()
    with sockets.bind_http(f"127.0.0.1:{port}"), pytest.raises(ListenError, match=rf"127.0.0.1:{port} TCP: .*observe\.http"):
        sockets.bind_http(f"127.0.0.1:{port}")


def test_drops_are_counted(doors: sockets.Doors) -> None:
    ((udp,),) = doors.udp
    assert sockets.receive_drops(udp) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(2000):
            client.sendto(b"x" * 500, udp.getsockname())
    received = 0
    while True:
        try:
            udp.recv(512)
        except BlockingIOError:
            break
        received += 1
    assert received < 2000
    assert sockets.receive_drops(udp) == 2000 - received
