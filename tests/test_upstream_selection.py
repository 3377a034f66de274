"""Which upstream next, for how long, and when a failed one is first again: decisions as tables, the clock a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.selection import DOWN_AFTER, FIRST_REST, FIRST_WAIT, LONGEST_REST, Attempts, Selection

NOW = 1000.0
DEADLINE = NOW + 1.8


def after(*numbers: int) -> Attempts:
    """Attempts made at these upstreams, in vain and without a response."""
    attempts = Attempts()
    for number in numbers:
        attempts.total += 1
        attempts.made[number] = attempts.made.get(number, 0) + 1
    return attempts


def down(selection: Selection, number: int, now: float = NOW) -> None:
    for _ in range(DOWN_AFTER):
        selection.failed(number, now)


def order_of(selection: Selection, now: float = NOW, *, ruled_out: frozenset[int] = frozenset()) -> list[int]:
    """Whom one question goes to until it is enough."""
    attempts, asked = Attempts(), list[int]()
    number = selection.first(now)
    while number >= 0:
        asked.append(number)
        attempts.total += 1
        attempts.made[number] = attempts.made.get(number, 0) + 1
        if number in ruled_out:
            attempts.ruled_out.add(number)
        number = selection.next(attempts, now)
    return asked


class TestOrder:
    @pytest.mark.parametrize(
        ("upstreams", "order"),
        [
            (0, []),
            (1, [0, 0, 0]),
            (2, [0, 1, 0, 1, 0, 1]),
            (3, [0, 1, 2, 0, 1, 2]),
            (4, [0, 1, 2, 3, 0, 1]),
            (7, [0, 1, 2, 3, 4, 5]),
        ],
    )
    def test_as_written_six_attempts_three_each(self, upstreams: int, order: list[int]) -> None:
        assert order_of(Selection(upstreams)) == order

    @pytest.mark.parametrize(
        ("ruled_out", "order"),
        [({0}, [0, 1, 2, 1, 2, 1]), ({1}, [0, 1, 2, 0, 2, 0]), ({0, 1, 2}, [0, 1, 2]), ({0, 1}, [0, 1, 2, 2, 2])],
    )
    def test_who_answered_with_a_failure_is_not_asked_again(self, ruled_out: set[int], order: list[int]) -> None:
        assert order_of(Selection(3), ruled_out=frozenset(ruled_out)) == order

    @pytest.mark.parametrize(
        ("resting", "order"),
        [
            ({0}, [1, 2, 0, 1, 2, 0]),
            ({1}, [0, 2, 1, 0, 2, 1]),
            ({0, 1}, [2, 0, 1, 2, 0, 1]),
            ({0, 1, 2}, [0, 1, 2, 0, 1, 2]),
        ],
    )
    def test_who_is_down_is_asked_last_but_asked(self, resting: set[int], order: list[int]) -> None:
        selection = Selection(3)
        for number in resting:
            down(selection, number)
        assert order_of(selection) == order

    @given(st.integers(1, 8), st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7)))
    def test_bounds_hold_whoever_is_down_or_ruled_out(self, upstreams: int, resting: set[int], ruled_out: set[int]) -> None:
        selection = Selection(upstreams)
        for number in resting:
            if number < upstreams:
                down(selection, number)
        order = order_of(selection, ruled_out=frozenset(ruled_out))
        assert 1 <= len(order) <= 6
        for number in range(upstreams):
            assert order.count(number) <= (1 if number in ruled_out else 3)
        assert len(order) == 6 or all(number in ruled_out or order.count(number) == 3 for number in range(upstreams))

    def test_none_is_left(self) -> None:
        assert Selection(1).next(after(0, 0, 0), NOW) == -1
        assert Selection(3).next(after(0, 1, 2, 0, 1, 2), NOW) == -1


class TestHealth:
    def test_counts_as_down_after_the_third_failure_in_a_row(self) -> None:
        selection = Selection(2)
        firsts, ups = [], []
        for _ in range(3):
            selection.failed(0, NOW)
            firsts.append(selection.first(NOW))
            ups.append(selection.health[0].is_up)
        assert firsts == [0, 0, 1]
        assert ups == [True, True, False]

    def test_a_response_between_failures_begins_the_count_anew(self) -> None:
        selection = Selection(2)
        for _ in range(4):
            selection.failed(0, NOW)
            selection.failed(0, NOW)
            selection.answered(0)
        assert selection.first(NOW) == 0
        assert selection.health[0].is_up

    def test_rests_a_second_at_first_then_is_first_again(self) -> None:
        selection = Selection(2)
        down(selection, 0)
        assert FIRST_REST == 1
        assert [selection.first(NOW + seconds) for seconds in (0, 0.5, 0.999, 1, 5)] == [1, 1, 1, 0, 0]

    def test_rests_twice_as_long_each_time_up_to_the_longest(self) -> None:
        selection = Selection(2)
        now = NOW
        down(selection, 0, now)
        rests = []
        for _ in range(8):
            rest = next(seconds for seconds in range(1, 60) if selection.first(now + seconds) == 0)
            rests.append(rest)
            now += rest
            selection.failed(0, now)
        assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
        assert LONGEST_REST == 30

    def test_failures_while_it_rests_do_not_prolong_the_rest(self) -> None:
        """Else a thousand questions that were under way when it fell would send it to bed for the longest rest."""
        selection = Selection(2)
        down(selection, 0)
        for _ in range(100):
            selection.failed(0, NOW + 0.5)
        assert selection.first(NOW + 1) == 0

    def test_a_response_brings_it_back_at_once_and_its_rests_are_short_again(self) -> None:
        selection = Selection(2)
        down(selection, 0, NOW)
        selection.failed(0, NOW + 1)
        selection.failed(0, NOW + 3)
        selection.answered(0)
        assert selection.first(NOW + 3) == 0
        down(selection, 0, NOW + 4)
        assert [selection.first(NOW + 4 + seconds) for seconds in (0.9, 1)] == [1, 0]

    def test_of_one_nothing_follows_for_another(self) -> None:
        selection = Selection(3)
        down(selection, 1)
        assert [health.is_up for health in selection.health] == [True, False, True]

    def test_all_down_the_first_is_asked(self) -> None:
        selection = Selection(2)
        down(selection, 0)
        down(selection, 1)
        assert selection.first(NOW) == 0

    def test_a_lone_upstream_is_asked_though_it_is_down(self) -> None:
        selection = Selection(1)
        down(selection, 0)
        assert selection.first(NOW) == 0


class TestGiveUpAt:
    @pytest.mark.parametrize(
        ("round_number", "now", "ends"),
        [
            (0, NOW, NOW + 0.4),
            (1, NOW, NOW + 0.6),
            (2, NOW, NOW + 0.9),
            (0, NOW + 1.19, NOW + 1.59),  # 0.21 s are left for another
            (0, NOW + 1.25, DEADLINE),  # too little would be left for another
            (0, NOW + 1.5, DEADLINE),  # the deadline cuts it
            (2, NOW + 1.0, DEADLINE),
            (0, DEADLINE, DEADLINE),
        ],
    )
    def test_the_wait_of_its_round_or_the_deadline(self, round_number: int, now: float, ends: float) -> None:
        assert Selection(1).give_up_at(round_number, now, DEADLINE) == pytest.approx(ends)

    @given(st.integers(0, 2), st.floats(0, 1.8))
    def test_within_the_deadline_and_what_is_left_is_worth_an_attempt(self, round_number: int, since: float) -> None:
        now = NOW + since
        ends = Selection(1).give_up_at(round_number, now, DEADLINE)
        assert now <= ends <= DEADLINE
        assert ends == DEADLINE or DEADLINE - ends >= FIRST_WAIT / 2

    @given(st.integers(1, 7))
    def test_silence_of_all_ends_with_the_deadline(self, upstreams: int) -> None:
        """Attempt after attempt: each waits at least half of what the first does."""
        selection, attempts, now = Selection(upstreams), Attempts(), NOW
        number = selection.first(now)
        while number >= 0 and now < DEADLINE:
            ends = selection.give_up_at(attempts.made.get(number, 0), now, DEADLINE)
            assert ends - now >= FIRST_WAIT / 2 - 1e-9
            now = ends
            attempts.total += 1
            attempts.made[number] = attempts.made.get(number, 0) + 1
            number = selection.next(attempts, now)
        assert now == DEADLINE
