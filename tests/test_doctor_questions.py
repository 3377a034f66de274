"""The doctor's queries, read by dnspython; responses to them, well-formed and hostile."""

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.doctor import questions
from forwarder.doctor.facts import Reply
from forwarder.doctor.questions import Asked, reply_to

NAME = "www.example.test."


def asked() -> Asked:
    return questions.edns_query(NAME, "A", 0x1234)


def response(*records: str, flags: int = dns.flags.QR | dns.flags.RA, additional: bytes = b"", count: int = 0) -> bytes:
    """A response to `asked`, with this behind it."""
    made = dns.message.make_response(dns.message.from_wire(questions.plain_query(NAME, "A", 0x1234).message))
    made.flags = dns.flags.Flag(flags)
    made.answer = [dns.rrset.from_text(NAME, 60, "IN", *record.split(" ", 1)) for record in records]
    wire = made.to_wire()
    return wire[:10] + count.to_bytes(2, "big") + wire[12:] + additional


OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def test_queries_are_what_they_should_be() -> None:
    plain = dns.message.from_wire(questions.plain_query(NAME, "AAAA", 7).message)
    assert (plain.id, plain.edns, plain.question[0].to_text()) == (7, -1, f"{NAME} IN AAAA")
    assert plain.flags == dns.flags.RD
    edns = dns.message.from_wire(questions.edns_query(".", "NS", 7, do=True).message)
    assert (edns.edns, edns.payload, edns.ednsflags) == (0, 1232, dns.flags.DO)
    option = dns.message.from_wire(questions.option_query(NAME, "A", 7).message)
    assert [int(one.otype) for one in option.options] == [questions.UNKNOWN_OPTION]
    version = questions.version_query(NAME, "A", 7).message
    assert dns.message.from_wire(version).edns == 1
    assert asked().shown == f"A {NAME}"


def test_what_a_good_response_says() -> None:
    message = response("A 192.0.2.7", "A 192.0.2.6", additional=OPT, count=1)
    assert questions.is_response_to(asked(), message)
    assert reply_to(asked(), message, 0.0012345678) == Reply(
        question=f"A {NAME}", seconds=0.001235, octets=len(message), addresses=("192.0.2.6", "192.0.2.7"), ttl=60, opts=1
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (response(flags=dns.flags.QR), {"is_lame": True}),
        (response(flags=dns.flags.QR | dns.flags.TC | dns.flags.RA), {"is_truncated": True}),
        (response(flags=dns.flags.QR | 5), {"rcode": 5}),
        (response(additional=OPT * 2, count=2), {"opts": 2}),
        (response(additional=b"\xc0\x0c" + OPT[1:], count=1), {"opts": 0, "is_opt_misplaced": True}),
        (response(additional=OPT[:5] + b"\x01" + OPT[6:], count=1), {"rcode": 16, "opts": 1}),
        (response(additional=OPT[:9] + b"\0\x04\xfd\xe9\0\0", count=1), {"options": (0xFDE9,)}),
        (
            response(additional=OPT[:9] + b"\0\x0a\0\x0f\0\x06\0\x16odd\xff", count=1),
            {"reason": 22, "note": "odd", "options": (15,)},
        ),
        (
            response(additional=OPT[:9] + b"\0\x08\0\x0a\0\x20abcd", count=1),
            {"flaw": "an EDNS option runs past the end of OPT"},
        ),
        (response(additional=OPT[:9] + b"\0\x08", count=1), {"flaw": "RDATA runs past the end"}),
        (response("TXT hello"), {"addresses": (), "ttl": 60}),
        (response("RRSIG NS 8 0 60 20270201000000 20270101000000 1 . AAAA"), {"signed": (1798761600, 1801440000)}),
    ],
)
def test_what_is_seen_in_a_response(message: bytes, expected: dict[str, object]) -> None:
    reply = reply_to(asked(), message, 0.001)
    assert {name: getattr(reply, name) for name in expected} == expected


@pytest.mark.parametrize(
    "message", [b"", response()[:11], b"\x00\x00" + response()[2:], response(flags=0), response().replace(b"www", b"wwx")]
)
def test_what_is_no_response(message: bytes) -> None:
    assert not questions.is_response_to(asked(), message)


@given(st.binary(max_size=200), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_octets_behind_the_question_never_raise(behind: bytes, answers: int, additional: int) -> None:
    head = response()
    message = head[:6] + answers.to_bytes(2, "big") + head[8:10] + additional.to_bytes(2, "big") + head[12:] + behind
    reply = reply_to(asked(), message, 0.0)
    assert reply.note.isascii()
    assert reply.flaw.isascii()


def test_a_failure_without_a_question_counts() -> None:
    bare = asked().message[:2] + b"\x80\x01" + bytes(8)
    assert questions.is_response_to(asked(), bare)
    assert reply_to(asked(), bare, 0.1).rcode == 1


def test_the_daemon_is_known_by_its_refusal() -> None:
    assert questions.is_our_refusal(Reply(question="", rcode=5, reason=21, note="only class IN is served"))
    assert not questions.is_our_refusal(Reply(question="", rcode=5, reason=21, note="something else"))
