"""What is answered without asking anybody, in the order of the wire; dnspython reads every response as a second opinion."""

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.serving.policy import Ruling, not_in_memory, not_permitted, ruling_on
from forwarder.wire.message import Query, parse_query
from tests.lab.clients import extended_errors, query
from tests.lab.kitchen import Kitchen

OUR_SIZE = 1232
OPT = b"\0\0\x29\x10\0\0\0\0\0\0\0"


def raw(qtype: int, qclass: int = 1, *, opts: bytes = b"", identity: int = 7, flags: int = 0x0100) -> Query:
    """A query for `Some.Test.`; `opts`: as many OPT records as are in it."""
    header = b"".join(value.to_bytes(2) for value in (identity, flags, 1, 0, 0, len(opts) // len(OPT)))
    return parse_query(header + b"\x04Some\x04Test\0" + qtype.to_bytes(2) + qclass.to_bytes(2) + opts)


def ruling(question: Query) -> Ruling:
    found = ruling_on(question, OUR_SIZE)
    assert found is not None
    return found


def read(found: Ruling, question: Query) -> dns.message.Message:
    """The message, which is a response to this query and says what the ruling says."""
    message = dns.message.from_wire(found.message)
    assert message.id == question.id
    assert message.opcode() == dns.opcode.QUERY
    assert message.flags & (dns.flags.QR | dns.flags.RA) == dns.flags.QR | dns.flags.RA
    assert not message.flags & (dns.flags.AA | dns.flags.TC | dns.flags.AD)
    assert bool(message.flags & dns.flags.RD) == bool(question.flags & dns.flags.RD)
    assert message.rcode() == found.rcode
    assert (message.edns >= 0) == question.has_edns
    assert found.message[12 : 12 + len(question.question)] == question.question, "spelling and all"
    return message


@given(qtype=st.integers(1, 248) | st.integers(256, 65535), has_edns=st.booleans())
def test_types_of_records_are_answered_like_any_other(qtype: int, *, has_edns: bool) -> None:
    assert ruling_on(raw(qtype, opts=OPT if has_edns else b""), OUR_SIZE) is None


@given(qtype=st.integers(1, 248) | st.integers(256, 65535))
def test_and_so_they_are_by_the_recipe(qtype: int) -> None:
    octets = b"\0\7\1\0\0\1\0\0\0\0\0\0\4Some\4Test\0" + qtype.to_bytes(2) + b"\0\1"
    kitchen = Kitchen()
    kitchen.take(octets)
    assert [question.qtype for question, _ in kitchen.upstream.asked] == [qtype]


@pytest.mark.parametrize("qtype", range(249, 255))
def test_transfers_and_transactions_are_refused(qtype: int) -> None:
    question = raw(qtype, opts=OPT)
    message = read(ruling(question), question)
    assert message.rcode() == dns.rcode.REFUSED
    assert [code for code, _ in extended_errors(message)] == [21]


@pytest.mark.parametrize("opts", [b"", OPT])
def test_any_is_answered_with_hinfo(opts: bytes) -> None:
    question = raw(255, opts=opts)
    message = read(ruling(question), question)
    assert message.rcode() == dns.rcode.NOERROR
    (rrset,) = message.answer
    assert rrset.rdtype == dns.rdatatype.HINFO
    assert rrset.name.to_text() == "Some.Test."
    assert rrset[0].to_text() == '"RFC8482" ""'
    assert rrset.ttl > 0


@given(st.integers(0, 65535).filter(lambda qclass: qclass != 1), st.integers(1, 65535))
def test_every_class_but_in_is_refused_whatever_the_type(qclass: int, qtype: int) -> None:
    question = raw(qtype, qclass, opts=OPT)
    found = ruling(question)
    assert found.rcode == dns.rcode.REFUSED
    assert found.message[12:].startswith(question.question)


def test_refusal_of_a_class_says_why() -> None:
    question = raw(16, dns.rdataclass.CH, opts=OPT)
    assert extended_errors(read(ruling(question), question)) == [(21, "only class IN is served")]


@pytest.mark.parametrize("flags", [0x0000, 0x0100, 0x0110])
def test_rd_and_cd_come_back_as_they_went(flags: int) -> None:
    question = raw(252, flags=flags)
    assert read(ruling(question), question).flags & 0x0110 == flags


def test_two_opts_are_a_format_error_before_class_and_type_are_looked_at() -> None:
    for qtype, qclass in ((1, 1), (1, 3), (252, 1), (255, 1)):
        question = raw(qtype, qclass, opts=OPT + OPT)
        assert read(ruling(question), question).rcode() == dns.rcode.FORMERR


def test_a_later_edns_version_is_told_ours_before_class_and_type_are_looked_at() -> None:
    version_1 = OPT[:6] + b"\x01" + OPT[7:]
    for qtype, qclass in ((1, 1), (1, 3), (252, 1), (255, 1)):
        question = raw(qtype, qclass, opts=version_1)
        message = read(ruling(question), question)
        assert message.rcode() == dns.rcode.BADVERS
        assert message.edns == 0


def test_opt_says_our_size_and_their_do() -> None:
    question = parse_query(query("a.test.", "AXFR", dnssec=True).to_wire())
    message = read(ruling(question), question)
    assert message.payload == OUR_SIZE
    assert message.ednsflags & dns.flags.DO


@pytest.mark.parametrize("opts", [b"", OPT])
def test_a_client_not_permitted_is_refused_and_told_so(opts: bytes) -> None:
    question = raw(1, opts=opts)
    message = read(not_permitted(question, OUR_SIZE), question)
    assert message.rcode() == dns.rcode.REFUSED
    assert extended_errors(message) == ([(18, "client is outside listen.allow")] if opts else [])


def test_without_rd_and_not_in_memory_is_refused_and_told_so() -> None:
    question = raw(1, opts=OPT, flags=0)
    message = read(not_in_memory(question, OUR_SIZE), question)
    assert message.rcode() == dns.rcode.REFUSED
    assert [code for code, _ in extended_errors(message)] == [20]
