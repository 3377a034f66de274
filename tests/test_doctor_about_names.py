"""What is said of names: those that fail, those that servers disagree about, and what the search path costs."""

import pytest

from forwarder.doctor.facts import Facts, NameSaid, Reply, SearchLook, Server
from tests.lab.facts import FILE, OURS, UPSTREAM, bare, config_of, finding, found, node, ours, reply, server, silence, upstream

NAME = "db.shop.test."
NODATA = reply(addresses=())
NXDOMAIN = reply(addresses=(), rcode=3)
OLD, NEW = (reply(f"A {NAME}", addresses=(address,), ttl=599) for address in ("172.18.0.5", "172.18.0.9"))


def said(a: Reply, aaaa: Reply = NODATA, name: str = NAME) -> NameSaid:
    return NameSaid(name=name, a=a, aaaa=aaaa)


def about(*names: NameSaid, asked: str = NAME, text: str = "") -> Facts:
    """A pod that asks one server about a name."""
    file = f"nameserver 192.0.2.53\n{text}\n"
    return bare(server(names=names), names=(asked,), resolv_conf=file)


@pytest.mark.parametrize(
    "one", [said(OLD), said(NXDOMAIN, NXDOMAIN), said(NODATA, reply(addresses=("fd00::1",))), said(OLD, OLD)]
)
def test_a_name_that_is_there_or_is_not(one: NameSaid) -> None:
    assert found(about(one)) == {}


@pytest.mark.parametrize(
    ("one", "identifier", "figure"),
    [
        (
            said(reply(f"A {NAME}", rcode=2, addresses=(), note="no response"), silence()),
            "name-fails",
            "SERVFAIL (no response) to A",
        ),
        (said(silence(), silence()), "name-fails", "nothing to A"),
        (said(silence(), NODATA), "name-fails", "nothing to A"),
        (said(OLD, reply(rcode=2, addresses=())), "aaaa-fails", "SERVFAIL to AAAA"),
        (said(OLD, silence()), "aaaa-fails", "nothing to AAAA"),
        (said(OLD, NXDOMAIN), "aaaa-denied", "NXDOMAIN to AAAA"),
        (said(OLD, reply(f"AAAA {NAME}", addresses=(), is_lame=True)), "lame-answers", f"AAAA {NAME}"),
    ],
)
def test_a_name_that_fails(one: NameSaid, identifier: str, figure: str) -> None:
    assert found(about(one)) == {identifier: "problem"}
    assert figure in finding(about(one), identifier).seen


def test_names_are_judged_until_one_is_found() -> None:
    first, last = "db.a.test.", "db."
    text, fails = "search a.test\noptions ndots:2", reply(rcode=2, addresses=())
    assert found(about(said(OLD, name=first), said(fails, fails, name=last), asked="db", text=text)) == {}
    assert "name-fails" in found(about(said(fails, fails, name=first), said(OLD, name=last), asked="db", text=text))


# ---------------------------------------------------------------------------------------------------------- agreement


def two(first: Reply, second: Reply) -> Facts:
    """Two nameservers."""
    return bare(server(names=(said(first),)), server("192.0.2.54:53", names=(said(second),)), names=(NAME,))


@pytest.mark.parametrize(
    ("first", "second"), [(OLD, OLD), (NXDOMAIN, NXDOMAIN), (NODATA, NXDOMAIN), (NODATA, OLD), (OLD, silence()),
        (reply(addresses=("10.0.0.1", "10.0.0.2")), reply(addresses=("10.0.0.2", "10.0.0.3")))]
)  # fmt: skip
def test_servers_that_agree(first: Reply, second: Reply) -> None:
    assert "servers-disagree" not in found(two(first, second))


@pytest.mark.parametrize(
    ("first", "second", "severity"),
    [
        (OLD, NEW, "problem"),
        (OLD, NXDOMAIN, "problem"),
        (reply(addresses=("93.184.0.1",)), reply(addresses=("93.184.0.2",)), "notice"),
    ],
)
def test_servers_that_disagree(first: Reply, second: Reply, severity: str) -> None:
    one = finding(two(first, second), "servers-disagree")
    assert one.severity == severity
    assert "192.0.2.54 says" in one.seen
    if first is OLD:
        assert "172.18.0.5 (for 599 s more)" in one.seen


def test_the_daemon_and_its_upstream() -> None:
    daemon, asked = ours(names=(said(OLD),)), upstream(names=(said(NEW),))
    facts = node(daemon, asked, names=(NAME,))
    assert found(facts) == {"servers-disagree": "problem"}
    assert f"forwarder flush {NAME}" in finding(facts, "servers-disagree").mend
    pinned = "{listen: {addresses: ['169.254.20.10:53']}, zones: [{zone: ., upstreams: [192.0.2.53]}], hosts: {%s}}"
    by_name, by_file = config_of(pinned % f"records: {{{NAME}: [172.18.0.5]}}"), config_of(pinned % "files: [/etc/hosts]")
    assert found(node(daemon, asked, names=(NAME,), config=by_name)) == {}
    assert found(node(daemon, asked, names=(NAME,), config=by_file)) == {"servers-disagree": "notice"}, "it may be pinned there"


# -------------------------------------------------------------------------------------------------------- search path

SEARCH = "search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"


def searching(one: Server, text: str = SEARCH) -> Facts:
    host = one.address.partition(":")[0]
    return bare(one, texts={FILE: f"nameserver {host}\n{text}"})


def looks(synthesised: int, denied: int = 8) -> tuple[SearchLook, ...]:
    domains = ("ns.svc.cluster.local.", "svc.cluster.local.", "cluster.local.")
    return tuple(SearchLook(domain=domain, asked=8, denied=denied, synthesised=synthesised) for domain in domains)


def test_a_search_path_that_nobody_bears() -> None:
    one = finding(searching(server(search=looks(0))), "search-path")
    assert one.severity == "problem"
    assert "api.example.com is 8 queries, 6 of them for names that do not exist (75%): ndots:5 and 3 search domains" in one.seen
    assert "none of 24 such names" in one.means


def test_a_search_path_that_the_daemon_bears_or_could() -> None:
    assert found(searching(server(OURS, is_ours=True, search=looks(1)))) == {}
    assert found(searching(server(UPSTREAM, search=looks(1)))) == {}, "whoever it is"
    facts = searching(server(OURS, is_ours=True, search=(*looks(1)[:2], looks(0)[2])))
    assert found(facts) == {"search-path": "notice"}
    assert "search: {domains: [cluster.local]}" in finding(facts, "search-path").mend


@pytest.mark.parametrize("text", ["search a.test\n", "options ndots:5\n", "search a.test\noptions ndots:2\n"])
def test_a_search_path_that_costs_a_name_of_the_world_nothing(text: str) -> None:
    assert found(searching(server(search=looks(0)), text)) == {}


def test_names_that_nobody_denied_prove_nothing() -> None:
    assert found(searching(server(search=looks(0, denied=0)))) == {}
