"""A dnsmasq.conf, given to dnsmasq and imported: both ask the same upstream for the same name, and answer alike."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import yaml

from tests.lab.behaviours import answer
from tests.lab.clients import Address, ask, query, rdatas
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.dnsmasq import ConfiguredDnsmasq
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

UPSTREAMS = ("everything", "corp", "deep", "other", "reverse")
CONF = """\
# a comment
no-resolv
no-hosts
server={everything}          # for what no line below names
server=/corp.test/{corp}
server=/deep.corp.test/{deep}
server=/other.test/another.test/{other}
server=/std.corp.test/#
rev-server=10.2.0.0/15,{reverse}
host-record=pinned.test,192.0.2.77
address=/wild.test/192.0.2.78
max-cache-ttl=60
cache-size=500
filter-AAAA
"""
NAMES = [
    *("www.test.", "corp.test.", "www.corp.test.", "a.b.corp.test.", "notcorp.test.", "WWW.Spelled.Corp.Test."),
    *("deep.corp.test.", "www.deep.corp.test.", "xdeep.corp.test.", "www.std.corp.test.", "other.test.", "x.another.test."),
    *("1.0.2.10.in-addr.arpa.", "1.9.3.10.in-addr.arpa.", "1.0.4.10.in-addr.arpa."),
]


@dataclass(frozen=True, slots=True)
class Both:
    """dnsmasq and the daemon by the same file, and whom they ask."""

    dnsmasq: Address
    daemon: Address
    upstreams: dict[str, ScriptedUpstream]

    def asked_by(self, server: Address, name: str) -> set[str]:
        """Who is asked when this server is asked for a name."""
        for upstream in self.upstreams.values():
            upstream.received.clear()
        ask(server, query(name))
        return {who for who, upstream in self.upstreams.items() if upstream.asked(name)}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both of them, serving."""
    file = tmp_path_factory.mktemp("dnsmasq") / "dnsmasq.conf"
    with ExitStack() as running:
        upstreams = {who: running.enter_context(ScriptedUpstream()) for who in UPSTREAMS}
        for number, upstream in enumerate(upstreams.values()):
            upstream.default = answer(f"@ 300 IN A 192.0.2.{number}")
        file.write_text(CONF.format(**{who: f"127.0.0.1#{upstream.port}" for who, upstream in upstreams.items()}))
        dnsmasq = running.enter_context(ConfiguredDnsmasq(("127.0.0.1", free_port()), file))
        done = run_to_end("import-corefile", str(file))
        assert (done.returncode, done.stderr) == (0, "")
        config = yaml.safe_load(done.stdout)
        assert config.pop("listen")
        daemon = running.enter_context(Daemon(yaml.safe_dump(config)))
        yield Both(dnsmasq.server, daemon.server, upstreams)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_upstream_is_asked(both: Both, name: str) -> None:
    by_dnsmasq = both.asked_by(both.dnsmasq, name)
    assert len(by_dnsmasq) == 1
    assert both.asked_by(both.daemon, name) == by_dnsmasq


@pytest.mark.parametrize("name", ["pinned.test.", "wild.test.", *NAMES[:3]])
def test_answers_are_alike(both: Both, name: str) -> None:
    assert rdatas(ask(both.daemon, query(name))) == rdatas(ask(both.dnsmasq, query(name))) != []


def test_no_answer_counts_longer_than_the_limit(both: Both) -> None:
    """dnsmasq cuts what it keeps: the second answer is from there."""
    for server in (both.dnsmasq, both.daemon):
        ask(server, query("limit.corp.test."))
        (found,) = ask(server, query("limit.corp.test.")).answer
        assert 57 <= found.ttl <= 60


def test_aaaa_is_empty(both: Both) -> None:
    for upstream in both.upstreams.values():
        upstream.on("six.corp.test.", answer("@ 300 IN AAAA 2001:db8::1"), qtype="AAAA")
    for server in (both.dnsmasq, both.daemon):
        assert rdatas(ask(server, query("six.corp.test.", "AAAA"))) == []


def test_names_below_an_address_are_said_to_differ(both: Both) -> None:
    """The one place where answers differ is the one that the comment names."""
    assert rdatas(ask(both.dnsmasq, query("below.wild.test."))) == ["192.0.2.78"]
    assert rdatas(ask(both.daemon, query("below.wild.test."))) == ["192.0.2.0"]
