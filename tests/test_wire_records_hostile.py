"""Responses of hostile upstreams: cut, mutated or malicious, each is a response or a `WireError`, for linear work."""

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.errors import WireError
from forwarder.wire.records import Kind, parse_response
from tests.lab.messages import (
    LONG,
    MALICE,
    TO_QNAME,
    Sections,
    asked_types,
    filled,
    parsed,
    raw_message,
    raw_record,
    sections_of_all,
    whole,
    work_of,
    written,
)

LINES_PER_OCTET = 8
"""Of Python executed for an octet of the worst malice, twice what was counted: 64 KiB then cost well below 20 ms."""
NAME = b"\1q\7example\0"


@given(sections=sections_of_all, qtype=asked_types, do=st.booleans())
def test_cut_anywhere_is_a_wire_error_and_added_to_is_the_same(*, sections: Sections, qtype: str, do: bool) -> None:
    question = f"q.example. {qtype}"
    message = written(question, sections)
    for cut in range(12 + len(NAME) + 4, len(message)):
        with pytest.raises(WireError):
            parsed(message[:cut], question, do=do)
    assert parsed(message + b"\0\0\x29more", question, do=do) == parsed(message, question, do=do)


def test_a_record_inside_an_address_is_no_address() -> None:
    inside = raw_record(TO_QNAME, 1, b"abcd" + raw_record(TO_QNAME, 1, b"evil"))
    message = raw_message(NAME + b"\0\1\0\1", (2, 0, 0), inside + raw_record(TO_QNAME, 1, b"good"))
    with pytest.raises(WireError):
        parse_response(message, NAME, 1, do=False)


@pytest.mark.parametrize("numbers", [0, 19, 21, 40])
def test_an_soa_of_the_wrong_length_is_a_wire_error(numbers: int) -> None:
    soa = raw_record(b"\7example\0", 6, b"\0\0" + bytes(numbers))
    with pytest.raises(WireError):
        parse_response(raw_message(NAME + b"\0\1\0\1", (0, 1, 0), soa + bytes(30)), NAME, 1, do=False)


changes = st.lists(
    st.tuples(st.integers(0, 2000), st.one_of(st.integers(0, 255), st.sampled_from([0, 12, 41, 46, 0xC0]))),
    min_size=1,
    max_size=5,
)


@given(sections=sections_of_all, qtype=asked_types, changed=changes, do=st.booleans())
def test_mutated_is_a_response_or_a_wire_error(
    *, sections: Sections, qtype: str, changed: list[tuple[int, int]], do: bool
) -> None:
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


@pytest.mark.parametrize(("qtype", "message_of"), MALICE.values(), ids=MALICE)
def test_malice_is_linear_work(qtype: int, message_of: Callable[[int], bytes]) -> None:
    def work(size: int) -> int:
        message = message_of(size)

        def reading() -> None:
            with contextlib.suppress(WireError):
                parse_response(message, LONG, qtype, do=True)

        return work_of(reading)

    small, large = work(8_000), work(16_000)
    assert large <= 2.2 * small, "twice the octets, twice the work"
    assert large <= LINES_PER_OCTET * 16_000


def test_a_chain_of_aliases_ends() -> None:
    chain = [f"{'q' if number == 0 else number}.example. 5 IN CNAME {number + 1}.example." for number in range(40)]
    with pytest.raises(WireError):
        parsed(written("q.example. A", (chain, [], [])), "q.example. A")
    assert parsed(written("q.example. A", (chain[:15], [], [])), "q.example. A").counts == (15, 0, 0)


def test_what_does_not_fit_without_its_compression_is_a_wire_error() -> None:
    message = filled(5_000, 2, raw_record(TO_QNAME, 2, TO_QNAME), first=raw_record(b"\1x\0", 16, b""))
    with pytest.raises(WireError):
        parse_response(message, LONG, 2, do=False)
