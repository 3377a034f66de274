"""What the kernel shows as text, as several kernels write it, and as none does."""

import pytest

from forwarder.doctor.kernel import (
    MAX_CONNECTIONS,
    bound_sockets,
    conntrack_counters,
    dns_connections,
    local_addresses,
    release_of,
)
from tests.lab.facts import connection

NEW = """\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error
0000000a  00000001 00000000 00000000 00000002 00000000 00000000 00000000 00000000 000000ff 00000010 00000000 00000000
0000000a  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000003 00000000
"""
OLD = (
    "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop\n"
    + "0 " * 9
    + "2 1 0\n"
)


def test_counters_of_each_cpu() -> None:
    first, second = conntrack_counters(NEW)
    assert first == {"clashres": 1, "invalid": 2, "insert_failed": 255, "drop": 16, "early_drop": 0}
    assert (second["insert_failed"], second["early_drop"]) == (1, 3)
    assert conntrack_counters(OLD) == ({"invalid": 0, "insert_failed": 2, "drop": 1, "early_drop": 0},)


@pytest.mark.parametrize("text", ["", "\n", "entries drop\nnot hexadecimal\n", "entries"])
def test_counters_that_cannot_be_read(text: str) -> None:
    assert conntrack_counters(text) == ()


UDP = (
    "ipv4     2 udp      17 29 src=10.8.0.5 dst=192.0.2.53 sport=40000 dport=53 "
    "src=192.0.2.53 dst=10.8.0.5 sport=53 dport=40000 mark=0 zone=0 use=2"
)
UNREPLIED = (
    "ipv4     2 udp      17 29 src=10.42.0.7 dst=10.43.0.10 sport=1 dport=53 [UNREPLIED] "
    "src=10.42.1.16 dst=10.42.0.7 sport=53 dport=1 mark=0 use=2"
)
ACCOUNTED = (
    "udp      17 29 src=10.8.0.5 dst=192.0.2.53 sport=40000 dport=53 packets=1 bytes=60 "
    "src=192.0.2.53 dst=10.8.0.5 sport=53 dport=40000 packets=1 bytes=76 mark=0 use=1"
)
SIX = (
    "ipv6     10 tcp      6 431999 ESTABLISHED src=fd00:0000:0000:0000:0000:0000:0000:0007 "
    "dst=fd00:0000:0000:0000:0000:0000:0000:0010 sport=5 dport=53 src=fd00:0000:0000:0000:0000:0000:0000:0010 "
    "dst=fd00:0000:0000:0000:0000:0000:0000:0007 sport=53 dport=5 [ASSURED] mark=0 use=2"
)
PING = "ipv4     2 icmp     1 29 src=10.8.0.5 dst=192.0.2.53 type=8 code=0 id=1 src=192.0.2.53 dst=10.8.0.5 type=0 code=0 id=1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (UDP, connection("10.8.0.5", "192.0.2.53")),
        (ACCOUNTED, connection("10.8.0.5", "192.0.2.53")),
        (UNREPLIED, connection("10.42.0.7", "10.43.0.10", replies_from="10.42.1.16")),
        (SIX, connection("fd00::7", "fd00::10", protocol="tcp")),
    ],
)
def test_a_connection(line: str, expected: object) -> None:
    assert dns_connections([line], frozenset({53})).some == (expected,)


@pytest.mark.parametrize(
    "line", ["", PING, UDP.replace("dport=53", "dport=443", 1), UDP.partition(" src=192")[0], UDP.replace("53", "x")]
)
def test_what_is_no_dns_connection(line: str) -> None:
    assert dns_connections([line], frozenset({53})).count == 0


def test_all_are_counted_and_some_are_kept() -> None:
    found = dns_connections([UDP] * 500, frozenset({53}))
    assert (found.count, len(found.some)) == (500, MAX_CONNECTIONS)


FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 192.0.2.0
        /24 link UNICAST
     |-- 192.0.2.2
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
     |-- 127.0.0.0
        /8 host LOCAL
Local:
     |-- 192.0.2.2
        /32 host LOCAL
"""


def test_addresses_of_this_host() -> None:
    six = "fe800000000000000000000000000001 02 40 20 80     eth0\nnonsense\n"
    assert local_addresses(FIB, six) == ("192.0.2.2", "fe80::1")
    assert local_addresses("", "") == ()


def test_sockets() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "  1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2\n"
    (one,) = bound_sockets(head + row, "udp", frozenset({53}))
    assert (one.host, one.port, one.inode) == ("127.0.0.1", 53, "4711")
    six = row.replace("0100007F:0035", "000080FE000000000000000001000000:0035")
    assert [one.host for one in bound_sockets(head + six, "udp", frozenset({53}))] == ["fe80::1"]
    for other in (row.replace(" 07 ", " 01 "), row.replace(":0035", ":0036"), row.replace("0100007F", "zz"), "x\n", ""):
        assert list(bound_sockets(head + other, "udp", frozenset({53}))) == []


@pytest.mark.parametrize(
    ("text", "release"),
    [("4.19.29-generic", (4, 19, 29)), ("6.18.44-fc-v445", (6, 18, 44)), ("5.10", (5, 10)), ("x", ()), ("", ())],
)
def test_release(text: str, release: tuple[int, ...]) -> None:
    assert release_of(text) == release
