"""What a person reads at the start: true of what is done, and the last line works when it is typed."""

from pathlib import Path

import pytest

from forwarder import greeting, link, watching
from forwarder.config import Config, Listen, NodeSettings, ObserveSettings, Zone

PTR = 12
A = 1


def lines_for(config: Config, *records: link.PinnedRecords) -> list[str]:
    return list(greeting.summary(config, watching.asked(config).upstreams, link.Pinned(list(records))))


def record(name: bytes, qtype: int = A) -> link.PinnedRecords:
    return link.PinnedRecords(name, qtype, 60, [b"\xc0\0\2\1"])


def test_all_of_it() -> None:
    config = Config(
        zones=(Zone(zone=".", upstreams=("192.0.2.1:53",)),),
        listen=Listen(addresses=("127.0.0.1:5300", "[::1]:5300")),
        observe=ObserveSettings(http="127.0.0.1:9000"),
    )
    assert lines_for(config) == [
        "forwarder is serving",
        "  listens on  127.0.0.1:5300 (UDP and TCP)",
        "  listens on  [::1]:5300 (UDP and TCP)",
        "  . asks 192.0.2.1:53 over UDP",
        "  watch it    http://127.0.0.1:9000/",
        "  try         dig @127.0.0.1 -p 5300 example.com",
    ]


def test_intercepted_addresses_are_named_and_not_the_ones_to_try() -> None:
    config = Config(
        zones=(Zone(zone=".", upstreams=("192.0.2.1:53",)),),
        listen=Listen(addresses=("10.96.0.10:53", "169.254.20.10:53")),
        node=NodeSettings(intercept=("10.96.0.10",)),
    )
    lines = lines_for(config)
    assert "  intercepts  10.96.0.10 (UDP and TCP, while the daemon answers itself)" in lines
    assert lines[-1] == "  try         dig @169.254.20.10 example.com"


def test_each_zone_says_whom_it_asks_and_how(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.2\n")
    zones = (
        Zone(zone="cluster.local", upstreams=("10.96.0.10:53",), transport="tcp"),
        Zone(zone=".", upstreams=(str(tmp_path / "resolv.conf"), "192.0.2.3:53")),
        Zone(zone="b", upstreams=("192.0.2.4:853@dns.example",), transport="tls"),
    )
    lines = lines_for(Config(zones=zones))
    assert "  cluster.local asks 10.96.0.10:53 over TCP" in lines
    assert f"  . asks 192.0.2.2:53, 192.0.2.3:53 over UDP (from {tmp_path}/resolv.conf)" in lines
    assert "  b asks 192.0.2.4:853@dns.example over TLS" in lines
    assert not any("pinned" in line for line in lines)


def test_nobody_to_ask_is_said(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").touch()
    zones = (Zone(zone=".", upstreams=(str(tmp_path / "resolv.conf"),)),)
    assert f"  . asks nobody (from {tmp_path}/resolv.conf)" in lines_for(Config(zones=zones))


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([record(b"\1a\0")], "  pinned      1 name"),
        ([record(b"\1a\0"), record(b"\1a\0", 28), record(b"\1b\0")], "  pinned      2 names"),
        ([record(b"\1a\0"), record(b"\1x\0", PTR)], "  pinned      1 name"),
    ],
)
def test_names_that_somebody_wrote_are_counted_once_each(records: list[link.PinnedRecords], line: str) -> None:
    assert line in lines_for(Config(zones=(Zone(zone=".", upstreams=("192.0.2.1:53",)),)), *records)


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("127.0.0.1:5300", "dig @127.0.0.1 -p 5300 example.com"),
        ("169.254.20.10:53", "dig @169.254.20.10 example.com"),
        ("0.0.0.0:53", "dig @127.0.0.1 example.com"),
        ("[::]:5300", "dig @::1 -p 5300 example.com"),
    ],
)
def test_a_line_to_try_that_works(address: str, line: str) -> None:
    zones = (Zone(zone=".", upstreams=("192.0.2.1:53",)),)
    assert greeting.dig_line(Config(zones=zones, listen=Listen(addresses=(address,)))) == line
