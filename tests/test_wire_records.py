"""Responses of upstreams: only what answers the question is kept, both ways of reading agree, and malice is linear work."""

import dataclasses
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.errors import WireError
from forwarder.wire.edns import opt_record
from forwarder.wire.message import Match, match_for
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Kind, Response, failure_response, parse_response, with_ttls_capped
from tests.lab.messages import (
    OK, kept_records, lines, parsed, raw_message, raw_record, records_in, response, whole, work_of, written,
)  # fmt: skip

Sections = tuple[list[str], list[str], list[str]]
SOA = "example. 600 IN SOA ns.example. admin.example. 1 2 3 4 30"
NAME = b"\1q\7example\0"
TO_QNAME = b"\xc0\x0c"

# --------------------------------------------------------------------------------- what is kept, against a plain oracle

owners = st.sampled_from(
    ["q.example.", "a.example.", "b.a.example.", "B.A.Example.", "c.other.", "a.other.", "example.", "other."]
)
RDATA = {
    "A": "192.0.2.{n}", "AAAA": "2001:db8::{n}", "CNAME": "{o}", "DNAME": "{o}", "NS": "{o}", "MX": "{n} {o}", "TXT": '"t{n}"',
    "SRV": "0 0 {n} {o}", "HTTPS": "{n} {o} alpn=h2", "SOA": "{o} admin.Example. {n} 2 3 4 {n}", "NSEC": "{o} A RRSIG NSEC",
    "PTR": "{o}",
}  # fmt: skip
SIGNATURE = "{c} 8 2 60 20300101000000 20200101000000 1 Example. AAAA"
plain_types = st.sampled_from(["A", "CNAME", "CNAME", "CNAME", "DNAME", "SOA", *RDATA])
record_texts = st.builds(
    lambda owner, ttl, rtype, number, target: f"{owner} {ttl} IN {rtype} {RDATA[rtype].format(n=number, o=target)}",
    owners, st.integers(0, 9), plain_types, st.integers(1, 9), owners,
)  # fmt: skip
signature_texts = st.builds(
    lambda owner, ttl, covered: f"{owner} {ttl} IN RRSIG {SIGNATURE.format(c=covered)}",
    owners, st.integers(0, 9), st.sampled_from(["A", "CNAME", "CNAME", "DNAME", "SOA", "NSEC", "RRSIG", "NS"]),
)  # fmt: skip
chaos_texts = st.builds(lambda owner, number: f'{owner} 5 CH TXT "{number}"', owners, st.integers(1, 9))
record_lists = st.lists(st.one_of(record_texts, record_texts, record_texts, signature_texts, chaos_texts), max_size=9)
asked_types = st.sampled_from(
    ["A", "A", "AAAA", "CNAME", "DNAME", "TXT", "MX", "SRV", "HTTPS", "NS", "PTR", "SOA", "RRSIG", "NSEC"]
)


def is_of(line: str, rtype: str, covers: str = "") -> bool:
    _, _, rclass, found, rdata = line.split(None, 4)
    return (rclass, found) == ("IN", rtype) and rdata.startswith(covers)


def target_of(line: str, place: int) -> str:
    return line.lower().split()[place]


def is_below(name: str, zone: str) -> bool:
    return name != zone and name.endswith("." + zone)


def chain_kept(answers: list[str], qtype: str, *, do: bool) -> tuple[list[str], list[str], str]:
    """Aliases kept, records kept at their end, and the last name; each alias behind the DNAMEs that led to it."""

    def signed(here: list[str], rtype: str) -> list[str]:
        return [line for line in here if do and is_of(line, "RRSIG", rtype + " ") and qtype != "RRSIG"]

    left, name, kept = list(answers), "q.example.", list[str]()
    while True:
        here = [line for line in left if line.split()[0] == name]
        left = [line for line in left if line not in here]
        final = [line for line in here if is_of(line, qtype)]
        aliases = [line for line in here if is_of(line, "CNAME")]
        if final or not aliases:
            return kept, (final + signed(here, qtype) if final else []), name
        redirecting = dict.fromkeys(
            line.split()[0] for line in left if is_of(line, "DNAME") and is_below(name, line.split()[0])
        )
        for owner in redirecting:
            above = [line for line in left if line.split()[0] == owner]
            left = [line for line in left if line not in above]
            kept += [line for line in above if is_of(line, "DNAME")][:1] + signed(above, "DNAME")
        kept += [aliases[0], *signed(here, "CNAME")]
        name = target_of(aliases[0], 4)


def expected(sections: Sections, qtype: str, *, is_nxdomain: bool, do: bool) -> tuple[Kind, Sections, int]:
    """What invariant 11 of the design keeps of these records, said over lines of text."""
    answers, authorities, additionals = sections
    aliases, final, last = chain_kept(answers, qtype, do=do)
    negative_ttl, denial, hosts = -1, list[str](), set[str]()
    if is_nxdomain:
        final = [line for line in final if not is_of(line, qtype)]
    is_positive = bool(final) and not is_nxdomain
    if not is_positive:
        zones = [line for line in authorities if is_of(line, "SOA") and f".{last}".endswith(f".{line.split()[0]}")]
        denial = zones[:1]
        negative_ttl = min(int(denial[0].split()[1]), int(denial[0].split()[-1])) if denial else -1
    proving = ("NSEC ", "SOA ") if denial else ("NSEC ",)
    proofs = [line for line in authorities if do and (is_of(line, "NSEC") or any(is_of(line, "RRSIG", one) for one in proving))]
    if is_positive and qtype in {"MX", "SRV", "HTTPS"}:
        place = {"MX": 5, "SRV": 7, "HTTPS": 5}[qtype]
        hosts = {target_of(line, place) for line in final if is_of(line, qtype)}
    addresses = [line for line in additionals if line.split()[0] in hosts and (is_of(line, "A") or is_of(line, "AAAA"))]
    kind = Kind.NXDOMAIN if is_nxdomain else Kind.POSITIVE if is_positive else Kind.NODATA
    if kind is Kind.NODATA and aliases and not denial:
        kind = Kind.DANGLING
    return kind, (aliases + final, denial + proofs, addresses), negative_ttl


@given(st.tuples(record_lists, record_lists, record_lists), asked_types, st.booleans(), st.booleans())
def test_what_answers_is_kept_and_nothing_else(sections: Sections, qtype: str, is_nxdomain: bool, do: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    message = written(f"q.example. {qtype}", sections, flags=OK | (3 if is_nxdomain else 0), edns=(0, 1232))
    found = parsed(message, f"q.example. {qtype}", do=do)
    kind, kept, negative_ttl = expected(records_in(message), qtype, is_nxdomain=is_nxdomain, do=do)
    assert kept_records(found) == kept
    assert (found.kind, found.negative_ttl, found.rcode) == (kind, negative_ttl, 3 if is_nxdomain else 0)
    assert found.counts == tuple(map(len, kept))
    ttls = [int(line.split()[1]) for section in kept for line in section]
    assert [int.from_bytes(found.message[offset : offset + 4]) for offset in found.ttl_offsets] == ttls
    assert (found.least_ttl, found.most_ttl) == (min(ttls, default=0), max(ttls, default=0))
    addresses = [line.split()[4] for line in kept[0] if is_of(line, qtype) and qtype == "A"]
    assert len(found.rotatable) == (len(addresses) if len(addresses) > 1 else 0)
    for place, address in zip(found.rotatable, addresses, strict=False):
        assert ".".join(map(str, found.message[place : place + 4])) == address


# ------------------------------------------------------------------------------------------- the same, case by case

CASES = {
    "a chain in any order comes out in its own": (
        "q.example. A",
        """C.other. 5 IN A 192.0.2.1
           b.example. 6 IN CNAME C.other.
           q.example. 7 IN CNAME b.example.""", "", "", 0, False,
        Kind.POSITIVE, "q.example. 7 IN CNAME b.example.|b.example. 6 IN CNAME C.other.|c.other. 5 IN A 192.0.2.1", "", "",
    ),
    "a DNAME goes before the alias it made": (
        "q.old.example. A",
        """New.other. 5 IN A 192.0.2.9
           q.old.example. 5 IN CNAME q.New.other.
           q.new.other. 5 IN A 192.0.2.1
           old.example. 5 IN DNAME New.other.""", "", "", 0, False,
        Kind.POSITIVE, "old.example. 5 IN DNAME New.other.|q.old.example. 5 IN CNAME q.New.other.|q.new.other. 5 IN A 192.0.2.1", "", "",
    ),
    "name servers and glue are dropped": (
        "q.example. A", "q.example. 5 IN A 192.0.2.1", "example. 5 IN NS ns.example.", "ns.example. 5 IN A 192.0.2.53", 0, False,
        Kind.POSITIVE, "q.example. 5 IN A 192.0.2.1", "", "",
    ),
    "an answer to another question is none": (
        "q.example. A", "bank.example. 5 IN A 192.0.2.66", SOA, "q.example. 5 IN A 192.0.2.66", 0, False,
        Kind.NODATA, "", SOA, "",
    ),
    "the SOA of a zone elsewhere denies nothing": ("q.example. A", "", SOA.replace("example. 600", "other. 600"), "", 3, False, Kind.NXDOMAIN, "", "", ""),
    "the SOA must enclose the last name, not the first": (
        "q.example. A", "q.example. 5 IN CNAME x.other.", SOA, "", 0, False, Kind.DANGLING, "q.example. 5 IN CNAME x.other.", "", "",
    ),
    "an alias with nothing behind it dangles": (
        "q.example. AAAA", "q.example. 5 IN CNAME x.example.", "", "", 0, False, Kind.DANGLING, "q.example. 5 IN CNAME x.example.", "", "",
    ),
    "NODATA behind an alias": (
        "q.example. AAAA", "q.example. 5 IN CNAME x.example.", SOA, "", 0, False, Kind.NODATA, "q.example. 5 IN CNAME x.example.", SOA, "",
    ),
    "NXDOMAIN behind an alias": (
        "q.example. A", "q.example. 5 IN CNAME x.example.", SOA, "", 3, False, Kind.NXDOMAIN, "q.example. 5 IN CNAME x.example.", SOA, "",
    ),
    "a referral is NODATA without proof": ("q.example. A", "", "example. 5 IN NS ns.example.", "", 0, False, Kind.NODATA, "", "", ""),
    "an alias that comes back to itself": (
        "q.example. A", "q.example. 5 IN CNAME q.example.", "", "", 0, False, Kind.DANGLING, "q.example. 5 IN CNAME q.example.", "", "",
    ),
    "SRV keeps the addresses of its hosts": (
        "q.example. SRV", "q.example. 5 IN SRV 0 0 80 Web.example.", "",
        """web.example. 5 IN A 192.0.2.1
           WEB.example. 5 IN AAAA 2001:db8::1
           web.example. 5 IN TXT "no"
           mail.example. 5 IN A 192.0.2.2""", 0, False,
        Kind.POSITIVE, "q.example. 5 IN SRV 0 0 80 Web.example.", "", "web.example. 5 IN A 192.0.2.1|web.example. 5 IN AAAA 2001:db8::1",
    ),
    "HTTPS whose host is its owner (RFC 9460 section 2.5.2) keeps the addresses of that": (
        "q.example. HTTPS", "q.example. 5 IN HTTPS 1 . alpn=h2", "", "q.example. 5 IN A 192.0.2.1", 0, False,
        Kind.POSITIVE, "q.example. 5 IN HTTPS 1 . alpn=\"h2\"", "", "q.example. 5 IN A 192.0.2.1",
    ),
    "signatures over signatures are records asked for": (
        "q.example. RRSIG", f"x.example. 5 IN TXT x\nq.example. 5 IN RRSIG {SIGNATURE.format(c='RRSIG')}", "", "", 0, True,
        Kind.POSITIVE, f"q.example. 5 IN RRSIG {SIGNATURE.format(c='RRSIG')}", "", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kept(case: tuple[str, str, str, str, int, bool, Kind, str, str, str]) -> None:
    question, answer, authority, additional, rcode, do, kind, *kept = case
    found = parsed(response(question, answer, authority, additional, rcode=rcode), question, do=do)
    assert found.kind is kind
    assert ["|".join(section).replace(".000000", "") for section in kept_records(found)] == kept


def test_proofs_are_kept_for_those_who_asked_for_them() -> None:
    proofs = [
        SOA,
        *(f"example. 5 IN RRSIG {SIGNATURE.format(c=covered)}" for covered in ("SOA", "NSEC")),
        "a.example. 5 IN NSEC z.example. A",
    ]
    message = response("q.example. A", "", "\n".join([f"example. 5 IN RRSIG {SIGNATURE.format(c='NS')}", *proofs]), rcode=3)
    seen = records_in(message)[1]
    assert kept_records(parsed(message, "q.example. A", do=True))[1] == seen[1:]
    assert kept_records(parsed(message, "q.example. A"))[1] == [SOA]


@pytest.mark.parametrize("rcode", [1, 2, 4, 5, 9, 16, 23])
def test_other_rcodes_are_failures_upper_bits_included(rcode: int) -> None:
    found = parsed(response("q.example. A", "q.example. 5 IN A 192.0.2.1", rcode=rcode), "q.example. A")
    assert (found.kind, found.rcode, found.counts, found.least_ttl) == (Kind.FAILURE, rcode, (0, 0, 0), 0)


def test_a_failure_without_question_reads_like_any_other() -> None:
    question = NAME + b"\0\1\0\1"
    message = failure_response(struct.pack("!HHHHHH", 7, 0x8185, 0, 0, 0, 0), question)
    assert match_for(message, 7, question) is Match.EXACT
    found = parse_response(message, NAME, 1, do=False)
    assert (found.kind, found.rcode) == (Kind.FAILURE, 5)


@pytest.mark.parametrize(("qtype", "rclass"), [(0, 3), (16, 3), (41, 1), (41, 1232)])
def test_no_record_of_another_class_and_no_opt_is_kept(qtype: int, rclass: int) -> None:
    question = NAME + struct.pack("!HH", qtype, 1)
    for owner in (TO_QNAME, NAME):
        record = raw_record(owner, qtype, b"\1x", rclass=rclass)
        assert parse_response(raw_message(question, (1, 0, 0), record), NAME, qtype, do=False).counts == (0, 0, 0)


# ------------------------------------------------------------------------------------------ two ways of reading agree

address_lengths = st.one_of(st.just(4), st.just(4), st.just(4), st.integers(0, 8))


@given(
    st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), address_lengths), min_size=1, max_size=5),
    st.sampled_from([1, 16, 12]),
    st.booleans(),
)
def test_the_short_way_and_the_long_way_agree(records: list[tuple[int, int]], qtype: int, do: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    question = NAME + struct.pack("!HH", qtype, 1)
    answers = b"".join(raw_record(TO_QNAME, qtype, bytes(length), ttl) for ttl, length in records)
    beside = raw_record(b"\2ns\0", 2, b"\0")
    count = len(records)
    ways = [
        raw_message(question, (count, 0, 0), answers),
        raw_message(question, (count, 0, 1), answers + opt_record(1232, options=b"\0\x0a\0\x01x")),
        raw_message(question, (count, 1, 0), answers + beside),
        raw_message(question, (count, 0, 2), answers + beside + opt_record(1232)),
        raw_message(question, (count, 1, 0), answers.replace(TO_QNAME, NAME, 1) + beside),
    ]
    found: list[Response | None] = []
    for message in ways:
        try:
            found.append(parse_response(message, NAME, qtype, do=do))
        except WireError:
            found.append(None)
    *same, otherwise_owned = found
    bare = [one and dataclasses.replace(one, message=one.message[12:]) for one in same]
    assert bare == [bare[0]] * len(bare)
    assert (otherwise_owned is None) == (bare[0] is None)
    if otherwise_owned and bare[0]:
        assert (otherwise_owned.counts, otherwise_owned.most_ttl) == (bare[0].counts, bare[0].most_ttl)


# -------------------------------------------------------------------------------------------- cut, added to and mutated

sections_of_all = st.tuples(record_lists, record_lists, record_lists)


@given(sections_of_all, asked_types.filter(lambda qtype: qtype != "RRSIG"), st.booleans())
def test_cut_anywhere_is_a_wire_error_and_added_to_is_the_same(sections: Sections, qtype: str, do: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    question = f"q.example. {qtype}"
    message = written(question, sections, edns=(0, 1232))
    for cut in range(12 + len(NAME) + 4, len(message)):
        with pytest.raises(WireError):
            parsed(message[:cut], question, do=do)
    assert parsed(message + b"\0\0\x29more", question, do=do) == parsed(message, question, do=do)


changes = st.lists(
    st.tuples(st.integers(0, 2000), st.one_of(st.integers(0, 255), st.sampled_from([0, 12, 41, 46, 0xC0]))),
    min_size=1,
    max_size=5,
)


@given(sections_of_all, asked_types, changes, st.booleans())
def test_mutated_is_a_response_or_a_wire_error(
    sections: Sections, qtype: str, changed: list[tuple[int, int]], do: bool
) -> None:  # noqa: FBT001 - drawn by Hypothesis
    message = bytearray(written(f"q.example. {qtype}", sections, edns=(0, 1232)))
    start = 12 + len(NAME) + 4
    for place, octet in changed:
        message[start + place % (len(message) - start)] = octet
    try:
        found = parsed(bytes(message), f"q.example. {qtype}", do=do)
    except WireError:
        return
    assert sum(found.counts) == len(found.ttl_offsets)
    assert all(offset + 6 <= len(found.message) for offset in found.ttl_offsets)
    assert found.kind is Kind.FAILURE or parsed(whole(found), f"q.example. {qtype}", do=do).kind is found.kind


@pytest.mark.parametrize(
    ("qtype", "records"),
    [
        pytest.param(2, [raw_record(TO_QNAME, 2, b"\xc0\xff")], id="the short way"),
        pytest.param(2, [raw_record(NAME, 2, b"\xc0\xff")], id="the long way"),
        pytest.param(1, [raw_record(TO_QNAME, 5, b"", rclass=1), raw_record(b"\1x\0", 1, b"abcd")], id="an alias to nothing"),
        pytest.param(1, [raw_record(TO_QNAME, 5, b"\1x\0more")], id="an alias that is longer than its name"),
    ],
)
def test_names_in_what_is_kept_are_whole(qtype: int, records: list[bytes]) -> None:
    """The module promises that its pointers go backwards: what points forwards means our OPT, or nothing, once it is cut."""
    message = raw_message(NAME + struct.pack("!HH", qtype, 1), (len(records), 0, 0), b"".join(records))
    with pytest.raises(WireError):
        parse_response(message, NAME, qtype, do=False)


def test_a_single_address_of_the_wrong_length_is_a_wire_error_like_several() -> None:
    for count in (2, 1):
        with pytest.raises(WireError):
            parse_response(
                raw_message(NAME + b"\0\1\0\1", (count, 0, 0), raw_record(TO_QNAME, 1, b"abc") * count), NAME, 1, do=False
            )


# ------------------------------------------------------------------------------------------------------------------ TTLs


@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=5), st.integers(0, 0xFFFFFFFF))
def test_ttls_are_capped_and_the_top_bit_is_a_large_one(ttls: list[int], most: int) -> None:
    answers = b"".join(raw_record(TO_QNAME, 1, bytes(4), ttl) for ttl in ttls)
    found = parse_response(raw_message(NAME + b"\0\1\0\1", (len(ttls), 0, 0), answers), NAME, 1, do=False)
    assert (found.least_ttl, found.most_ttl) == (min(ttls), max(ttls))
    capped = with_ttls_capped(found, most)
    again = parse_response(capped.message, NAME, 1, do=False)
    assert [int.from_bytes(again.message[offset : offset + 4]) for offset in again.ttl_offsets] == [
        min(ttl, most) for ttl in ttls
    ]
    assert again == dataclasses.replace(capped, most_ttl=again.most_ttl)


@pytest.mark.parametrize("most", [3600, 60, 59, 0])
def test_capping_never_makes_the_largest_ttl_larger(most: int) -> None:
    found = parsed(response("q.example. A", "q.example. 60 IN A 192.0.2.1"), "q.example. A")
    assert with_ttls_capped(found, most).most_ttl == min(60, most)


# ---------------------------------------------------------------------------------------------------- malice (RFC 9267)

LONG = b"\1a" * 126 + b"\1q\0"


def filled(
    size: int, qtype: int, one: bytes, *, first: bytes = b"", section: int = 0, flags: int = OK, owner: bytes = LONG
) -> bytes:
    """A message of about `size` octets: `first` and then as many of `one` as there is room for."""
    question = owner + struct.pack("!HH", qtype, 1)
    many = (size - 12 - len(question) - len(first)) // len(one)
    counts = [1 if first else 0, 0, 0]
    counts[section] += many
    return raw_message(question, (counts[0], counts[1], counts[2]), first + one * many, flags)


AT = 12 + len(LONG) + 4
OTHER = struct.pack("!H", 0xC000 | AT)
"""Points to the owner of the first record, a name as long as names get."""
POINTERS = TO_QNAME + b"".join(struct.pack("!H", 0xC000 | AT + 12 + 2 * number) for number in range(14))
DEEPEST = struct.pack("!H", 0xC000 | AT + 12 + 28)
LINES_PER_OCTET = 250
"""Of Python executed for an octet of the worst of these: names of 127 labels, of which two stand in 14 octets and are read three times."""
MALICE: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "records of QNAME beside NXDOMAIN": (1, lambda size: filled(size, 1, raw_record(TO_QNAME, 1, bytes(4)), flags=OK | 3)),
    "records to be moved": (1, lambda size: filled(size, 1, raw_record(TO_QNAME, 1, bytes(4)), first=raw_record(TO_QNAME, 16, b""))),
    "long names": (1, lambda size: filled(size, 1, raw_record(OTHER, 1, bytes(4)), first=raw_record(LONG[2:], 16, b""))),
    "chains of pointers": (1, lambda size: filled(size, 1, raw_record(DEEPEST, 1, bytes(4)), first=raw_record(TO_QNAME, 16, POINTERS))),
    "long names to be moved": (2, lambda size: filled(size, 2, raw_record(DEEPEST, 2, DEEPEST), first=raw_record(TO_QNAME, 16, POINTERS))),
    "hosts": (15, lambda size: filled(size, 15, raw_record(TO_QNAME, 15, b"\0\0" + TO_QNAME))),
    "addresses of hosts": (
        15, lambda size: filled(size, 15, raw_record(TO_QNAME, 1, bytes(4)), first=raw_record(TO_QNAME, 15, b"\0\0" + TO_QNAME), section=2),
    ),
    "zones": (1, lambda size: filled(size, 1, raw_record(OTHER, 6, b""), first=raw_record(b"\1z" + LONG[2:-3] + b"\0", 16, b""), section=1)),
    "redirections": (1, lambda size: filled(size, 1, raw_record(OTHER, 39, TO_QNAME), first=raw_record(LONG[2:], 16, b""))),
    "aliases": (1, lambda size: filled(size, 1, raw_record(TO_QNAME, 5, TO_QNAME))),
    "signatures": (1, lambda size: filled(size, 1, raw_record(TO_QNAME, 46, b"\0\x05"), first=raw_record(TO_QNAME, 5, b"\0"))),
}  # fmt: skip


@pytest.mark.parametrize(("qtype", "message_of"), MALICE.values(), ids=MALICE)
def test_malice_is_linear_work(qtype: int, message_of: Callable[[int], bytes]) -> None:
    def work(size: int) -> int:
        message = message_of(size)

        def reading() -> None:
            try:
                parse_response(message, LONG, qtype, do=True)
            except WireError as error:
                assert "without its compression" in str(error)  # noqa: PT017 - the only one that may come of these

        return work_of(reading)

    small, large = work(8_000), work(16_000)
    assert large <= 2.2 * small, "twice the octets, twice the work"
    assert large <= LINES_PER_OCTET * 16_000


def test_a_chain_of_aliases_ends() -> None:
    chain = lines(
        "\n".join(f"{'q' if number == 0 else f'n{number}'}.example. 5 IN CNAME n{number + 1}.example." for number in range(40))
    )
    with pytest.raises(WireError):
        parsed(written("q.example. A", (chain, [], [])), "q.example. A")
    assert parsed(written("q.example. A", (chain[:15], [], [])), "q.example. A").counts == (15, 0, 0)


def test_what_does_not_fit_without_its_compression_is_a_wire_error() -> None:
    message = filled(5_000, 2, raw_record(TO_QNAME, 2, TO_QNAME), first=raw_record(b"\1x\0", 16, b""))
    with pytest.raises(WireError):
        parse_response(message, LONG, 2, do=False)
