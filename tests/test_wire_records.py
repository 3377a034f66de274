"""Responses of upstreams: what kind they are, and that both ways of reading them agree."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from forwarder.errors import WireError
from forwarder.wire.edns import opt_record
from forwarder.wire.message import Match, match_for
from forwarder.wire.records import Kind, Response, failure_response, parse_response, with_ttls_capped, with_ttls_set
from tests.lab.messages import (
    TO_QNAME,
    parsed,
    raw_message,
    raw_record,
    response,
)

NAME = b"\1q\7example\0"


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


# ------------------------------------------------------------------------------------------ two ways of reading agree

address_lengths = st.one_of(st.just(4), st.just(4), st.just(4), st.integers(0, 8))


@example(records=[(5, 8), (5, 0)], qtype=1, do=False)
@given(
    records=st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), address_lengths), min_size=1, max_size=5),
    qtype=st.sampled_from([1, 16, 28]),
    do=st.booleans(),
)
def test_the_short_way_and_the_long_way_agree(*, records: list[tuple[int, int]], qtype: int, do: bool) -> None:
    question = NAME + struct.pack("!HH", qtype, 1)
    answers = b"".join(raw_record(TO_QNAME, qtype, bytes(length * (4 if qtype == 28 else 1)), ttl) for ttl, length in records)
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
    bare = [one and replace(one, message=one.message[12:]) for one in same]
    assert bare == [bare[0]] * len(bare)
    assert (otherwise_owned is None) == (bare[0] is None)
    if otherwise_owned and bare[0]:
        assert (otherwise_owned.counts, otherwise_owned.most_ttl) == (bare[0].counts, bare[0].most_ttl)


@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=5), st.integers(0, 0xFFFFFFFF))
def test_ttls_are_capped_and_the_top_bit_is_a_large_one(ttls: list[int], most: int) -> None:
    answers = b"".join(raw_record(TO_QNAME, 1, bytes(4), ttl) for ttl in ttls)
    found = parse_response(raw_message(NAME + b"\0\1\0\1", (len(ttls), 0, 0), answers), NAME, 1, do=False)
    assert (found.least_ttl, found.most_ttl) == (min(ttls), max(ttls))
    capped = with_ttls_capped(found, most)
    again = parse_response(capped.message, NAME, 1, do=False)
    told = [int.from_bytes(again.message[offset : offset + 4]) for offset in again.ttl_offsets]
    assert told == [min(ttl, most) for ttl in ttls]
    assert again == replace(capped, most_ttl=again.most_ttl)


@pytest.mark.parametrize("most", [3600, 60, 59, 0])
def test_capping_never_makes_the_largest_ttl_larger(most: int) -> None:
    found = parsed(response("q.example. A", "q.example. 60 IN A 192.0.2.1"), "q.example. A")
    assert with_ttls_capped(found, most).most_ttl == min(60, most)


@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=5), st.integers(0, 0x7FFFFFFF))
def test_ttls_are_set_whatever_they_were_and_nothing_else_changes(ttls: list[int], ttl: int) -> None:
    answers = b"".join(raw_record(TO_QNAME, 1, bytes(4), each) for each in ttls)
    found = parse_response(raw_message(NAME + b"\0\1\0\1", (len(ttls), 0, 0), answers), NAME, 1, do=False)
    alike = b"".join(raw_record(TO_QNAME, 1, bytes(4), ttl) for _ in ttls)
    assert with_ttls_set(found, ttl) == parse_response(
        raw_message(NAME + b"\0\1\0\1", (len(ttls), 0, 0), alike), NAME, 1, do=False
    )
    assert [found.least_ttl, found.most_ttl] == [min(ttls), max(ttls)]
