"""Zones, addresses and durations as CoreDNS writes them."""

import ipaddress

import pytest

from forwarder.importing.addresses import (
    NamelessError,
    Target,
    ZoneKey,
    is_address,
    listen_address,
    reverse_zones,
    seconds_of,
    target_of,
    zone_key,
)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (".", ZoneKey("dns", (".",), 53)),
        (".:1053", ZoneKey("dns", (".",), 1053)),
        ("Example.ORG.", ZoneKey("dns", ("example.org",), 53)),
        ("dns://example.org:54", ZoneKey("dns", ("example.org",), 54)),
        ("tls://example.org", ZoneKey("tls", ("example.org",), 853)),
        ("https://.", ZoneKey("https", (".",), 443)),
        ("grpc://a:5", ZoneKey("grpc", ("a",), 5)),
        (":53", ZoneKey("dns", (".",), 53)),
        ("10.0.0.0/8", ZoneKey("dns", ("10.in-addr.arpa",), 53)),
        ("10.0.0.0/8:54", ZoneKey("dns", ("10.in-addr.arpa",), 54)),
        ("10.1.2.0/23", ZoneKey("dns", ("2.1.10.in-addr.arpa", "3.1.10.in-addr.arpa"), 53)),
        ("fd00::/8", ZoneKey("dns", ("d.f.ip6.arpa",), 53)),
        ("0/25.2.0.192.in-addr.arpa", ZoneKey("dns", ("0/25.2.0.192.in-addr.arpa",), 53)),
    ],
)
def test_zone_keys(text: str, key: ZoneKey) -> None:
    assert zone_key(text) == key


@pytest.mark.parametrize("text", ["*.example.org", "a..b", "a:99999", "a:0", "ü.example"])
def test_no_zone_keys(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        zone_key(text)


@pytest.mark.parametrize(
    ("network", "count"), [("10.0.0.0/9", 128), ("0.0.0.0/0", 1), ("10.0.0.1/32", 1), ("::/0", 1), ("fd00::/7", 2)]
)
def test_reverse_zones_are_those_of_every_address(network: str, count: int) -> None:
    """Each zone is the ending of the reverse name of the addresses in it, by Python's own account."""
    whole = ipaddress.ip_network(network, strict=False)
    zones = reverse_zones(whole)
    assert len(zones) == count
    for address in (whole[0], whole[-1]):
        assert any(address.reverse_pointer.endswith(zone) for zone in zones)
    assert all(zone.endswith("arpa") and len(zone.split(".")) <= 34 for zone in zones)


@pytest.mark.parametrize(
    ("text", "servername", "target"),
    [
        ("192.0.2.1", "", Target("dns", "192.0.2.1:53")),
        ("dns://192.0.2.1:54", "", Target("dns", "192.0.2.1:54")),
        ("2001:db8::1", "", Target("dns", "[2001:db8::1]:53")),
        ("[2001:db8::1]:54", "", Target("dns", "[2001:db8::1]:54")),
        ("fe80::1%eth0", "", Target("dns", "[fe80::1%eth0]:53")),
        ("/etc/resolv.conf", "", Target("dns", "/etc/resolv.conf")),
        ("tls://192.0.2.1", "dns.example", Target("tls", "192.0.2.1:853@dns.example")),
        ("tls://192.0.2.1:8853", "dns.example", Target("tls", "192.0.2.1:8853@dns.example")),
        ("tls://192.0.2.1%dns.example", "", Target("tls", "192.0.2.1:853@dns.example")),
        ("tls://192.0.2.1%dns.example:10853", "", Target("tls", "192.0.2.1:10853@dns.example")),
        ("tls://[2001:db8::1]", "dns.example", Target("tls", "[2001:db8::1]:853@dns.example")),
    ],
)
def test_targets(text: str, servername: str, target: Target) -> None:
    assert target_of(text, servername) == target


@pytest.mark.parametrize(
    "text", ["dns.example", "https://192.0.2.1", "grpc://192.0.2.1", "tls:///etc/x", "1.1.1.1@x", "etc/x", ""]
)
def test_no_targets(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        target_of(text)


def test_a_certificate_needs_a_name() -> None:
    with pytest.raises(NamelessError, match="write tls_servername NAME there"):
        target_of("tls://192.0.2.1")


def test_addresses() -> None:
    assert listen_address("::1", 53) == "[::1]:53"
    assert listen_address("127.0.0.1", 5300) == "127.0.0.1:5300"
    assert (is_address("::1"), is_address("eth0")) == (True, False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5s", 5), ("1h30m", 5400), ("300ms", 0.3), ("1.5h", 5400), ("2h45m10s", 9910), ("1us", 1e-6)],
)
def test_durations_of_go(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-5s", "s", "5 s", "5x", "1s" * 40, "1.2.3s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        seconds_of(text)
