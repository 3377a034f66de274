"""What does not fit together is found at the setting that is to be changed."""

from typing import Any

import pytest

from forwarder.config import (
    AnsweringSettings,
    CacheSettings,
    Config,
    Listen,
    NodeSettings,
    ObserveSettings,
    Zone,
)
from forwarder.config_file.contradictions import contradictions

Kind = Any
"""A value of a setting."""

ROOT_ZONE = Zone(zone=".", upstreams=("192.0.2.53:53",))
SERVICE = "10.96.0.10"


def config_with(*addresses: str, **settings: Kind) -> Config:
    return Config(zones=(ROOT_ZONE,), listen=Listen(addresses=addresses or ("127.0.0.1:5300",)), **settings)


def test_nothing_contradicts_the_defaults() -> None:
    assert list(contradictions(config_with())) == []


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (config_with("127.0.0.1:53", "127.0.0.1:53"), "listen.addresses[1]"),
        (config_with("192.0.2.53:53"), "zones[0].upstreams[0]"),
        (Config(zones=(ROOT_ZONE, ROOT_ZONE)), "zones[1].zone"),
        (Config(zones=(Zone(zone=".", upstreams=("/a", "/b", "/a")),)), "zones[0].upstreams[2]"),
        (config_with("127.0.0.1:9253"), "observe.http"),
        (config_with(answering=AnsweringSettings(client_response_timer=1.8)), "answering.client_response_timer"),
        (config_with(cache=CacheSettings(failure_ttl=31.0)), "cache.max_failure_ttl"),
        (config_with(observe=ObserveSettings(query_log_file="/a/log")), "observe.query_log_file"),
    ],
)
def test_contradictions(config: Config, path: str) -> None:
    assert [found for found, _ in contradictions(config)] == [path]


@pytest.mark.parametrize(
    ("zone", "path", "mend"),
    [
        (Zone(zone=".", upstreams=("[::1]:5@a.b",)), "zones[0].upstreams[0]", "leave @a.b out, or write transport: tls"),
        (Zone(zone=".", upstreams=("192.0.2.1:53@a.b",), transport="tcp"), "zones[0].upstreams[0]", "asked over tcp"),
        (Zone(zone=".", upstreams=("[2001:db8::1]:53",), transport="tls"), "zones[0].upstreams[0]", "[2001:db8::1]@NAME"),
        (Zone(zone=".", upstreams=("/etc/resolv.conf",), transport="tls"), "zones[0].upstreams[0]", "as ADDRESS@NAME"),
        (Zone(zone=".", upstreams=("192.0.2.1:53",), ca_file="/a"), "zones[0].ca_file", "or write transport: tls"),
        (Zone(zone=".", upstreams=("127.0.0.1:5300@a.b",), transport="tls"), "zones[0].upstreams[0]", "in a circle"),
    ],
)
def test_what_does_not_fit_the_transport(zone: Zone, path: str, mend: str) -> None:
    ((found, sentence),) = contradictions(Config(zones=(zone,)))
    assert found == path
    assert mend in sentence


def test_nothing_contradicts_names_and_certificates_over_tls() -> None:
    upstreams = ("192.0.2.1:853@dns.example", "192.0.2.1:853@other.example")
    assert list(contradictions(Config(zones=(Zone(zone=".", upstreams=upstreams, transport="tls", ca_file="/a"),)))) == []


def test_a_file_for_a_query_log_that_is_on_contradicts_nothing() -> None:
    assert list(contradictions(config_with(observe=ObserveSettings(query_log="errors", query_log_file="/a/log")))) == []


def test_blank_text_contradicts_nothing() -> None:
    blank = Zone(zone="", upstreams=("", ""))
    config = Config(zones=(blank, blank), listen=Listen(addresses=("", "")), observe=ObserveSettings(http=""))
    assert list(contradictions(config)) == []


class TestIntercept:
    """Addresses taken over from the cluster, and what the daemon needs for it."""

    @staticmethod
    def config_with(*intercept: str, allow: Kind = "auto", listen: str = "169.254.20.10:53", **settings: Kind) -> Config:
        node = NodeSettings(intercept=intercept or (SERVICE,), **settings)
        return Config(zones=(ROOT_ZONE,), listen=Listen(addresses=(listen,), allow=allow), node=node)

    def test_nothing_is_wrong(self) -> None:
        assert list(contradictions(self.config_with(SERVICE, "fd00:10:96::a", rules="nft"))) == []

    @pytest.mark.parametrize(
        ("config", "path", "mend"),
        [
            (config_with(SERVICE, SERVICE), "node.intercept[1]", "leave one out"),
            (config_with("127.0.0.53"), "node.intercept[0]", "is no service address"),
            (config_with("0.0.0.0"), "node.intercept[0]", "is no service address"),
            (config_with("fe80::1%eth0"), "node.intercept[0]", "is no service address"),
            (config_with("224.0.0.1"), "node.intercept[0]", "is no service address"),
            (config_with(rules="iptables"), "node.rules", "write nft or auto"),
            (config_with(listen=f"{SERVICE}:53"), "listen.addresses", "add one, 169.254.20.10:53 for instance"),
            (config_with(allow=("private",)), "listen.allow", "add 169.254.20.10"),
        ],
    )
    def test_found(self, config: Config, path: str, mend: str) -> None:
        ((found, sentence),) = contradictions(config)
        assert found == path
        assert mend in sentence

    @pytest.mark.parametrize("upstream", [f"{SERVICE}:53", "[fd00::a]:53"])
    def test_an_upstream_that_leads_to_ourselves(self, upstream: str) -> None:
        zone = Zone(zone="cluster.local", upstreams=("192.0.2.1:53", upstream))
        config = Config(zones=(zone,), node=NodeSettings(intercept=(SERVICE, "fd00::a")))
        ((path, sentence),) = contradictions(config)
        assert path == "zones[0].upstreams[1]"
        assert "is intercepted and leads to this daemon" in sentence

    def test_another_port_of_the_service_is_another_server(self) -> None:
        zone = Zone(zone="cluster.local", upstreams=(f"{SERVICE}:5353",))
        assert list(contradictions(Config(zones=(zone,), node=NodeSettings(intercept=(SERVICE,))))) == []
