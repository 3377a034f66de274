"""Queries that are answered without asking anybody, and clients that are not answered at all.

Each such response still has the query's ID, RA=1 and AA=0, and the upstream hears nothing of it.
"""

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.lab.behaviours import answer
from tests.lab.clients import UdpClient, ask, ask_tcp, extended_errors, query, rdatas
from tests.lab.stage import Stage, staged

OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
NOT_AUTHORITATIVE = 20  # EDE


def raw_answer(stage: Stage, octets: bytes) -> bytes:
    """What the daemon says to octets that dnspython would not write."""
    with UdpClient(stage.server) as client:
        client.send(octets)
        response = client.receive_octets()
    assert response is not None
    return response


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_other_opcodes_are_not_implemented(stage: Stage, opcode: int) -> None:
    """IQUERY, STATUS, NOTIFY, UPDATE, DSO and the unassigned."""
    octets = query("opcode.answers.test").to_wire()
    response = raw_answer(stage, octets[:2] + bytes((octets[2] | opcode << 3,)) + octets[3:])
    assert response[:2] == octets[:2]
    assert response[2] & 0xF8 == 0x80 | opcode << 3
    assert response[3] & 15 == dns.rcode.NOTIMP
    assert response[3] & 0x80, "RA=1 in every response"


@pytest.mark.parametrize("count", [0, 2, 65535])
def test_another_number_of_questions_is_a_format_error(stage: Stage, count: int) -> None:
    """RFC 9619: a query has one question."""
    octets = query("count.answers.test").to_wire()
    body = octets[12:] * min(count, 2)
    response = raw_answer(stage, octets[:4] + count.to_bytes(2, "big") + octets[6:12] + body)
    assert response[:2] == octets[:2]
    assert response[3] & 15 == dns.rcode.FORMERR
    assert response[2] & 0x80
    assert response[3] & 0x80, "RA=1 in every response"


@pytest.mark.parametrize("transport", [ask, ask_tcp])
@pytest.mark.parametrize(
    ("qtype", "qclass"), [("TXT", "CH"), ("A", "HS"), ("A", "ANY"), ("A", "NONE"), ("AXFR", "IN"), ("IXFR", "IN")]
)
def test_other_classes_and_transfers_are_refused(stage: Stage, qtype: str, qclass: str, transport: object) -> None:
    """Over UDP and over TCP."""
    assert callable(transport)
    response = transport(stage.server, dns.message.make_query("version.bind", qtype, qclass))
    assert response.rcode() == dns.rcode.REFUSED
    assert response.flags & dns.flags.RA
    assert not response.flags & dns.flags.AA
    assert response.question[0].name.to_text() == "version.bind."


def test_any_is_answered_with_hinfo(stage: Stage) -> None:
    """RFC 8482 section 4.2: a synthesised HINFO, nobody asked."""
    for response in (stage.ask("any.answers.test", "ANY"), stage.ask_tcp("any.answers.test", "ANY")):
        assert response.rcode() == dns.rcode.NOERROR
        assert rdatas(response) == ['"RFC8482" ""']
    assert stage.upstream.asked("any.answers.test") == []


def test_clients_that_are_not_allowed() -> None:
    """REFUSED over TCP, silence over UDP (an answer would go to whoever was forged as sender); counted."""
    with staged("listen: {allow: [192.0.2.0/24]}") as stage:
        stage.upstream.on("secret.answers.test", answer("@ 300 IN A 192.0.2.1"))
        assert stage.ask_tcp("secret.answers.test").rcode() == dns.rcode.REFUSED
        with UdpClient(stage.server) as client:
            client.send(query("secret.answers.test"))
            assert client.receive(seconds=0.5) is None
        assert stage.upstream.received == []
        assert stage.daemon.metric("forwarder_refused_clients_total") >= 2


def test_a_later_version_of_edns_is_badvers(stage: Stage) -> None:
    """RFC 6891 section 6.1.3: BADVERS, and the version that we speak."""
    message = dns.message.make_query("version.answers.test", "A", use_edns=1)
    response = ask(stage.server, message)
    assert response.rcode() == dns.rcode.BADVERS
    assert response.edns == 0
    assert stage.upstream.asked("version.answers.test") == []


def test_two_opt_records_are_a_format_error(stage: Stage) -> None:
    """RFC 6891 section 6.1.1: more than one OPT, FORMERR MUST be returned."""
    octets = query("opts.answers.test", payload=1232).to_wire()
    response = raw_answer(stage, octets[:10] + b"\x00\x02" + octets[12:] + OPT)
    assert response[:2] == octets[:2]
    assert response[3] & 15 == dns.rcode.FORMERR
    assert stage.upstream.asked("opts.answers.test") == []


def test_without_recursion_desired_nobody_is_asked(stage: Stage) -> None:
    """RD=0 for a name not in memory: REFUSED with EDE 20, and the upstream hears nothing."""
    stage.upstream.on("rd0.answers.test", answer("@ 300 IN A 192.0.2.1"))
    message = query("rd0.answers.test", payload=1232)
    message.flags &= ~dns.flags.RD
    response = ask(stage.server, message)
    assert response.rcode() == dns.rcode.REFUSED
    assert [code for code, _ in extended_errors(response)] == [NOT_AUTHORITATIVE]
    assert stage.upstream.asked("rd0.answers.test") == []
