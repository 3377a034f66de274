"""Queries of clients, read as dnspython and dnslib mean them; responses of ours, read by both; what matches what."""

import contextlib
import struct

import dns.edns
import dns.flags
import dns.message
import dns.rdataclass
import dns.rdatatype
import dnslib
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forwarder.errors import WireError
from forwarder.wire.edns import ExtendedError, opt_record
from forwarder.wire.message import (
    AD,
    CD,
    OUR_UDP_SIZE,
    QR,
    RA,
    RD,
    TC,
    Match,
    Qtype,
    Rcode,
    bare_response,
    is_truncated,
    match_for,
    own_response,
    parse_query,
    query_for_upstream,
)  # fmt: skip
from tests.lab.messages import HEADER, dnspython_name, names, query, raw_message, raw_record, read, work_of

QUESTION = b"\3wWw\7example\0\0\x01\0\x01"
COOKIE = b"\0\x0a\0\x08cookie!!"
shorts = st.integers(0, 0xFFFF)
query_flags = st.sampled_from([0, RD, RD | CD, RD | AD, RD | AD | CD, TC, 0x0440])
questions = st.tuples(names, shorts, shorts).map(lambda parts: parts[0] + struct.pack("!HH", *parts[1:]))
opts = st.builds(
    lambda size, do, options: opt_record(size, do=do, options=options),
    shorts,
    st.booleans(),
    st.sampled_from([b"", b"", COOKIE]),
)
queries = st.builds(
    lambda identity, flags, question, opt: HEADER.pack(identity, flags, 1, 0, 0, 1 if opt else 0) + question + opt,
    shorts, query_flags, questions, st.one_of(st.just(b""), opts),
)  # fmt: skip


def refused_with(message: bytes) -> int | None:
    with pytest.raises(WireError) as refusal:
        parse_query(message)
    return refusal.value.rcode


# ------------------------------------------------------------------------------------------------------- queries, whole


@given(names, shorts, st.sampled_from([1, 3, 4, 255]), query_flags, st.one_of(st.none(), st.tuples(st.booleans(), shorts)))
def test_a_query_of_dnspython_is_read(name: bytes, qtype: int, qclass: int, flags: int, edns: tuple[bool, int] | None) -> None:
    asked = dns.message.make_query(
        dnspython_name(name), dns.rdatatype.RdataType.make(qtype), dns.rdataclass.RdataClass.make(qclass), id=0x4711
    )
    asked.flags = dns.flags.Flag(flags)
    if edns:
        asked.use_edns(0, dns.flags.DO if edns[0] else 0, edns[1])
    wire = asked.to_wire()
    found = parse_query(wire)
    question = name + struct.pack("!HH", qtype, qclass)
    assert (found.id, found.flags, found.question, found.rcode) == (0x4711, flags, question, Rcode.NOERROR)
    assert (found.name, found.qtype, found.qclass) == (name.lower(), qtype, qclass)
    assert (found.has_edns, found.do) == (bool(edns), bool(edns and edns[0]))
    assert found.udp_size == (max(edns[1], 512) if edns else 512)
    assert found.is_plain


@given(name=names, do=st.booleans(), size=st.integers(512, 4096))
def test_a_query_of_dnslib_is_read(*, name: bytes, do: bool, size: int) -> None:
    label = dnslib.DNSLabel(dnspython_name(name).labels[:-1])
    assume(len(label) <= 253)  # dnslib counts what a name prints as
    asked = dnslib.DNSRecord(dnslib.DNSHeader(id=99, rd=1), q=dnslib.DNSQuestion(label, dnslib.QTYPE.AAAA))
    asked.add_ar(dnslib.EDNS0(flags="do" if do else "", udp_len=size))
    found = parse_query(asked.pack())
    assert (found.id, found.name, found.qtype, found.qclass) == (99, name.lower(), 28, 1)
    assert (found.do, found.udp_size, found.is_plain, found.rcode) == (do, size, True, 0)


@given(queries)
def test_the_key_is_the_question_lower_cased_and_do_and_cd(message: bytes) -> None:
    found = parse_query(message)
    tail = found.question[-4:]
    assert found.key == found.question[:-4].lower() + tail + bytes(((2 if found.do else 0) | (1 if found.flags & CD else 0),))
    spelled_otherwise = message[:12] + found.question[:-4].swapcase() + message[12 + len(found.question) - 4 :]
    assert parse_query(spelled_otherwise).key == found.key
    assert parse_query(spelled_otherwise).question == found.question[:-4].swapcase() + tail


def test_do_and_cd_make_other_questions_and_rd_and_ad_do_not() -> None:
    keys = {
        query("a.example. A", flags=flags, edns=edns).key
        for flags in (RD, RD | CD, RD | AD, 0)
        for edns in (None, (0, 1232), (0x8000, 1232), (0x8000, 4096))
    }
    assert len(keys) == 4


def test_the_type_in_the_key_is_a_number_and_has_no_case() -> None:
    https, other = query("A. HTTPS"), query("A. TYPE97")
    assert (https.qtype, other.qtype) == (0x41, 0x61)
    assert https.key == b"\1a\0\0\x41\0\x01\0"
    assert other.key == b"\1a\0\0\x61\0\x01\0"
    assert https.question == b"\1A\0\0\x41\0\x01"


# ------------------------------------------------------------------------------------- queries cut, added to, and mutated


@given(queries)
def test_a_query_cut_anywhere_is_refused(message: bytes) -> None:
    end_of_question = 12 + len(parse_query(message).question)
    for cut in range(len(message)):
        if cut < end_of_question:
            assert refused_with(message[:cut]) == (None if cut < 12 else Rcode.FORMERR)
        else:
            found = parse_query(message[:cut])
            assert (found.rcode, found.is_plain) == (Rcode.FORMERR, False)


@given(queries, st.binary(min_size=1, max_size=20))
def test_octets_behind_a_query_are_a_formerr(message: bytes, rest: bytes) -> None:
    found = parse_query(message + rest)
    assert (found.rcode, found.is_plain) == (Rcode.FORMERR, False)
    assert found.question == parse_query(message).question


@given(queries, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 400))
def test_any_octets_are_a_query_or_a_wire_error(message: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(message)
    for place, octet in changes:
        mutated[place % len(mutated)] = octet
    hostile = bytes(mutated)[: len(mutated) - (cut if cut < len(mutated) else 0)]
    try:
        found = parse_query(hostile)
    except WireError:
        rcode = refused_with(hostile)
        assert rcode is None or len(bare_response(hostile, rcode)) == 12
        assert rcode in {None, Rcode.FORMERR, Rcode.NOTIMP}
        return
    assert not found.flags & 0xF800
    assert hostile[12:].startswith(found.question)
    assert found.rcode in {Rcode.NOERROR, Rcode.FORMERR, Rcode.BADVERS}
    assert found.udp_size >= 512
    assert not (found.is_plain and found.rcode)
    answered = own_response(found, found.rcode or Rcode.SERVFAIL, OUR_UDP_SIZE)
    assert dns.message.from_wire(answered, question_only=True).question[0].name.to_wire() == found.question[:-4]


@given(st.binary(max_size=60))
def test_noise_is_a_query_or_a_wire_error(message: bytes) -> None:
    with contextlib.suppress(WireError):
        parse_query(message)


# --------------------------------------------------------------------------------------------- guards, in their order

LONGEST = (b"\x3f" + b"a" * 63) * 3 + b"\x3c" + b"a" * 60 + b"\0"
"""Of 254 octets: one label of one octet more would make it 256."""


def test_a_qname_of_255_octets_is_read() -> None:
    name = b"\x3d" + b"a" * 61 + LONGEST[:192] + b"\0"
    assert len(name) == 255
    assert parse_query(raw_message(name + b"\0\x01\0\x01", (0, 0, 0), b"", RD)).name == name


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(bytes(11), None, id="less than a header"),
        pytest.param(HEADER.pack(1, QR | RD, 1, 0, 0, 0) + QUESTION, None, id="a response"),
        pytest.param(HEADER.pack(1, QR | 0x2800, 1, 0, 0, 0) + QUESTION, None, id="a response to an update"),
        pytest.param(HEADER.pack(1, 0x2000, 1, 0, 0, 0) + QUESTION, Rcode.NOTIMP, id="notify"),
        pytest.param(HEADER.pack(1, 0x2800, 2, 0, 0, 0) + QUESTION, Rcode.NOTIMP, id="update, before its counts are looked at"),
        pytest.param(HEADER.pack(1, RD, 0, 0, 0, 0), Rcode.FORMERR, id="no question"),
        pytest.param(HEADER.pack(1, RD, 0, 0, 0, 1) + opt_record(1232, options=COOKIE), Rcode.FORMERR, id="a cookie alone"),
        pytest.param(HEADER.pack(1, RD, 2, 0, 0, 0) + 2 * QUESTION, Rcode.FORMERR, id="two questions"),
        pytest.param(HEADER.pack(1, RD, 1, 0, 0, 0), Rcode.FORMERR, id="a question announced"),
        pytest.param(HEADER.pack(1, RD, 1, 0, 0, 0) + b"\xc0\x0c\0\x01\0\x01", Rcode.FORMERR, id="a compressed question"),
        pytest.param(
            HEADER.pack(1, RD, 1, 0, 0, 0) + b"\1a\xc0\x04\0\x01\0\x01", Rcode.FORMERR, id="compressed into the header"
        ),
        pytest.param(HEADER.pack(1, RD, 1, 0, 0, 0) + b"\x41" + bytes(80), Rcode.FORMERR, id="label type 0x40"),
        pytest.param(HEADER.pack(1, RD, 1, 0, 0, 0) + b"\1a" * 128 + b"\0\0\x01\0\x01", Rcode.FORMERR, id="QNAME too long"),
        pytest.param(
            HEADER.pack(1, RD, 1, 0, 0, 0) + LONGEST[:-1] + b"\1a\0\0\x01\0\x01", Rcode.FORMERR, id="QNAME of 256 octets"
        ),
        pytest.param(HEADER.pack(1, RD, 1, 0, 0, 0) + b"\1a" * 30_000, Rcode.FORMERR, id="QNAME without end"),
    ],
)
def test_without_a_question_to_echo(message: bytes, rcode: Rcode | None) -> None:
    assert refused_with(message) == rcode


OPT = opt_record(1232, do=True)
RECORD = raw_record(b"\xc0\x0c", 1, b"\x7f\0\0\1")


@pytest.mark.parametrize(
    ("counts", "records", "rcode"),
    [
        pytest.param((0, 0, 0), b"", Rcode.NOERROR, id="bare"),
        pytest.param((0, 0, 1), OPT, Rcode.NOERROR, id="OPT"),
        pytest.param((0, 0, 1), opt_record(1232, options=COOKIE), Rcode.NOERROR, id="OPT with an option"),
        pytest.param((0, 0, 1), RECORD, Rcode.NOERROR, id="an additional record"),
        pytest.param((0, 0, 2), RECORD + OPT, Rcode.NOERROR, id="an additional record and OPT"),
        pytest.param((0, 0, 2), OPT + OPT, Rcode.FORMERR, id="two OPTs"),
        pytest.param((0, 0, 2), OPT + opt_record(512), Rcode.FORMERR, id="two different OPTs"),
        pytest.param((0, 0, 1), b"\1a" + OPT, Rcode.FORMERR, id="an OPT that is not the root's"),
        pytest.param((0, 0, 1), b"\xc0\x0c" + OPT[1:], Rcode.FORMERR, id="an OPT owned over a pointer"),
        pytest.param((1, 0, 0), RECORD, Rcode.FORMERR, id="an answer"),
        pytest.param((0, 1, 0), RECORD, Rcode.FORMERR, id="an authority"),
        pytest.param((1, 0, 0), b"", Rcode.FORMERR, id="an answer announced"),
        pytest.param((0, 0, 0), OPT, Rcode.FORMERR, id="an OPT that was not announced"),
        pytest.param((0, 0, 1), b"", Rcode.FORMERR, id="an OPT that did not come"),
        pytest.param((0, 0, 2), OPT, Rcode.FORMERR, id="half of what was announced"),
        pytest.param((0, 0, 1), OPT[:-2] + b"\0\x01", Rcode.FORMERR, id="an OPT that runs past the end"),
        pytest.param((0, 0, 0xFFFF), OPT, Rcode.FORMERR, id="65535 records announced"),
        pytest.param((0, 0, 1), OPT[:6] + b"\x01" + OPT[7:], Rcode.BADVERS, id="EDNS version 1"),
        pytest.param((0, 0, 1), OPT[:6] + b"\xff" + OPT[7:], Rcode.BADVERS, id="EDNS version 255"),
        pytest.param((0, 0, 2), OPT[:6] + b"\x01" + OPT[7:] + OPT, Rcode.FORMERR, id="two OPTs, one of version 1"),
    ],
)
def test_behind_the_question(counts: tuple[int, int, int], records: bytes, rcode: Rcode) -> None:
    found = parse_query(raw_message(QUESTION, counts, records, RD))
    assert found.rcode == rcode
    assert found.question == QUESTION
    assert found.is_plain == (not rcode and records in {b"", OPT})


def test_a_full_rcode_in_a_query_is_none_of_our_business() -> None:
    assert parse_query(raw_message(QUESTION, (0, 0, 1), OPT[:5] + b"\x7f" + OPT[6:], RD)).rcode == Rcode.NOERROR


def test_an_ixfr_query_keeps_its_soa_and_is_well_formed() -> None:
    """RFC 1995 section 3: the authority section of an IXFR query holds the SOA; design, invariant 7: REFUSED, not FORMERR."""
    soa = raw_record(b"\xc0\x0c", Qtype.SOA, b"\0\0" + bytes(20))
    assert parse_query(raw_message(QUESTION[:-4] + b"\0\xfb\0\x01", (0, 1, 0), soa, RD)).rcode == Rcode.NOERROR


@given(queries)
def test_opt_is_seen_in_a_query_that_is_wrong_elsewhere(message: bytes) -> None:
    """Design, invariant 5: OPT in the response if and only if the query had one, whatever the response says."""
    found = parse_query(message)
    with_answer = raw_message(found.question, (1, 0, int(found.has_edns)), RECORD + message[12 + len(found.question) :], RD)
    assert parse_query(with_answer).has_edns == found.has_edns


def test_a_query_of_64_kib_is_linear_work() -> None:
    def work(records: int) -> int:
        hostile = raw_message(QUESTION, (0, 0, records), raw_record(b"\1a\1b\1c\1d\0", 16, b"") * records, RD)
        return work_of(lambda: parse_query(hostile))

    assert work(3000) <= 2 * work(1500)


# ----------------------------------------------------------------------------------------------------- responses of ours


@given(queries, st.integers(0, 23), st.sampled_from(list(ExtendedError)), st.text(max_size=80))
def test_a_response_of_ours_is_read_by_dnspython(message: bytes, rcode: int, error: ExtendedError, text: str) -> None:
    asked = parse_query(message)
    assume(asked.has_edns or rcode < 16)
    seen = dns.message.from_wire(own_response(asked, rcode, 1400, error, text))
    assert (seen.id, seen.rcode()) == (asked.id, rcode)
    assert int(seen.flags) & 0xFFF0 == QR | RA | asked.flags & (RD | CD)
    (echoed,) = seen.question
    assert (echoed.name.to_wire() or b"") + struct.pack("!HH", echoed.rdtype, echoed.rdclass) == asked.question
    assert (seen.edns, seen.payload) == ((0, 1400) if asked.has_edns else (-1, 0))
    assert bool(seen.ednsflags & dns.flags.DO) == asked.do
    codes = [int(option.code) for option in seen.options if isinstance(option, dns.edns.EDEOption)]
    assert codes == ([int(error)] if asked.has_edns and error is not ExtendedError.NONE else [])
    assert len(seen.options) == len(codes), "no option of the client's comes back"


@given(names)
def test_a_response_of_ours_is_read_by_dnslib(name: bytes) -> None:
    assume(name.isascii())  # dnslib reads nothing else
    asked = parse_query(raw_message(name + b"\0\x01\0\x01", (0, 0, 1), OPT, RD))
    seen = dnslib.DNSRecord.parse(own_response(asked, Rcode.REFUSED, 1400, ExtendedError.PROHIBITED, "no"))
    assert (seen.header.qr, seen.header.ra, seen.header.aa, seen.header.rcode) == (1, 1, 0, dnslib.RCODE.REFUSED)
    assert seen.q.qname.label == dnspython_name(name).labels[:-1]
    (opt,) = seen.ar
    assert (opt.edns_len, opt.rdata[0].code) == (1400, 15)


@pytest.mark.parametrize("edns", [None, (0, 1232)])
def test_the_one_record_of_our_own_stands_in_the_answer(edns: tuple[int, int] | None) -> None:
    hinfo = b"\xc0\x0c" + b"\0\x0d\0\x01" + struct.pack("!IH", 3600, 9) + b"\x07RFC8482\0"
    seen = read(own_response(query("wWw.Example. ANY", edns=edns), Rcode.NOERROR, 1232, records=hinfo))
    (answer,) = seen.answer
    assert answer.to_text() == 'wWw.Example. 3600 IN HINFO "RFC8482" ""'
    assert (seen.edns >= 0) == (edns is not None)


def test_badvers_says_the_version_we_speak() -> None:
    """RFC 6891 section 6.1.3."""
    asked = query("a.example. A", edns=(1 << 16, 1232))
    seen = dns.message.from_wire(own_response(asked, asked.rcode, 1232))
    assert (int(seen.rcode()), seen.edns, int(seen.flags) & 0xF) == (16, 0, 0)


@given(shorts, shorts, st.binary(max_size=30), st.integers(0, 15))
def test_a_bare_response_is_a_header_with_opcode_rd_and_cd_as_asked(identity: int, flags: int, rest: bytes, rcode: int) -> None:
    answered = bare_response(struct.pack("!HH", identity, flags) + rest, rcode)
    assert HEADER.unpack(answered) == (identity, QR | RA | flags & 0x7910 | rcode, 0, 0, 0, 0)


# --------------------------------------------------------------------------------------------------------- to upstreams


@given(message=queries, name=names, wants_ad=st.booleans())
def test_what_upstreams_are_asked(*, message: bytes, name: bytes, wants_ad: bool) -> None:
    asked = parse_query(message)
    question = name + asked.question[-4:]
    wire = query_for_upstream(0xBEEF, question, asked, wants_ad=wants_ad)
    assert wire[12:].startswith(question)
    seen = dns.message.from_wire(wire)
    assert (seen.id, int(seen.flags)) == (0xBEEF, RD | asked.flags & CD | (AD if wants_ad else 0))
    assert (seen.edns, seen.payload, bool(seen.ednsflags & dns.flags.DO), seen.options) == (0, 1232, asked.do, ())
    found = parse_query(wire)
    assert (found.question, found.do, found.flags & CD, found.is_plain) == (question, asked.do, asked.flags & CD, True)
    assert match_for(wire, 0xBEEF, question) is Match.NONE, "a query is no response to itself"
    assert match_for(wire[:2] + bytes((wire[2] | 0x80,)) + wire[3:], 0xBEEF, question) is Match.EXACT


ANSWERED = HEADER.pack(0x4711, QR | RD | RA, 1, 1, 0, 0) + QUESTION + RECORD


@pytest.mark.parametrize(
    ("message", "match"),
    [
        pytest.param(ANSWERED, Match.EXACT, id="ours"),
        pytest.param(ANSWERED[:29], Match.EXACT, id="ours, its records missing"),
        pytest.param(HEADER.pack(0x4711, QR | TC, 1, 0, 0, 0) + QUESTION, Match.EXACT, id="truncated"),
        pytest.param(ANSWERED.replace(b"wWw", b"www"), Match.OTHER_CASE, id="lower-cased"),
        pytest.param(ANSWERED.replace(b"wWw", b"wWx"), Match.NONE, id="another name"),
        pytest.param(b"\x47\x12" + ANSWERED[2:], Match.NONE, id="another ID"),
        pytest.param(b"\x47\x11\x01" + ANSWERED[3:], Match.NONE, id="a query"),
        pytest.param(b"\x47\x11\xa1" + ANSWERED[3:], Match.NONE, id="another opcode"),
        pytest.param(ANSWERED.replace(b"\7example\0\0\x01", b"\7example\0\0\x1c"), Match.NONE, id="another type"),
        pytest.param(ANSWERED[:28] + b"\3" + ANSWERED[29:], Match.NONE, id="another class"),
        pytest.param(HEADER.pack(0x4711, QR, 2, 0, 0, 0) + 2 * QUESTION, Match.NONE, id="two questions"),
        pytest.param(HEADER.pack(0x4711, QR, 1, 0, 0, 0) + QUESTION[:-1], Match.NONE, id="a question cut short"),
        pytest.param(HEADER.pack(0x4711, QR, 0, 0, 0, 0), Match.NONE, id="no question, NOERROR"),
        pytest.param(HEADER.pack(0x4711, QR | 3, 0, 0, 0, 0), Match.NONE, id="no question, NXDOMAIN"),
        pytest.param(HEADER.pack(0x4711, QR | 1, 0, 0, 0, 0), Match.BARE_FAILURE, id="no question, FORMERR"),
        pytest.param(HEADER.pack(0x4711, QR | 2, 0, 0, 0, 0), Match.BARE_FAILURE, id="no question, SERVFAIL"),
        pytest.param(HEADER.pack(0x4711, QR | 4, 0, 0, 0, 0), Match.BARE_FAILURE, id="no question, NOTIMP"),
        pytest.param(HEADER.pack(0x4711, QR | 5, 0, 0, 0, 0), Match.BARE_FAILURE, id="no question, REFUSED"),
        pytest.param(HEADER.pack(0x4712, QR | 2, 0, 0, 0, 0), Match.NONE, id="no question, SERVFAIL, another ID"),
        pytest.param(HEADER.pack(0x4711, 2, 0, 0, 0, 0), Match.NONE, id="no question, SERVFAIL, a query"),
        pytest.param(ANSWERED[:11], Match.NONE, id="shorter than a header"),
    ],
)
def test_what_matches(message: bytes, match: Match) -> None:
    assert match_for(message, 0x4711, QUESTION) is match


@given(queries, st.integers(12, 300), st.integers(1, 255))
def test_one_octet_of_the_question_changed_matches_only_if_it_is_case(message: bytes, place: int, change: int) -> None:
    question = parse_query(message).question
    answered = bytearray(HEADER.pack(5, QR, 1, 0, 0, 0) + question)
    assert match_for(bytes(answered), 5, question) is Match.EXACT
    place = 12 + place % len(question)
    answered[place] ^= change
    is_case = place < 12 + len(question) - 4 and bytes(answered[12:-4]).lower() == question[:-4].lower()
    assert match_for(bytes(answered), 5, question) is (Match.OTHER_CASE if is_case else Match.NONE)


@given(st.binary(max_size=60))
def test_noise_matches_nothing(message: bytes) -> None:
    assume(not message.startswith(b"\x47\x11"))
    assert match_for(message, 0x4711, QUESTION) is Match.NONE


@given(shorts, shorts)
def test_truncation_is_read_from_the_header(identity: int, flags: int) -> None:
    header = HEADER.pack(identity, flags, 1, 0, 0, 0)
    assert is_truncated(header) == bool(flags & TC)
