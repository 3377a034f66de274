"""Whose word counts: forged, mangled and misdirected responses, and how we ask so that forging is hard.

A response that is not the one to our query is counted and waited past; the client hears the true one (RFC 5452 section 9).
"""

from collections.abc import Callable
from itertools import pairwise

import dns.message
import dns.rcode
import pytest

from tests.lab.behaviours import (
    TRUTH,
    Behaviour,
    Received,
    addresses,
    answer,
    both,
    by_transport,
    compression_loop,
    edns_ignored,
    garbage,
    in_turn,
    late,
    lower_cased,
    query_bit,
    sized,
    truncate,
    truncated_records,
    two_opts,
    wrong_case,
    wrong_id,
    wrong_port,
    wrong_question,
    wrong_type,
)
from tests.lab.clients import TcpClient, UdpClient, query, rdatas
from tests.lab.patience import wait_for
from tests.lab.stage import Stage, staged

FORGERY = answer("@ 300 IN A 203.0.113.66")


def forged_first(forgery: Behaviour) -> Behaviour:
    """Over UDP the forgery, a moment later the truth; over TCP, where nobody forges, the truth."""
    return by_transport(udp=both(forgery, late(0.05, TRUTH)), tcp=TRUTH)


@pytest.mark.parametrize("forge", [wrong_id, wrong_question, wrong_type, query_bit, lambda _: garbage])
def test_a_response_that_does_not_match_is_counted_and_waited_past(
    stage: Stage, forge: Callable[[Behaviour], Behaviour], request: pytest.FixtureRequest
) -> None:
    """Wrong ID, wrong name, wrong type, QR=0, or noise behind the right ID."""
    name = f"forged{request.node.callspec.indices['forge']}.matching.test"
    before = stage.daemon.metric("forwarder_mismatched_responses_total", upstream=stage.upstream.address)
    stage.upstream.on(name, forged_first(forge(FORGERY)))
    assert rdatas(stage.ask(name)) == ["192.0.2.1"]
    assert rdatas(stage.ask(name)) == ["192.0.2.1"]
    after = stage.daemon.metric("forwarder_mismatched_responses_total", upstream=stage.upstream.address)
    assert after == before + 1


def test_a_response_from_another_port_is_never_heard(stage: Stage) -> None:
    """The socket is connected: the kernel keeps it from us."""
    stage.upstream.on("port.matching.test", by_transport(udp=both(wrong_port(FORGERY), late(0.05, TRUTH)), tcp=TRUTH))
    assert rdatas(stage.ask("port.matching.test")) == ["192.0.2.1"]


def test_the_spelling_counts_once_the_upstream_has_shown_that_it_keeps_it() -> None:
    """0x20: after three echoes a response in another spelling is a forgery."""
    with staged() as stage:
        stage.upstream.on("*.echo.matching.test", TRUTH)
        for number in range(4):
            assert rdatas(stage.ask(f"n{number}.echo.matching.test")) == ["192.0.2.1"]
        stage.upstream.on("spelling.matching.test", forged_first(wrong_case(FORGERY)))
        assert rdatas(stage.ask("spelling.matching.test")) == ["192.0.2.1"]
        assert stage.daemon.metric("forwarder_mismatched_responses_total") == 1


def test_an_upstream_that_lower_cases_is_not_punished() -> None:
    """Every name is answered at the first try, nothing is counted, and the client still sees its own spelling."""
    with staged() as stage:
        stage.upstream.on("*.lower.matching.test", lower_cased(TRUTH))
        for number in range(10):
            response = stage.ask(f"LongEnough{number}.Lower.Matching.Test")
            assert rdatas(response) == ["192.0.2.1"]
            assert response.question[0].name.to_text() == f"LongEnough{number}.Lower.Matching.Test."
        assert len(stage.upstream.received) == 10
        assert stage.daemon.metric("forwarder_mismatched_responses_total") == 0


@pytest.mark.parametrize("mangle", [truncated_records, lambda _: compression_loop])
def test_a_mangled_response_never_reaches_the_client(mangle: Callable[[Behaviour], Behaviour]) -> None:
    """Ours by address, ID and question, but its records cannot be read: asked again, or SERVFAIL; never passed on."""
    with staged() as stage:
        stage.upstream.on("mangled.matching.test", in_turn(mangle(FORGERY), TRUTH))
        response = stage.ask("mangled.matching.test")
        expected = ["192.0.2.1"] if response.rcode() == dns.rcode.NOERROR else []
        assert rdatas(response) == expected
        assert response.rcode() in {dns.rcode.NOERROR, dns.rcode.SERVFAIL}
        assert stage.daemon.metric("forwarder_workers_restarted_total") == 0


def test_two_opt_records_from_upstream_do_no_harm(stage: Stage) -> None:
    """The client's answer has one OPT or none, as it asked."""
    stage.upstream.on("opts.matching.test", in_turn(two_opts(TRUTH), TRUTH))
    for payload, edns in ((1232, 0), (None, -1)):
        response = stage.ask("opts.matching.test", payload=payload)
        assert response.edns == edns
        assert rdatas(response) in ([], ["192.0.2.1"])


def test_an_upstream_that_ignores_edns(stage: Stage) -> None:
    """It answers without OPT; the client that sent one gets one."""
    stage.upstream.on("plain.matching.test", edns_ignored(TRUTH))
    response = stage.ask("plain.matching.test", payload=1232)
    assert (rdatas(response), response.edns) == (["192.0.2.1"], 0)


def test_a_truncated_response_is_fetched_over_tcp(stage: Stage) -> None:
    """TC=1, with some records or none: the same question over TCP, and the whole answer counts."""
    stage.upstream.on("empty.matching.test", sized(answer(*addresses(180))))
    stage.upstream.on("partial.matching.test", by_transport(udp=truncate(answer(*addresses(10))), tcp=answer(*addresses(180))))
    for name in ("empty.matching.test", "partial.matching.test"):
        assert len(rdatas(stage.ask_tcp(name))) == 180
        assert [received.transport for received in stage.upstream.asked(name)] == ["udp", "tcp"]


# --- how we ask ------------------------------------------------------------------------------------------------------


def ask_pairs(stage: Stage, zone: str, count: int) -> list[Received]:
    """A and AAAA of so many names at once from one socket, as resolvers send them; what the upstream saw of it."""
    stage.upstream.on(f"*.{zone}", late(0.02, answer("@ 300 IN A 192.0.2.1")), qtype="A")
    stage.upstream.on(f"*.{zone}", late(0.02, answer("@ 300 IN AAAA 2001:db8::1")), qtype="AAAA")
    wanted = {(f"host{number}.{zone}.", qtype) for number in range(count) for qtype in ("A", "AAAA")}
    with UdpClient(stage.server) as client:
        for name, qtype in sorted(wanted):
            client.send(query(name, qtype))
        for _ in range(len(wanted)):
            response = client.receive()
            assert response is not None
            assert len(rdatas(response)) == 1
    received = [one for one in stage.upstream.received if one.name.lower().endswith(f".{zone}.")]
    assert {(one.name.lower(), one.qtype) for one in received} == wanted
    return received


@pytest.fixture(scope="module")
def pairs(stage: Stage) -> list[Received]:
    """Sixty pairs, all over UDP."""
    return ask_pairs(stage, "pairs.matching.test", 60)


def test_every_question_of_the_pairs_is_asked_once(pairs: list[Received]) -> None:
    """Two queries for each name, no repetition."""
    assert len(pairs) == 120
    assert {received.transport for received in pairs} == {"udp"}


def test_a_and_aaaa_never_share_a_port(pairs: list[Received]) -> None:
    """What the conntrack race and glibc's single socket are about."""
    ports: dict[str, set[int]] = {}
    for received in pairs:
        ports.setdefault(received.name.lower(), set()).add(received.port)
    assert all(len(both_ports) == 2 for both_ports in ports.values())


def test_one_query_in_flight_on_one_port(pairs: list[Received]) -> None:
    """A port carries the next query only after the response to the one before; at most 16 in all."""
    by_port: dict[int, list[Received]] = {}
    for received in pairs:
        by_port.setdefault(received.port, []).append(received)
    for carried in by_port.values():
        assert len(carried) <= 16
        for earlier, later in pairwise(carried):
            assert earlier.answered_at is not None
            assert earlier.answered_at <= later.at


def test_ids_and_ports_cannot_be_guessed(pairs: list[Received]) -> None:
    """No ID twice but by chance, no order in either; spelling is random too."""
    ids = [received.message.id for received in pairs]
    assert len(set(ids)) >= len(ids) - 5
    assert ids != sorted(ids)
    steps = {later - earlier for earlier, later in pairwise(ids)}
    assert len(steps) > len(ids) // 2, "IDs that count up can be guessed"
    ports = [received.port for received in pairs]
    assert len(set(ports)) >= 8
    spelled = {received.name for received in pairs}
    assert len(spelled) > 60, "A and AAAA of one name are hardly ever spelled alike"
    assert sum(name not in (name.lower(), name.upper()) for name in spelled) >= len(spelled) - 2


def test_without_case_randomisation_the_name_goes_out_as_it_is() -> None:
    """`case_randomisation: off`."""
    with staged(zone="case_randomisation: 'off'") as stage:
        stage.upstream.on("*.matching.test", TRUTH)
        for number in range(5):
            assert rdatas(stage.ask(f"asitis{number}.matching.test")) == ["192.0.2.1"]
        assert {received.name for received in stage.upstream.received} == {f"asitis{n}.matching.test." for n in range(5)}


# --- coalescing ------------------------------------------------------------------------------------------------------


def test_fifty_askers_one_query() -> None:
    """Fifty clients miss on one question while it is in progress, over UDP and TCP, in any spelling: asked once.

    On a stage of its own: an upstream that is known to answer within a millisecond is asked again sooner.
    """
    with staged() as stage:
        ask_fifty_times(stage)


def ask_fifty_times(stage: Stage) -> None:
    name = "coalesced.matching.test"
    stage.upstream.on(name, late(0.2, TRUTH))
    before = stage.daemon.metric("forwarder_coalesced_total")
    spellings = [name.upper() if number % 2 else name.title() for number in range(50)]
    datagrams = [UdpClient(stage.server) for _ in range(40)]
    streams = [TcpClient(stage.server) for _ in range(10)]
    clients: list[UdpClient | TcpClient] = [*datagrams, *streams]
    queries = [query(spelling) for spelling in spellings]
    for client, message in zip(clients, queries, strict=True):
        client.send(message)
    responses: list[dns.message.Message | None] = []
    for client in clients:
        with client:
            responses.append(client.receive())
    for response, message in zip(responses, queries, strict=True):
        assert response is not None
        assert (response.id, rdatas(response)) == (message.id, ["192.0.2.1"])
        assert response.question[0].name.to_text() == message.question[0].name.to_text()
    assert len(stage.upstream.asked(name)) == 1
    wait_for(lambda: stage.daemon.metric("forwarder_coalesced_total") == before + 49, "forty-nine are counted as waiting")
