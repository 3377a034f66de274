"""The settings as types: what a worker gets, what follows from it, what does not fit together."""

import subprocess
import sys
from typing import Any, get_args, get_origin

import msgspec
import pytest
from msgspec.structs import fields

from forwarder.config import (
    AnsweringSettings,
    CacheSettings,
    Config,
    Count,
    Duration,
    Hosts,
    Listen,
    NodeSettings,
    ObserveSettings,
    Search,
    Size,
    Zone,
    allowed_networks,
    doors_of,
    from_json,
    is_below,
    is_own_address,
    own_door_of,
    server_name,
    split_address,
    stale_timer_for,
    to_json,
)

Kind = Any
"""A type of a setting, or a value of it."""

ROOT_ZONE = Zone(zone=".", upstreams=("192.0.2.53:53",))
SECTIONS = (Listen, Search, Zone, Hosts, AnsweringSettings, CacheSettings, ObserveSettings, NodeSettings, Config)


def config_with(*addresses: str, **settings: Kind) -> Config:
    return Config(zones=(ROOT_ZONE,), listen=Listen(addresses=addresses or ("127.0.0.1:5300",)), **settings)


def test_round_trip() -> None:
    config = Config(
        zones=(Zone(zone="cluster.local", upstreams=("10.96.0.10:53", "/etc/resolv.conf"), max_ttl=30.0), ROOT_ZONE),
        cluster_domain="cluster.local",
        hosts=Hosts(records={"a.test": ("192.0.2.1", '"text"')}, files=("/etc/hosts",)),
        listen=Listen(allow=("loopback", "192.0.2.0/24")),
    )
    assert from_json(to_json(config)) == config


def test_other_bytes_are_no_config() -> None:
    with pytest.raises(msgspec.DecodeError):
        from_json(b'{"zones": [], "zone": 1}')


def test_import_is_light() -> None:
    code = "import sys, forwarder.config; print(*sorted({'yaml', 'dnslib', 'ipaddress', 'asyncio'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def shapes(kind: Kind) -> list[Kind]:
    """A type and everything inside it."""
    return [kind, *(shape for part in get_args(kind) for shape in shapes(part))]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_default_is_within_its_bounds(section: type[msgspec.Struct]) -> None:
    checked = 0
    for field in fields(section):
        for shape in shapes(field.type):
            if isinstance(shape, Duration | Size | Count):
                assert shape.least <= field.default <= shape.most, field.name
                checked += 1
    assert checked > 0 or section in {Search, Hosts, ObserveSettings, NodeSettings, Config}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_number_and_text_has_bounds(section: type[msgspec.Struct]) -> None:
    for field in fields(section):
        free = [kind for kind in (field.type, *get_args(field.type)) if kind in {int, float, str}]
        assert not free or get_origin(field.type) is not None, f"{section.__name__}.{field.name} says no bounds"


def test_defaults_of_a_zone_are_those_of_the_cache() -> None:
    cache = CacheSettings()
    assert (ROOT_ZONE.max_ttl, ROOT_ZONE.max_negative_ttl) == (cache.max_ttl, cache.max_negative_ttl)
    assert ROOT_ZONE.maximum_stale_timer == cache.maximum_stale_timer


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:53", ("127.0.0.1", 53)),
        ("[::1]:5300", ("::1", 5300)),
        ("[fe80::1%eth0]:53", ("fe80::1%eth0", 53)),
        ("[::1]:853@dns.example", ("::1", 853)),
    ],
)
def test_split_address(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    ("listen", "upstream", "own"),
    [
        ("127.0.0.1:53", "127.0.0.1:53", True),
        ("127.0.0.1:53", "127.0.0.1:5353", False),
        ("127.0.0.1:53", "127.0.0.2:53", False),
        ("0.0.0.0:53", "127.0.0.53:53", True),
        ("0.0.0.0:53", "192.0.2.53:53", False),  # may be ours: only the host knows
        ("127.0.0.1:53", "0.0.0.0:53", True),
        ("[::]:53", "[::1]:53", True),
        ("[::]:53", "127.0.0.1:53", False),  # IPV6_V6ONLY
        ("[::1]:53", "[::]:53", True),
        ("[2001:db8::1]:53", "[2001:db8::1]:53", True),
        ("[2001:db8::1]:53", "[2001:db8::1]:53@dns.example", True),
        ("127.0.0.1:53", "127.0.0.1:853@dns.example", False),
    ],
)
def test_is_own_address(listen: str, upstream: str, own: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    assert is_own_address((listen,), upstream) is own


@pytest.mark.parametrize("address", ["127.0.0.1:53", "169.254.20.10:53", "[::1]:53", "[fe80::1%eth0]:53", "[febf::1]:53"])
def test_everybody_may_ask_where_nobody_from_afar_can(address: str) -> None:
    assert allowed_networks(config_with(address)) == ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize("address", ["0.0.0.0:53", "[::]:53", "192.0.2.1:53", "[fe8::1]:53", "[::1:0]:53", "12.7.0.1:53"])
def test_no_open_resolver_by_default(address: str) -> None:
    networks = allowed_networks(config_with("127.0.0.1:53", address))
    assert "0.0.0.0/0" not in networks
    assert "::/0" not in networks
    assert {"127.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "fe80::/10", "fc00::/7"} <= set(networks)


def test_intercepted_addresses_are_local() -> None:
    config = config_with("10.96.0.10:53", node=NodeSettings(intercept=("10.96.0.10",)))
    assert allowed_networks(config) == ("0.0.0.0/0", "::/0")


class TestIntercepted:
    """Service addresses that are answered here, besides the addresses we listen on."""

    def test_are_doors_of_ours(self) -> None:
        config = config_with("169.254.20.10:53", node=NodeSettings(intercept=("10.96.0.10", "fd00::a")))
        assert doors_of(config) == ("169.254.20.10:53", "10.96.0.10:53", "[fd00::a]:53")

    def test_are_bound_once_though_written_twice(self) -> None:
        config = config_with("10.96.0.10:53", "169.254.20.10:53", node=NodeSettings(intercept=("10.96.0.10",)))
        assert doors_of(config) == ("10.96.0.10:53", "169.254.20.10:53")

    @pytest.mark.parametrize(
        ("addresses", "door"),
        [
            (("169.254.20.10:53", "127.0.0.1:5300"), ("169.254.20.10", 53)),
            (("10.96.0.10:53", "[::1]:5300"), ("::1", 5300)),
            (("0.0.0.0:53",), ("127.0.0.1", 53)),
            (("[::]:53",), ("::1", 53)),
            (("10.96.0.10:53",), None),
        ],
    )
    def test_the_daemon_meets_itself_elsewhere(self, addresses: tuple[str, ...], door: tuple[str, int] | None) -> None:
        assert own_door_of(config_with(*addresses, node=NodeSettings(intercept=("10.96.0.10",)))) == door


def test_allow_as_written() -> None:
    config = Config(zones=(ROOT_ZONE,), listen=Listen(allow=("loopback", "192.0.2.0/24")))
    assert allowed_networks(config) == ("127.0.0.0/8", "::1/128", "192.0.2.0/24")


def test_is_below() -> None:
    assert is_below("a.b", ".")
    assert is_below(".", ".")
    assert is_below("a.b", "b")
    assert is_below("b", "b")
    assert not is_below("ab", "b")
    assert not is_below(".", "b")


def test_stale_addresses_of_the_cluster_end_early() -> None:
    cache = CacheSettings()
    assert stale_timer_for("svc.cluster.local", cache, "cluster.local") == 30.0
    assert stale_timer_for(".", cache, "cluster.local") == 3600.0
    assert stale_timer_for("cluster.local", cache, None) == 3600.0
    assert stale_timer_for("cluster.local", CacheSettings(maximum_stale_timer=5.0), "cluster.local") == 5.0


def test_server_name() -> None:
    upstreams = ("[::1]:853@dns.example", "[::1]:53", "/run/a@b/resolv.conf")
    assert [server_name(upstream) for upstream in upstreams] == ["dns.example", "", ""]
