"""Messages in a stream: the same ones, however the stream was cut."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.errors import WireError
from forwarder.wire.framing import HEADER_SIZE, Deframer, framed

messages = st.lists(st.binary(min_size=HEADER_SIZE, max_size=300), max_size=6)


def handed_out(pieces: list[bytes]) -> list[bytes]:
    deframer = Deframer()
    return [message for piece in pieces for message in deframer.messages_in(piece)]


def cut_at(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(messages, st.lists(st.integers(0, 5000), max_size=8))
def test_any_cut_gives_the_same_messages(sent: list[bytes], places: list[int]) -> None:
    stream = b"".join(map(framed, sent))
    assert handed_out(cut_at(stream, places)) == sent


@given(messages)
def test_octet_by_octet_a_message_comes_with_its_last_octet(sent: list[bytes]) -> None:
    deframer = Deframer()
    for message in sent:
        *ahead, last = framed(message)
        assert [deframer.messages_in(bytes((octet,))) for octet in ahead] == [[]] * len(ahead)
        assert deframer.messages_in(bytes((last,))) == [message]


@given(messages, st.integers(min_value=1))
def test_a_stream_cut_short_hands_out_what_was_whole(sent: list[bytes], cut: int) -> None:
    stream = b"".join(map(framed, sent))
    stream = stream[: len(stream) - cut % (len(stream) + 1)]
    found = handed_out([stream])
    assert found == sent[: len(found)]
    rest = len(stream) - len(b"".join(map(framed, found)))
    assert len(found) == len(sent) or rest < len(framed(sent[len(found)]))


def test_a_message_may_have_all_the_octets_the_length_can_say() -> None:
    longest = bytes(range(256)) * 255 + bytes(255)
    assert framed(longest)[:2] == b"\xff\xff"
    assert handed_out(cut_at(framed(longest) * 2, [1, 2, 3, 40_000, 65_537, 65_538])) == [longest, longest]


@given(messages, st.integers(0, HEADER_SIZE - 1))
def test_a_length_below_a_header_ends_the_stream(sent: list[bytes], length: int) -> None:
    deframer = Deframer()
    stream = b"".join(map(framed, sent))
    assert deframer.messages_in(stream) == sent
    with pytest.raises(WireError):
        deframer.messages_in(struct.pack("!H", length))
    deframer = Deframer()
    if sent:
        assert deframer.messages_in(stream + struct.pack("!H", length) + b"abc") == sent, "those ahead of it are good"
    with pytest.raises(WireError):
        deframer.messages_in(struct.pack("!H", length))


@given(st.binary(max_size=200), st.lists(st.integers(0, 5000), max_size=4))
def test_any_octets_give_messages_or_a_wire_error(stream: bytes, places: list[int]) -> None:
    try:
        found = handed_out(cut_at(stream, places))
    except WireError:
        with pytest.raises(WireError):
            handed_out([bytes((octet,)) for octet in stream])
    else:
        assert found == handed_out([bytes((octet,)) for octet in stream])
        assert stream.startswith(b"".join(map(framed, found)))
