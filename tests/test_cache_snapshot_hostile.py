"""A snapshot that somebody made up, its checksum right: nothing comes of it that no upstream could have said."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cache.answers import AnswerCache
from forwarder.cache.snapshot import HEADER_OCTETS, MAX_RECORD, Restoring, is_name, response_in
from forwarder.errors import WireError
from forwarder.snapshotting import Share
from forwarder.wire.message import Qtype
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Kind, parse_response
from tests.test_cache_snapshot import (
    NOW,
    ROOMY,
    ROOT_ALONE,
    anybody,
    cache_of,
    key_of,
    made_up,
    positive,
    put_back,
    resealed,
    said,
    written,
)

KEY = key_of("www.test.")
NAME = KEY[:-5]
QUESTION = KEY[:-1]
ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"
ELSE = b"\4else\4test\0" + ADDRESS[2:]
OPT = b"\0\0\x29\4\xd0\0\0\0\0\0\0"


def message(
    *records: bytes, flags: int = 0x8000, counts: tuple[int, int, int] | None = None, question: bytes = QUESTION
) -> bytes:
    counts = counts or (len(records), 0, 0)
    return struct.pack("!6H", 0, flags, 1, *counts) + question + b"".join(records)


GOOD = message(ADDRESS)
SHARES = [Share(number, 3) for number in range(3)]
"""Of three workers: whose a key is, is asked before it is known to be one."""


def test_the_pattern_itself_is_taken() -> None:
    """Else the refusals below would prove nothing."""
    assert put_back(made_up(KEY, GOOD)).fresh(KEY, NOW) is not None


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\0",
        message(ADDRESS, ELSE),
        message(ELSE),
        message(ADDRESS, OPT, counts=(1, 0, 1)),
        message(ADDRESS, counts=(2, 0, 0)),
        message(ADDRESS, counts=(0, 0, 1)),
        message(ADDRESS, flags=0x0000),
        message(ADDRESS, flags=0x8200),
        message(ADDRESS, flags=0x8400),
        message(ADDRESS, flags=0x8800),
        message(ADDRESS, flags=0x8002),
        message(flags=0x8002),
        message(flags=0x8005),
        message(ADDRESS, question=name_from_text("else.test") + b"\0\1\0\1"),
        message(ADDRESS, question=NAME + b"\0\x1c\0\1"),
        b"\0\1" + GOOD[2:],
        message(ADDRESS[:6] + bytes(4) + ADDRESS[10:]),
        message(b"\xc0\x0c\0\1\0\1\0\0\0\1\0\5\1\2\3\4\5"),
    ],
    ids=[
        "nothing", "cut off", "more behind it", "another's record beside it", "another's record", "an OPT record", "too few",
        "an answer that is called additional", "a query", "TC", "AA", "an opcode", "SERVFAIL with records", "SERVFAIL",
        "REFUSED", "another name", "another type", "an ID", "TTL 0", "an address too long",
    ],
)  # fmt: skip
def test_a_message_that_is_not_what_would_be_kept(octets: bytes) -> None:
    assert put_back(made_up(KEY, octets)).kept() == []


def test_a_failure_is_no_answer_whatever_its_lifetime() -> None:
    with pytest.raises(WireError, match="failure"):
        response_in(message(flags=0x8002), KEY)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\0",
        KEY[:-1] + b"\4",
        KEY[:-3] + b"\0\3\0",
        b"\3WWW\4test\0\0\1\0\1\0",
        b"\3www\xc0\x0c\0\1\0\1\0",
        b"\3www\4test\0\0\0\1\0\1\0",
        b"\4test" * 51 + b"\0\0\1\0\1\0",
        b"\4test" * 99 + b"\0\0\1\0\1\0",
        b"\x40" + b"a" * 64 + b"\0\0\1\0\1\0",
        name_from_text("www.test") + bytes((0, Qtype.ANY)) + b"\0\1\0",
        name_from_text("www.test") + bytes((0, Qtype.AXFR)) + b"\0\1\0",
        name_from_text("www.test") + b"\0\x29\0\1\0",
    ],
)
def test_a_key_that_no_question_has(key: bytes) -> None:
    octets = made_up(key, message(ADDRESS[:2] + key[-5:-3] + ADDRESS[4:], question=key[:-1]), place=max(0, len(key) - 6) % 256)
    assert put_back(octets).kept() == []
    for share in SHARES:
        assert put_back(octets, is_ours=share.has).kept() == []


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_any_octets_behind_a_right_checksum(octets: bytes, place: int, age: int) -> None:
    """Read to the end, or to where no record is; never an error."""
    put_back(made_up(KEY, octets, place=place, age=age))
    for share in SHARES:
        put_back(made_up(octets, GOOD, place=place, age=age), is_ours=share.has)
        Restoring(AnswerCache(ROOMY), ROOT_ALONE, share.has, NOW, 0.0).restore(octets)


WRITTEN = written(cache_of(("www.test.", positive("www.test.")), ("b.test.", said("b.test.", "b.test. 60 IN CNAME www.test."))))


@pytest.mark.parametrize("place", range(HEADER_OCTETS, len(WRITTEN)))
def test_any_octet_changed_and_the_checksum_put_right(place: int) -> None:
    """What comes of it is what an upstream could have said to the question under which it stands."""
    for value in (0, 1, 0x0C, 0x3F, 0xC0, 0xFF):
        changed = WRITTEN[:place] + bytes((value,)) + WRITTEN[place + 1 :]
        for answer in put_back(resealed(changed)).kept():
            name = answer.key[:-5]
            again = parse_response(answer.response.message, name, answer.key[-5] << 8 | answer.key[-4], do=answer.key[-1] > 1)
            assert (again.message, again.kind, again.counts) == (
                answer.response.message,
                answer.response.kind,
                answer.response.counts,
            )
            assert answer.response.kind is not Kind.FAILURE
            assert answer.stored_at <= NOW
            assert answer.expires_at - answer.stored_at <= again.least_ttl


def test_an_age_makes_nothing_younger() -> None:
    assert put_back(made_up(KEY, GOOD, age=0xFFFFFFFF)).kept() == []
    assert put_back(made_up(KEY, GOOD, age=299_000)).fresh(KEY, NOW) is not None
    assert put_back(made_up(KEY, GOOD, age=300_000)).fresh(KEY, NOW) is None


@pytest.mark.parametrize("place", [0, 4, 8, 10, 255])
def test_a_zone_that_is_not_the_names(place: int) -> None:
    assert put_back(made_up(KEY, GOOD, place=place)).kept() == []


def test_a_record_that_runs_past_the_end() -> None:
    octets = made_up(KEY, GOOD) + struct.pack("!HBHI", 14, 9, 0xFFFF, 0) + KEY
    restoring = Restoring(AnswerCache(ROOMY), ROOT_ALONE, anybody, NOW, 0.0)
    taken = restoring.restore(octets[HEADER_OCTETS:])
    assert restoring.restored == 1
    assert not restoring.restore(octets[HEADER_OCTETS + taken :])


def test_the_longest_record_is_read() -> None:
    """Whole within MAX_RECORD octets, else reading would stop there."""
    key = b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x3d" + b"d" * 61 + b"\0" + b"\0\1\0\1\0"
    count = (0xFFFF - 12 - len(key)) // 16
    octets = made_up(key, message(*[ADDRESS] * count, question=key[:-1]), place=254)
    assert HEADER_OCTETS + MAX_RECORD - 32 < len(octets) <= HEADER_OCTETS + MAX_RECORD
    assert put_back(octets).fresh(key, NOW) is not None


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=5))
def test_names(labels: list[bytes]) -> None:
    name = b"".join(bytes((len(label),)) + label for label in labels).lower() + b"\0"
    assert is_name(name) == (len(name) <= 255)
    assert not is_name(name[:-1])
    assert not is_name(name + b"\0")
