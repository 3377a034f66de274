"""A stored response as each client gets it: read by dnspython, at every limit, age and turn."""

import struct
from collections import Counter

import dns.flags
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forwarder.errors import WireError
from forwarder.wire.edns import ExtendedError, extended_error, opt_record
from forwarder.wire.fitting import fitted, response_opt
from forwarder.wire.message import AA, AD, CD, QR, RA, RD, TC, Query, parse_query
from forwarder.wire.records import Response
from tests.lab.messages import (
    HEADER,
    OK,
    SIGNATURE,
    SOA,
    kept_records,
    parsed,
    query,
    raw_message,
    raw_record,
    records_in,
    response,
    written,
)

FIVE = "\n".join(f"q.example. {60 + number} IN A 192.0.2.{number}" for number in range(5))
TEXTS = "\n".join(f"q.example. 60 IN TXT {'t' * number}" for number in range(1, 200, 33))
STORED = {
    "one address": parsed(response("q.example. A", "q.example. 60 IN A 192.0.2.1"), "q.example. A"),
    "addresses": parsed(response("q.example. A", FIVE), "q.example. A"),
    "an alias and addresses of IPv6": parsed(
        response(
            "q.example. AAAA",
            "junk.example. 5 IN TXT x\nq.example. 5 IN CNAME w.example.\n"
            + "\n".join(f"w.example. {60 + number} IN AAAA 2001:db8::{number}" for number in range(4)),
        ),
        "q.example. AAAA",
    ),
    "signed": parsed(
        response("q.example. A", f"{FIVE}\nq.example. 60 IN RRSIG {SIGNATURE.format(c='A')}"),
        "q.example. A",
        do=True,
    ),
    "NXDOMAIN": parsed(response("q.example. A", "", SOA, rcode=3), "q.example. A"),
    "NODATA behind an alias": parsed(response("q.example. A", "q.example. 5 IN CNAME w.example.", SOA), "q.example. A"),
    "NODATA without SOA": parsed(response("q.example. A"), "q.example. A"),
    "hosts and their addresses": parsed(
        response(
            "q.example. SRV",
            "\n".join(f"q.example. 60 IN SRV 0 0 {number} w.example." for number in range(3)),
            "",
            "\n".join(f"w.example. 30 IN A 192.0.2.{number}" for number in range(6)),
        ),
        "q.example. SRV",
    ),
    "hosts, their addresses, and a proof": parsed(
        response(
            "q.example. SRV",
            "q.example. 60 IN SRV 0 0 1 w.example.",
            "example. 60 IN NSEC z.example. A",
            "w.example. 30 IN A 192.0.2.1",
        ),
        "q.example. SRV",
        do=True,
    ),
    "texts": parsed(response("q.example. TXT", TEXTS), "q.example. TXT"),
    "a failure": parsed(response("q.example. A", rcode=2), "q.example. A"),
}  # fmt: skip
stored = st.sampled_from(list(STORED.values()))
flags = st.sampled_from([0, RD, RD | CD, RD | AD, RD | AD | CD, CD, AA | TC | RA | RD | 0xF])


def asking_for(kept: Response, *, flags: int = RD, edns: tuple[int, int] | None = None) -> Query:
    """The query of a client for what was kept, in its own spelling."""
    question = kept.message[12 : 12 + 15].replace(b"\1q", b"\1Q")
    return parse_query(
        raw_message(question, (0, 0, 1 if edns else 0), opt_record(edns[1], do=bool(edns[0])) if edns else b"", flags)
    )


clients = st.tuples(flags, st.sampled_from([None, (0, 1232), (0x8000, 1232)]))


@given(stored, clients, st.integers(0, 100), st.integers(0, 7))
def test_what_the_client_reads_is_what_was_kept(
    kept: Response, client: tuple[int, tuple[int, int] | None], age: int, turn: int
) -> None:
    asked = asking_for(kept, flags=client[0], edns=client[1])
    before = kept.message
    wire = fitted(kept, asked, 65535, response_opt(asked, 1400), age=age, turn=turn)
    assert kept.message == before
    seen = dns.message.from_wire(wire)
    assert (seen.id, int(seen.flags)) == (0x1234, QR | RA | asked.flags & (RD | CD) | kept.rcode & 0xF)
    assert seen.question[0].name.to_text() == "Q.example."
    assert wire[12 : 12 + len(asked.question)] == asked.question
    assert (seen.edns, seen.payload) == ((0, 1400) if asked.has_edns else (-1, 0))
    assert bool(seen.ednsflags & dns.flags.DO) == asked.do
    for section, original in zip(records_in(wire), kept_records(kept), strict=True):
        assert [aged.split()[1] for aged in section] == [str(max(int(line.split()[1]) - age, 0)) for line in original]
        assert Counter(without_ttl(section)) == Counter(without_ttl(original))
        if not turn or not kept.rotatable:
            assert without_ttl(section) == without_ttl(original)


def without_ttl(section: list[str]) -> list[tuple[str, ...]]:
    return [(line.split()[0], *line.split()[2:]) for line in section]


@pytest.mark.parametrize("name", ["addresses", "an alias and addresses of IPv6", "signed"])
def test_every_address_comes_first_in_its_turn_and_the_others_follow_in_order(name: str) -> None:
    kept = STORED[name]
    asked = asking_for(kept)

    def addresses(turn: int) -> list[str]:
        answers = records_in(fitted(kept, asked, 65535, b"", turn=turn))[0]
        return [line.split()[4] for line in answers if line.split()[3] in {"A", "AAAA"}]

    first, count = addresses(0), len(kept.rotatable)
    assert len(first) == count > 1
    for turn in range(2 * count):
        cut = turn % count
        assert addresses(turn) == first[cut:] + first[:cut]


@given(is_authentic=st.booleans(), sent=flags, edns=st.sampled_from([None, (0, 1232), (0x8000, 1232)]))
def test_ad_goes_to_those_who_sent_ad_or_do(*, is_authentic: bool, sent: int, edns: tuple[int, int] | None) -> None:
    """RFC 6840 section 5.8."""
    message = response("q.example. A", "q.example. 60 IN A 192.0.2.1")
    kept = parsed(message[:3] + bytes((message[3] | (AD if is_authentic else 0),)) + message[4:], "q.example. A")
    asked = query("q.example. A", flags=sent & ~QR, edns=edns)
    given_ad = fitted(kept, asked, 65535, response_opt(asked, 1232))[3] & AD
    assert bool(given_ad) == (is_authentic and bool(sent & AD or edns == (0x8000, 1232)))
    assert not fitted(kept, asked, 65535, b"")[2] & (AA >> 8), "from memory: never authoritative"


def needed_and_seen(kept: Response, wire: bytes) -> tuple[list[str], list[str], list[str]]:
    """Answers and authorities kept, those the client got, and the additionals it got."""
    answers, authorities, _ = kept_records(kept)
    seen = records_in(wire)
    assert answers[: len(seen[0])] == seen[0], "whole records, in their order"
    assert authorities[: len(seen[1])] == seen[1]
    return answers + authorities, seen[0] + seen[1], seen[2]


@pytest.mark.parametrize("edns", [None, (0, 1232), (0x8000, 1232)], ids=["no EDNS", "EDNS", "DO"])
@pytest.mark.parametrize("name", STORED)
def test_at_every_limit(name: str, edns: tuple[int, int] | None) -> None:
    kept = STORED[name]
    asked = asking_for(kept, edns=edns)
    opt = (
        response_opt(asked, 1232)
        if asked.do or not edns
        else opt_record(1232, options=extended_error(ExtendedError.CACHED_ERROR, "why"))
    )
    full = len(kept.message) + len(opt)
    smallest = 12 + len(asked.question) + len(opt)
    ends = [12 + len(asked.question)]
    for line in kept_records(kept)[0]:
        ends.append(end_of_record(kept.message, ends[-1]))
        assert line
    for limit in range(smallest, full + 3):
        wire = fitted(kept, asked, limit, opt)
        assert len(wire) <= limit
        assert wire.endswith(opt)
        read = dns.message.from_wire(wire)
        assert (read.edns >= 0) == bool(edns)
        assert int(read.flags) & ~TC == QR | RA | RD | kept.rcode & 0xF
        needed, seen, additional = needed_and_seen(kept, wire)
        assert bool(int(read.flags) & TC) == (len(seen) < len(needed)), f"TC says that something needed is missing, at {limit}"
        assert len(seen) >= sum(end + len(opt) <= limit for end in ends[1:]), f"as many whole answers as fit, at {limit}"
        assert limit < full or (len(seen), len(additional)) == (len(needed), kept.counts[2])
    assert fitted(kept, asked, full, opt)[2] & TC >> 8 == 0


def end_of_record(message: bytes, start: int) -> int:
    """Where the record at `start` ends, for owners that are one pointer or a name written out."""
    while message[start] and message[start] < 0xC0:
        start += 1 + message[start]
    start += 2 if message[start] else 1
    return start + 10 + int.from_bytes(message[start + 8 : start + 10])


def test_additional_addresses_that_do_not_fit_are_not_missed() -> None:
    """RFC 2181 section 9: TC is for what is required."""
    kept = STORED["hosts and their addresses"]
    asked = asking_for(kept)
    wire = fitted(kept, asked, len(kept.message) - 1, b"")
    answers, _, _ = kept_records(kept)
    assert (records_in(wire)[0], wire[2] & TC >> 8) == (answers, 0)


def test_proofs_that_fit_are_not_dropped_with_the_additional_addresses_that_do_not() -> None:
    kept = STORED["hosts, their addresses, and a proof"]
    assert kept.counts == (1, 1, 1)
    wire = fitted(kept, asking_for(kept), len(kept.message) - 1, b"")
    assert (len(records_in(wire)[1]), wire[2] & TC >> 8) == (1, 0)


def test_a_denial_whose_soa_does_not_fit_is_truncated() -> None:
    kept = STORED["NXDOMAIN"]
    wire = fitted(kept, asking_for(kept), len(kept.message) - 1, b"")
    assert (records_in(wire), wire[2] & TC >> 8, wire[3] & 0xF) == (([], [], []), TC >> 8, 3)


@pytest.mark.parametrize("ttl", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_ttls_count_down_to_zero_and_no_further(ttl: int) -> None:
    record = raw_record(b"\xc0\x0c", 1, bytes(4), ttl)
    kept = parsed(raw_message(b"\1q\7example\0\0\1\0\1", (1, 0, 0), record), "q.example. A")
    for age in (0, 1, 2, 3600):
        (left,) = struct.unpack_from("!I", fitted(kept, asking_for(kept), 512, b"", age=age), kept.ttl_offsets[0])
        assert left == max(ttl - age, 0)


changes = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4)


@settings(max_examples=200)
@given(st.sampled_from(["A", "TXT", "SRV", "NS"]), changes, st.integers(0, 400), st.integers(0, 9), st.integers(0, 9))
def test_whatever_was_kept_of_a_mutated_response_fits(
    qtype: str, changed: list[tuple[int, int]], limit: int, age: int, turn: int
) -> None:
    rdata = {"A": "192.0.2.{}", "TXT": "t{}", "SRV": "0 0 {} w.example.", "NS": "n{}.example."}[qtype]
    answers = [f"q.example. 60 IN {qtype} {rdata.format(number)}" for number in range(3)]
    message = bytearray(
        written(f"q.example. {qtype}", (answers, [SOA], ["w.example. 5 IN A 192.0.2.1"]), flags=OK, edns=(0, 1232))
    )
    for place, octet in changed:
        message[27 + place % (len(message) - 27)] = octet
    try:
        kept = parsed(bytes(message), f"q.example. {qtype}")
    except WireError:
        return
    asked = query(f"Q.example. {qtype}", edns=(0, 1232))
    opt = response_opt(asked, 1232)
    limit += 27 + len(opt)
    wire = fitted(kept, asked, limit, opt, age=age, turn=turn)
    assert len(wire) <= limit
    assert wire.endswith(opt)
    identity, _, questions, answered, authorities, additionals = HEADER.unpack_from(wire)
    assert (identity, questions) == (0x4711, 1)
    assert answered <= kept.counts[0]
    assert authorities in {0, kept.counts[1]}
    assert additionals in {1, 1 + kept.counts[2]}
    position = 27
    for _ in range(answered + authorities + additionals):
        position = end_of_record(wire, position)
    assert position == len(wire)


def test_no_opt_for_those_who_sent_none() -> None:
    assert response_opt(query("q.example. A"), 1232) == b""
    assert response_opt(query("q.example. A", edns=(0x8000, 4096)), 1232) == opt_record(1232, do=True)


def test_opt_tells_why_to_those_who_sent_one() -> None:
    why = ExtendedError.STALE_ANSWER
    assert response_opt(query("q.example. A"), 1232, why) == b""
    told = response_opt(query("q.example. A", edns=(0, 4096)), 1400, why)
    assert told == opt_record(1400, options=b"\0\x0f\0\2\0\3")
