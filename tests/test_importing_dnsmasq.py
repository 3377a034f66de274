"""dnsmasq.conf: what each line becomes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forwarder.config import Config
from forwarder.errors import ConfigError
from forwarder.importing import dnsmasq
from forwarder.importing.recognising import Kind
from forwarder.importing.sources import source_of
from tests.lab.importing import comments, config_of, yaml_of, zones

ONE = "no-resolv\nno-hosts\nserver=192.0.2.53\n"


def read(text: str) -> tuple[Config, dict[str, str]]:
    """The configuration; what is said of each line of the source."""
    draft = dnsmasq.draft_of(source_of(text, "dnsmasq.conf"))
    return draft.config, {note.place.text: note.sentence for note in draft.notes}


def test_servers_become_zones() -> None:
    config, said = read(ONE + "server=/a/b/192.0.2.1\nserver=/a/192.0.2.2#54\nserver=/c/#\nrev-server=10.0.0.0/8,192.0.2.3\n")
    assert {zone.zone: (zone.upstreams, zone.policy) for zone in config.zones} == {
        "a": (("192.0.2.1:53", "192.0.2.2:54"), "equal"),
        "b": (("192.0.2.1:53",), "ordered"),
        "c": (("192.0.2.53:53",), "ordered"),
        "10.in-addr.arpa": (("192.0.2.3:53",), "ordered"),
        ".": (("192.0.2.53:53",), "ordered"),
    }
    assert said == {}


@pytest.mark.parametrize(
    ("text", "upstreams"),
    [
        ("cache-size=150\n", ("/etc/resolv.conf",)),
        ("server=192.0.2.1\n", ("192.0.2.1:53", "/etc/resolv.conf")),
        ("resolv-file=/run/resolv.conf\n", ("/run/resolv.conf",)),
        ("server=192.0.2.1\nno-resolv\nresolv-file=/run/resolv.conf\n", ("192.0.2.1:53",)),
    ],
)
def test_nameservers_of_files(text: str, upstreams: tuple[str, ...]) -> None:
    assert zones(read(text)[0])["."].upstreams == upstreams


def test_limits() -> None:
    config, _ = read(ONE + "max-cache-ttl=600\nmax-ttl=300\nno-negcache\ncache-size=100000\nedns-packet-max=512\n")
    assert (config.cache.max_ttl, config.cache.max_negative_ttl, config.cache.memory) == (300.0, 0.0, 107 << 20)
    assert (config.zones[0].max_ttl, config.zones[0].max_negative_ttl) == (300.0, 0.0)
    assert config.listen.max_udp_size == 512
    assert read(ONE + "max-cache-ttl=10\n")[0].cache.max_negative_ttl == 10.0


def test_addresses_and_names() -> None:
    config, said = read(
        ONE.replace("no-hosts\n", "")
        + "listen-address=127.0.0.1,::1\nport=5353\naddn-hosts=/etc/more\ndomain=lan\n"
        + 'host-record=nas,nas.lan,192.0.2.1,2001:db8::1\ntxt-record=t.lan,"some text"\n'
    )
    assert config.listen.addresses == ("127.0.0.1:5353", "[::1]:5353")
    assert config.hosts.files == ("/etc/hosts", "/etc/more")
    assert config.search.domains == ("lan",)
    assert config.hosts.records == {
        "nas": ("192.0.2.1", "2001:db8::1"),
        "nas.lan": ("192.0.2.1", "2001:db8::1"),
        "t.lan": ('"some text"',),
    }
    assert said == {}


def test_listening_everywhere_is_what_dnsmasq_does_by_itself() -> None:
    assert read(ONE)[0].listen.addresses == ("0.0.0.0:53", "[::]:53")


def test_policies_and_filters() -> None:
    two = ONE + "server=192.0.2.54\n"
    assert zones(read(two)[0])["."].policy == "equal"
    assert zones(read(two + "strict-order\n")[0])["."].policy == "ordered"
    assert zones(read(two + "all-servers\n")[0])["."].policy == "equal"
    assert zones(read(two + "filter-AAAA\n")[0])["."].drop_aaaa


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("local=/lan/", "lan is asked nowhere there"),
        ("server=//192.0.2.1", "names without a dot"),
        ("server=/a/192.0.2.1@eth0", "source address"),
        ("server=dns.example", "no IP address"),
        ("address=/ads/192.0.2.1", "only the name itself"),
        ("address=/ads/", "not denied here"),
        ("address=/*.ads/192.0.2.1", "wildcards"),
        ("host-record=nas,192.0.2.1,60", "30 s"),
        ("host-record=nas", "names no address"),
        ("txt-record=t,a,b", "one text"),
        ("domain=lan,192.0.2.0/24", "no setting here"),
        ("rev-server=10.0.0.0/99,192.0.2.1", "not carried over"),
        ("cache-size=0", "everything is cached"),
        ("cache-size=many", "is no number"),
        ("max-ttl=60", "asked for again"),
        ("port=0", "DNS is off there"),
        ("all-servers", "policy: equal"),
        ("dhcp-range=192.0.2.1,192.0.2.2", "stay with dnsmasq"),
        ("resolv-file=/run/x", "no-resolv stands"),
        ("resolv-file=x", "not a whole path"),
        ("listen-address=eth0", "no IP address"),
        ("conf-dir=/etc/dnsmasq.d", "were not read"),
        ("frobnicate", "no setting here"),
        ("frobnicate=1", "no setting here"),
    ],
)
def test_what_is_other_is_said(line: str, words: str) -> None:
    assert words in read(f"{ONE}{line}\n")[1][line]


@pytest.mark.parametrize("name", dnsmasq.REMARKS)
def test_every_option_with_a_remark_gets_it(name: str) -> None:
    assert read(f"{ONE}{name}\n")[1][name] == dnsmasq.REMARKS[name] or name == "local"


def test_nobody_to_ask() -> None:
    with pytest.raises(ConfigError, match=r"^dnsmasq\.conf: nobody to ask: write server=192\.0\.2\.53"):
        read("no-resolv\n")


values = st.from_regex(r"[a-z0-9/.,:#@-]{0,20}", fullmatch=True)
lines = st.tuples(
    st.sampled_from(
        [*dnsmasq.REMARKS, "server", "local", "address", "rev-server", "host-record", "txt-record", "port", "max-ttl"]
    )
    | st.from_regex(r"[a-z][a-z-]{0,12}", fullmatch=True),
    values,
).map(lambda pair: f"{pair[0]}={pair[1]}")


@given(lines)
def test_nothing_is_lost(line: str) -> None:
    """A line changes the configuration, or is in a note; a port that is the usual one changes nothing."""
    try:
        config, said = read(f"{ONE}{line}\n")
    except ConfigError:
        return
    assert config != read(ONE)[0] or line in said or (line.startswith("port=") and int(line[5:]) == 53)


@settings(max_examples=40)
@given(st.lists(lines, max_size=8))
def test_what_is_written_loads(tmp_path_factory: pytest.TempPathFactory, written: list[str]) -> None:
    """And every note is in a comment, whatever it holds."""
    text = ONE + "\n".join(written) + "\n"
    try:
        made = yaml_of(tmp_path_factory.getbasetemp(), text, kind=Kind.DNSMASQ)
    except ConfigError:
        return
    assert config_of(made) == read(text)[0]
    assert all(f'"{line}"' in comments(made) for line in read(text)[1])
