"""Doors that somebody else bound: taken with what waits in them, and made like our own."""

import contextlib
import os
import socket

import pytest

from forwarder import sockets
from forwarder.adoption import Offered
from forwarder.errors import ListenError
from tests.lab.needs import needs_address, needs_root
from tests.lab.ports import bound_pair, free_port

BUFFER = 1 << 17


def test_waiting_datagrams_and_connections_are_adopted_with_their_sockets() -> None:
    udp, tcp = bound_pair()
    udp.setblocking(True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, socket.create_connection(tcp.getsockname()):
        client.sendto(b"waiting", udp.getsockname())
        host, port = udp.getsockname()
        doors = sockets.bind_doors([f"{host}:{port}"], BUFFER, offered=Offered([udp.detach(), tcp.detach()]))
        (((door,),), (listener,)) = doors.udp, doors.tcp
        assert door.recv(100) == b"waiting"
        listener.accept()[0].close()
        assert not os.get_blocking(door.fileno())
        assert not os.get_blocking(listener.fileno())
        assert doors.receive_buffer == BUFFER
        doors.close()


def test_what_is_not_offered_is_bound() -> None:
    udp, tcp = bound_pair()
    tcp.close()
    host, port = udp.getsockname()
    other = f"127.0.0.1:{free_port()}"
    doors = sockets.bind_doors([other, f"{host}:{port}"], BUFFER, offered=Offered([descriptor := udp.detach()]))
    assert doors.udp[1][0].fileno() == descriptor
    assert doors.tcp[1].getsockname() == (host, port)
    assert doors.udp[0][0].getsockname() == doors.tcp[0].getsockname() == ("127.0.0.1", int(other.rpartition(":")[2]))
    doors.close()


def test_sockets_of_several_workers_are_adopted_in_their_order_and_joined() -> None:
    address = f"127.0.0.1:{free_port()}"
    with contextlib.closing(sockets.bind_doors([address], BUFFER, 2)) as former:
        passed = [os.dup(descriptor) for descriptor in former.descriptors]
        with contextlib.closing(sockets.bind_doors([address], BUFFER, 3, Offered(passed))) as doors:
            (group,) = doors.udp
            assert [door.fileno() for door in group[:2]] == passed[:2]
            assert len(group) == 3
            assert doors.complaints == ()
        fewer = [os.dup(descriptor) for descriptor in former.descriptors]
        with contextlib.closing(sockets.bind_doors([address], BUFFER, 1, Offered(fewer))) as doors:
            assert doors.udp_for(0, 1) == fewer[:2], "one that nobody reads loses what reaches it"


def test_socket_that_nobody_may_join_is_for_all_workers() -> None:
    udp, tcp = bound_pair()
    host, port = udp.getsockname()
    with contextlib.closing(sockets.bind_doors([f"{host}:{port}"], BUFFER, 2, Offered([udp.detach(), tcp.detach()]))) as doors:
        assert doors.udp_for(0, 2) == doors.udp_for(1, 2) == [doors.udp[0][0].fileno()]
        assert doors.complaints == (f"{host}:{port} UDP: 1 of 2 sockets could be bound: {sockets.SHARED}",)


def test_larger_receive_buffer_stays() -> None:
    needs_root()
    udp, tcp = bound_pair()
    udp.setsockopt(socket.SOL_SOCKET, sockets.SO_RCVBUFFORCE, 32 << 20)
    host, port = udp.getsockname()
    doors = sockets.bind_doors([f"{host}:{port}"], BUFFER, offered=Offered([udp.detach(), tcp.detach()]))
    assert doors.receive_buffer == 32 << 20
    doors.close()


def test_wildcard_is_told_where_a_datagram_went() -> None:
    udp, tcp = bound_pair("0.0.0.0")
    address = f"0.0.0.0:{udp.getsockname()[1]}"
    doors = sockets.bind_doors([address], BUFFER, offered=Offered([udp.detach(), tcp.detach()]))
    assert doors.udp[0][0].getsockopt(socket.IPPROTO_IP, sockets.IP_PKTINFO) == 1
    doors.close()


def test_socket_for_both_families_is_refused_and_closed() -> None:
    needs_address("::1")
    both = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    both.bind(("::", free_port()))
    address = f"[::]:{both.getsockname()[1]}"
    with pytest.raises(ListenError, match="BindIPv6Only=ipv6-only"):
        sockets.bind_doors([address], BUFFER, offered=Offered([descriptor := both.detach()]))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_pages_take_the_listener_that_is_offered() -> None:
    udp, tcp = bound_pair()
    udp.close()
    host, port = tcp.getsockname()
    with sockets.bind_http(f"{host}:{port}", Offered([descriptor := tcp.detach()])) as http:
        assert http.fileno() == descriptor
        assert not os.get_blocking(descriptor)
