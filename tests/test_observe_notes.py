"""Notes on their way: what was written is read, and nothing else is."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.observe.notes import LATEST, MOST_QUESTION, Note, is_failing, read, written

NOTES = st.builds(
    Note,
    at=st.floats(0, LATEST),
    question=st.binary(max_size=MOST_QUESTION),
    is_stream=st.booleans(),
    source=st.integers(0, len(counters.SOURCES) - 1),
    rcode=st.integers(0, len(counters.RCODES) - 1),
    microseconds=st.integers(0, 1 << 53),
    stands_for=st.integers(1, 1 << 53),
    client=st.binary(max_size=16),
    upstream=st.text(max_size=64),
    attempts=st.integers(0, 99),
)


@given(st.lists(NOTES, max_size=5))
def test_what_was_written_is_read(notes: list[Note]) -> None:
    assert read(written(notes)) == notes


@pytest.mark.parametrize(
    "note",
    [
        Note(-1.0, b"", False, 0, 0, 0, 1),
        Note(LATEST + 1.0, b"", False, 0, 0, 0, 1),
        Note(float("nan"), b"", False, 0, 0, 0, 1),
        Note(0.0, bytes(MOST_QUESTION + 1), False, 0, 0, 0, 1),
        Note(0.0, b"", False, len(counters.SOURCES), 0, 0, 1),
        Note(0.0, b"", False, 0, len(counters.RCODES), 0, 1),
        Note(0.0, b"", False, 0, -1, 0, 1),
        Note(0.0, b"", False, 0, 0, 0, 0),
        Note(0.0, b"", False, 0, 0, 0, 1, bytes(17)),
        Note(0.0, b"", False, 0, 0, 0, 1, b"", "x" * 513),
    ],
)
def test_what_no_worker_of_ours_says_is_not_read(note: Note) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(written([note]))


@given(st.binary(max_size=64))
def test_octets_are_notes_or_no_message(data: bytes) -> None:
    with suppress(msgspec.DecodeError):
        assert isinstance(read(data), list)


@pytest.mark.parametrize(
    ("source", "rcode", "expected"),
    [
        ("upstream", "NOERROR", False),
        ("exact", "NXDOMAIN", False),
        ("failure", "SERVFAIL", True),
        ("failure", "NXDOMAIN", True),
        ("policy", "REFUSED", True),
        ("policy", "FORMERR", True),
        ("upstream", "YXDOMAIN", True),
    ],
)
def test_that_a_name_does_not_exist_is_an_answer_and_a_failure_told_as_that_is_none(
    source: str, rcode: str, *, expected: bool
) -> None:
    assert is_failing(counters.SOURCES.index(source), counters.RCODES.index(rcode)) is expected
