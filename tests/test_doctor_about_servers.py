"""What is said of how servers answer, and that nothing is said of one that answers well."""

import pytest

from forwarder.doctor.facts import Facts, Server
from forwarder.doctor.questions import UNKNOWN_OPTION
from tests.lab.facts import OURS, bare, config_of, finding, found, node, ours, pairs, reply, server, silence, silent, upstream

ALL_LOST = pairs(lost_a=24, lost_aaaa=24)


def test_one_that_answers_well() -> None:
    assert found(bare(server())) == {}
    assert found(bare(server(edns=reply(), option=reply(), version=reply()))) == {}, "who ignores EDNS harms nobody"
    assert found(bare(server(version=reply(opts=1)))) == {}, "nor does who answers version 1 as 0"


@pytest.mark.parametrize(
    ("bad", "identifier", "figure"),
    [
        (silent(), "server-silent", "none of 102 queries"),
        (silent(plain=(silence(error="Connection refused"),) * 2), "server-silent", "(Connection refused)"),
        (server(together=pairs(halves=24, lost_aaaa=24)), "pair-lost", "24 of 24 pairs"),
        (server(together=pairs(halves=10, lost_aaaa=10), apart=pairs(lost_a=1)), "pair-lost", "of 48 queries"),
        (server(together=pairs(halves=4, lost_a=4), apart=pairs(lost_a=5)), "answers-lost", "9 of 96 queries"),
        (server(together=pairs(halves=2, lost_a=2)), "answers-lost", "2 of 96 queries"),
        (
            server(together=pairs(halves=24, lost_aaaa=24), apart=pairs(lost_aaaa=24)),
            "aaaa-silent",
            "24 of 24 A queries and 0 AAAA",
        ),
        (server(edns=silence(), option=silence(), version=silence()), "edns-broken", "met with silence"),
        (server(edns=reply(rcode=1, addresses=())), "edns-broken", "FORMERR"),
        (server(edns=reply(rcode=4, addresses=())), "edns-broken", "NOTIMP"),
        (server(edns=reply(opts=2)), "edns-broken", "2 OPT records"),
        (server(edns=reply(is_opt_misplaced=True)), "edns-broken", "in another section"),
        (server(edns=reply(flaw="RDATA runs past the end")), "edns-broken", "RDATA runs past the end"),
        (server(option=reply(opts=1, options=(UNKNOWN_OPTION,))), "edns-broken", "option comes back"),
        (server(option=silence()), "edns-broken", "an option it does not know is met with silence"),
        (server(version=reply()), "edns-broken", "BADVERS is due"),
        (server(edns=reply(), version=reply(addresses=())), "edns-broken", "BADVERS is due"),
        (server(plain=(reply(), reply(octets=1600))), "size-ignored", "1600 octets"),
        (server(plain=(reply(is_truncated=True),) * 2, tcp=silence(error="refused")), "truncates", "each of 2 answers"),
        (server(large=silence("NS .")), "large-lost", "1097 octets"),
        (server(plain=(reply(rcode=5), reply(rcode=5))), "server-refuses", "2 of 2"),
        (server(plain=(reply(is_lame=True), reply(is_lame=True))), "lame-answers", "nothing at all"),
    ],
)
def test_what_clients_suffer_from_is_a_problem_and_behind_the_daemon_a_notice(
    bad: Server, identifier: str, figure: str
) -> None:
    one = finding(bare(bad), identifier)
    assert one.severity == "problem"
    assert figure in one.seen
    assert "192.0.2.53" in one.seen
    assert found(bare(ours("nameserver"), bad))[identifier] == "notice"


@pytest.mark.parametrize(
    ("bad", "identifier", "figure"),
    [
        (server(together=pairs(lost_a=1, halves=1)), "answers-lost", "1 of 96"),
        (server(plain=(reply(is_truncated=True),) * 2), "truncates", "answers over TCP"),
        (server(tcp=silence(error="Connection refused")), "tcp-refused", "Connection refused"),
        (server(plain=(reply("SOA .", rcode=2), reply())), "world-fails", "SOA ."),
        (server(apart=pairs(slowest=0.9)), "server-slow", "0.90 s"),  # type: ignore[arg-type]  # a float among counts
    ],
)
def test_what_is_worth_knowing(bad: Server, identifier: str, figure: str) -> None:
    assert found(bare(bad)) == {identifier: "notice"}
    assert figure in finding(bare(bad), identifier).seen


def test_an_upstream_of_one_zone_that_fails() -> None:
    fails = reply("SOA a.test.", rcode=2, addresses=())
    bad = server("192.0.2.54:53", "upstream", zones=("a.test",), plain=(fails, fails))
    one = finding(node(ours(), upstream(), bad), "world-fails")
    assert one.severity == "notice"
    assert one.means == "names of the zone that it is asked about fail there"


def test_a_race_is_told_from_loss_by_what_gets_lost_alone() -> None:
    lossy = server(together=pairs(halves=6, lost_a=3, lost_aaaa=3), apart=pairs(lost_a=3, lost_aaaa=3))
    assert found(bare(lossy)) == {"answers-lost": "problem"}


def test_a_silent_server_is_called_nothing_else() -> None:
    assert found(bare(silent())) == {"server-silent": "problem"}


def test_a_large_answer_proves_nothing_where_tcp_has_none_or_edns_is_unknown() -> None:
    assert "large-lost" not in found(bare(server(large=silence(), large_tcp=reply(octets=100))))
    assert "large-lost" not in found(bare(server(large=silence(), edns=silence())))


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_an_upstream_over_streams_is_judged_by_them(transport: str) -> None:
    good = silent(tcp=reply(), transport=transport, roles=("upstream",), zones=(".",))
    assert found(node(ours(), good)) == {}
    told = found(node(ours(), silent(transport=transport, roles=("upstream",), zones=(".",))))
    assert told == {"server-silent": "notice", "zone-unanswered": "problem"}


def facts_of_a_zone(*upstreams: Server) -> Facts:
    addresses = ", ".join(one.address for one in upstreams)
    config = config_of(f"{{listen: {{addresses: ['{OURS}']}}, zones: [{{zone: ., upstreams: [{addresses}]}}]}}")
    return node(ours(), *upstreams, config=config)


def test_a_zone_without_an_upstream_that_answers_is_a_problem_though_the_daemon_stands_before() -> None:
    dead, alive = silent(roles=("upstream",), zones=(".",)), server("192.0.2.54:53", "upstream", zones=(".",))
    assert found(facts_of_a_zone(dead, alive)) == {"server-silent": "notice"}
    assert found(facts_of_a_zone(dead))["zone-unanswered"] == "problem"
    assert found(facts_of_a_zone(upstream())) == {}
