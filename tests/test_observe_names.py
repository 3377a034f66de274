"""The names asked for most: never overstated, never missed where there are many of them, and forgotten with time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.observe.names import CAPACITY, HALF_LIFE, SHOWN, AskedNames, Frequent
from forwarder.observe.notes import Note
from forwarder.observe.overview import Asked
from forwarder.wire.names import name_from_text

KEYS = st.sampled_from([bytes((number,)) for number in range(12)])
TAIL = b"\0\1\0\1"


class TestFrequent:
    @given(st.lists(st.tuples(KEYS, st.integers(1, 9))), st.integers(1, 6))
    def test_it_keeps_what_space_saving_promises(self, stream: list[tuple[bytes, int]], capacity: int) -> None:
        frequent, true = Frequent(capacity), Counter[bytes]()
        for key, weight in stream:
            frequent.add(key, weight)
            true[key] += weight
        found = dict(frequent.heaviest(capacity))
        assert frequent.total == true.total()
        assert len(found) == min(capacity, len(true))
        for key, own in found.items():
            assert 0 < own <= true[key], "never overstated"
            assert true[key] - own <= true.total() / capacity, "nor understated by more than its part"
        assert {key for key, weight in true.items() if weight > true.total() / capacity} <= set(found), (
            "nothing frequent is missed"
        )

    @given(st.lists(st.tuples(KEYS, st.integers(1, 9)), min_size=1), st.lists(st.tuples(KEYS, st.integers(1, 9))))
    def test_scaling_changes_nothing_but_the_unit(
        self, before: list[tuple[bytes, int]], after: list[tuple[bytes, int]]
    ) -> None:
        plain, scaled = Frequent(4), Frequent(4)
        for key, weight in before:
            plain.add(key, weight)
            scaled.add(key, weight)
        scaled.scale(0.5)
        for key, weight in after:
            plain.add(key, weight)
            scaled.add(key, weight * 0.5)
        assert scaled.total == plain.total * 0.5
        assert sorted(own for _, own in scaled.heaviest(4)) == sorted(own * 0.5 for _, own in plain.heaviest(4))

    def test_the_heaviest_come_first_and_equals_by_name(self) -> None:
        frequent = Frequent(9)
        for key, weight in ((b"c", 1.0), (b"b", 2.0), (b"a", 1.0), (b"b", 1.0)):
            frequent.add(key, weight)
        assert frequent.heaviest(2) == [(b"b", 3.0), (b"a", 1.0)]


def note(name: str, source: str = "answers", rcode: str = "NOERROR", *, stands_for: int = 1, behind: bytes = b"") -> Note:
    question = name_from_text(name) + TAIL + behind
    return Note(0.0, question, False, counters.SOURCES.index(source), counters.RCODES.index(rcode), 1, stands_for)


def test_each_list_has_its_own_names_and_shares() -> None:
    names = AskedNames(0.0)
    names.add([note("a.test", stands_for=6), note("gone.test", "exact", "NXDOMAIN", stands_for=3)], 0.0)
    names.add([note("bad.test", "failure", "SERVFAIL"), note("told.test", "failure", "NXDOMAIN")], 0.0)
    names.add([note("a.test", "upstream", stands_for=1)], 0.0)
    shown = names.shown(0.0)
    assert shown.sampled == 5
    assert shown.top[:2] == [Asked("a.test.", 7 / 12), Asked("gone.test.", 3 / 12)]
    assert shown.failing == [Asked("bad.test.", 0.5), Asked("told.test.", 0.5)]
    assert shown.denied == [Asked("gone.test.", 1.0)]


def test_spellings_of_a_name_are_one_and_what_stands_behind_the_question_is_none_of_it() -> None:
    names = AskedNames(0.0)
    spelled = Note(0.0, b"\1A\4tEsT\0" + TAIL, False, 0, 0, 1, 1)
    names.add([spelled, note("a.test", behind=b"\xc0\x0c\0\1")], 0.0)
    assert names.shown(0.0).top == [Asked("a.test.", 1.0)]


@pytest.mark.parametrize("question", [b"", b"\3a", b"\xc0\x00", b"\x40a\0", b"\x3f" * 255])
def test_what_is_no_name_is_passed_over(question: bytes) -> None:
    names = AskedNames(0.0)
    names.add([Note(0.0, question, False, 0, 0, 1, 1), note("a.test")], 0.0)
    assert names.shown(0.0).top == [Asked("a.test.", 1.0)]


def test_hostile_names_are_escaped() -> None:
    names = AskedNames(0.0)
    names.add([Note(0.0, b'\x09<b>"\0\n\x7f\xff.\0' + TAIL, False, 0, 0, 1, 1)], 0.0)
    assert names.shown(0.0).top == [Asked('<b>\\"\\000\\010\\127\\255\\..', 1.0)]


def test_what_was_asked_long_ago_counts_less_and_then_nothing() -> None:
    names = AskedNames(0.0)
    names.add([note("old.test", stands_for=4)], 0.0)
    names.add([note("new.test", stands_for=1)], HALF_LIFE)
    assert names.shown(HALF_LIFE).top == [Asked("old.test.", 2 / 3), Asked("new.test.", 1 / 3)]
    names.add([note("new.test", stands_for=4)], 3 * HALF_LIFE)
    first, second = names.shown(3 * HALF_LIFE).top
    assert (first.name, second.name) == ("new.test.", "old.test.")
    assert first.share == pytest.approx(4.25 / 4.75)
    assert names.shown(13 * HALF_LIFE).top == []
    assert names.shown(13 * HALF_LIFE).sampled == 0


@pytest.mark.parametrize("apart", [HALF_LIFE, 40 * HALF_LIFE, 2000 * HALF_LIFE, 10 * 365 * 86_400.0])
def test_it_goes_on_for_years(apart: float) -> None:
    names = AskedNames(0.0)
    for times in range(1, 100):
        names.add([note("a.test"), note("a.test"), note("b.test")], times * apart)
    shown = names.shown(99 * apart)
    assert [asked.name for asked in shown.top] == ["a.test.", "b.test."]
    assert shown.top[0].share == pytest.approx(2 / 3)


def test_a_name_is_found_among_many_that_are_asked_once_and_few_are_shown() -> None:
    names = AskedNames(0.0)
    for number in range(20 * CAPACITY):
        names.add([note(f"once-{number}.test"), *([note("often.test")] if number % 50 == 0 else [])], number / 1000)
    shown = names.shown(20 * CAPACITY / 1000)
    assert shown.top[0].name == "often.test."
    assert 0 < shown.top[0].share <= 1 / 51 * 1.01
    assert len(shown.top) == SHOWN
