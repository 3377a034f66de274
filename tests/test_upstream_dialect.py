"""With OPT or without: who refused it, or was silent and never knew it, is spoken to plainly for a while; nobody else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.dialect import REMEMBERED, SUSPECTED, Dialect

NOW = 1000.0


def test_at_first_with_opt() -> None:
    assert not Dialect().speaks_plain(NOW)


@pytest.mark.parametrize(
    ("was_refused", "knew", "seconds"), [(True, False, REMEMBERED), (True, True, REMEMBERED), (False, False, SUSPECTED)]
)
def test_an_answer_without_opt_is_remembered_for_a_while(*, was_refused: bool, knew: bool, seconds: float) -> None:
    dialect = Dialect()
    if knew:
        dialect.learn(NOW - 1, edns=True, was_refused=False)
    dialect.learn(NOW, edns=False, was_refused=was_refused)
    assert [dialect.speaks_plain(NOW + after) for after in (0, seconds - 0.1)] == [True, True]
    assert dialect.is_plain
    assert [dialect.speaks_plain(NOW + after) for after in (seconds, seconds + 1)] == [False, False]
    assert not dialect.is_plain


def test_silence_of_one_that_knows_opt_changes_nothing() -> None:
    dialect = Dialect()
    dialect.learn(NOW, edns=True, was_refused=False)
    for number in range(10):
        dialect.learn(NOW + number, edns=False, was_refused=False)
        assert not dialect.speaks_plain(NOW + number)


@pytest.mark.parametrize(("was_refused", "seconds"), [(True, REMEMBERED), (False, SUSPECTED)])
def test_it_ends_though_answers_without_opt_keep_coming(*, was_refused: bool, seconds: float) -> None:
    dialect = Dialect()
    dialect.learn(NOW, edns=False, was_refused=was_refused)
    for tenth in range(1, 10):
        dialect.learn(NOW + seconds * tenth / 10, edns=False, was_refused=False)
    assert [dialect.speaks_plain(NOW + seconds - 0.1), dialect.speaks_plain(NOW + seconds)] == [True, False]


def test_another_refusal_lengthens_it() -> None:
    dialect = Dialect()
    for after in (0, 50):
        dialect.learn(NOW + after, edns=False, was_refused=True)
    assert dialect.speaks_plain(NOW + REMEMBERED + 40)


@pytest.mark.parametrize("was_refused", [True, False])
def test_an_answer_with_opt_ends_it_at_once(*, was_refused: bool) -> None:
    dialect = Dialect()
    dialect.learn(NOW, edns=False, was_refused=was_refused)
    dialect.learn(NOW + 1, edns=True, was_refused=False)
    assert (dialect.speaks_plain(NOW + 1), dialect.is_plain, dialect.knows_edns) == (False, False, True)


def test_how_long() -> None:
    assert (REMEMBERED, SUSPECTED) == (900, 60)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 300)), max_size=30))
def test_plain_never_without_a_reason_nor_for_ever(moves: list[tuple[bool, bool, float]]) -> None:
    dialect, now, knows, until = Dialect(), NOW, False, 0.0
    for edns, was_refused, seconds in moves:
        now += seconds
        is_plain = dialect.speaks_plain(now)
        dialect.learn(now, edns=edns, was_refused=was_refused)
        if edns:
            knows, until = True, 0.0
        elif was_refused:
            until = now + REMEMBERED
        elif not (knows or is_plain):
            until = now + SUSPECTED
        assert dialect.speaks_plain(now) == (now < until)
        assert dialect.knows_edns == knows
