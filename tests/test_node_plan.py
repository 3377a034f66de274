"""The plan: what a configuration asks of the host, and what it may not ask."""

import pytest

from forwarder.config import Config
from forwarder.errors import ConfigError
from forwarder.node.plan import Endpoint, Kind, plan_for, wildcards_in
from tests.lab.node_plans import config_with, planned


def test_addresses_to_be_on_the_interface_are_listen_addresses_then_intercepted_ones() -> None:
    plan = planned("169.254.20.10:53", "[fd00::10]:5353", intercept=("10.43.0.100", "fd43::100"))
    assert plan.addresses == ("169.254.20.10", "fd00::10", "10.43.0.100", "fd43::100")
    assert plan.endpoints == (Endpoint("169.254.20.10", 53), Endpoint("fd00::10", 5353))
    assert plan.intercepted_of(4) == ("10.43.0.100",)
    assert plan.endpoints_of(6) == (Endpoint("fd00::10", 5353),)


@pytest.mark.parametrize("address", ["127.0.0.1:53", "127.1.2.3:53", "[::1]:53", "0.0.0.0:53", "[::]:53"])
def test_loopback_and_wildcard_addresses_need_nothing(address: str) -> None:
    plan = planned(address)
    assert (plan.addresses, plan.endpoints) == ((), ())


def test_an_address_at_two_ports_is_one_address_and_two_endpoints() -> None:
    plan = planned("192.0.2.1:53", "192.0.2.1:5300")
    assert plan.addresses == ("192.0.2.1",)
    assert [one.port for one in plan.endpoints] == [53, 5300]


def test_an_address_with_an_interface_is_that_interfaces_own() -> None:
    plan = planned("[fe80::1%eth0]:53")
    assert plan.addresses == ()
    assert plan.endpoints == (Endpoint("fe80::1", 53),)


def test_an_intercepted_address_is_left_untracked_only_while_the_daemon_lives() -> None:
    plan = planned("10.43.0.100:53", "10.43.0.100:5300", intercept=("10.43.0.100",))
    assert plan.endpoints == (Endpoint("10.43.0.100", 5300),)
    assert plan.addresses == ("10.43.0.100",)


def test_an_interface_other_than_the_default_was_named_by_somebody() -> None:
    assert not planned("192.0.2.1:53").is_named
    assert planned("192.0.2.1:53", interface="eth0").is_named


def test_a_stream_is_ours_for_longer_than_the_daemon_keeps_it_idle() -> None:
    assert planned("192.0.2.1:53").stream_seconds > config_with("192.0.2.1:53").listen.tcp_idle_timeout


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1"])
def test_what_no_service_has_is_not_intercepted(address: str) -> None:
    with pytest.raises(ConfigError, match=r"node.intercept\[0\]: .* is no service address"):
        planned("192.0.2.1:53", intercept=(address,))


def test_iptables_intercepts_nothing() -> None:
    with pytest.raises(ConfigError, match=r"node\.intercept: iptables cannot end a takeover"):
        planned("192.0.2.1:53", intercept=("10.43.0.100",), kind=Kind.IPTABLES)


def test_wildcards_are_named() -> None:
    config: Config = config_with("0.0.0.0:53", "[::]:53", "192.0.2.1:53")
    assert wildcards_in(config) == ("0.0.0.0", "::")
    assert plan_for(config, 0, Kind.NFT).addresses == ("192.0.2.1",)
