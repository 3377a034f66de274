"""What may be asked beyond first queries: a tenth of them, or ten a second, and so much at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.budget import BURST, LEAST_RATE, SHARE, Budget

NOW = 1000.0


def taken(budget: Budget, now: float) -> int:
    """How many tokens there were."""
    count = 0
    while budget.take(now):
        count += 1
    return count


def spent() -> Budget:
    budget = Budget(NOW)
    taken(budget, NOW)
    return budget


def test_a_burst_at_once_and_no_more() -> None:
    assert taken(Budget(NOW), NOW) == BURST == 256


@pytest.mark.parametrize(("seconds", "tokens"), [(0.05, 0), (0.125, 1), (1, 10), (10, 100), (1000, 256)])
def test_ten_a_second_however_little_is_asked(seconds: float, tokens: int) -> None:
    assert LEAST_RATE == 10
    assert taken(spent(), NOW + seconds) == tokens


@pytest.mark.parametrize(("firsts", "tokens"), [(9, 0), (10, 1), (95, 9), (500, 50), (1_000_000, 256)])
def test_a_tenth_of_the_first_queries(firsts: int, tokens: int) -> None:
    assert SHARE == 0.1
    budget = spent()
    budget.firsts += firsts
    assert taken(budget, NOW) == tokens


@pytest.mark.parametrize(("firsts", "tokens"), [(50, 10), (100, 10), (150, 15)])
def test_whichever_is_more_and_not_both(firsts: int, tokens: int) -> None:
    budget = spent()
    budget.firsts += firsts
    assert taken(budget, NOW + 1) == tokens


def test_first_queries_count_once() -> None:
    budget = spent()
    budget.firsts += 20
    assert [taken(budget, NOW) for _ in range(3)] == [2, 0, 0]


@pytest.mark.parametrize("debt", [0, 1, 25])
def test_who_must_not_wait_goes_into_debt_which_is_paid_off_first(debt: int) -> None:
    budget = spent()
    for _ in range(debt):
        budget.spend(NOW)
    assert not budget.has_any(NOW + debt / LEAST_RATE + 0.05)
    assert taken(budget, NOW + debt / LEAST_RATE + 1) == 10


def test_where_there_are_tokens_it_costs_one() -> None:
    budget = Budget(NOW)
    budget.spend(NOW)
    assert taken(budget, NOW) == BURST - 1


def test_what_was_earned_until_then_counts() -> None:
    budget = spent()
    budget.firsts += 20
    budget.spend(NOW)
    assert taken(budget, NOW) == 1


@pytest.mark.parametrize("workers", [1, 2, 4, 64])
def test_the_parts_of_all_workers_are_what_one_had(workers: int) -> None:
    budgets = [Budget(NOW, 1 / workers) for _ in range(workers)]
    assert sum(taken(budget, NOW) for budget in budgets) == BURST
    later = NOW + 10
    assert sum(taken(budget, later) for budget in budgets) == pytest.approx(10 * LEAST_RATE, abs=workers)
    assert sum(taken(budget, NOW + 10_000) for budget in budgets) == BURST


@pytest.mark.parametrize("workers", [2, 4])
def test_first_queries_earn_the_same_whichever_worker_sends_them(workers: int) -> None:
    budgets = [Budget(NOW, 1 / workers) for _ in range(workers)]
    for budget in budgets:
        taken(budget, NOW)
        budget.firsts += 600 // workers
    assert sum(taken(budget, NOW) for budget in budgets) == 60


def test_a_part_however_small_is_worth_one_token() -> None:
    assert taken(Budget(NOW, 1 / 1024), NOW) == 1


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 300), st.integers(0, 40)), max_size=60))
def test_never_more_than_a_burst_and_what_was_earned(moves: list[tuple[float, int, int]]) -> None:
    budget, now, firsts, granted = Budget(NOW), NOW, 0, 0
    for seconds, asked, wanted in moves:
        now += seconds
        budget.firsts += asked
        firsts += asked
        granted += sum(budget.take(now) for _ in range(wanted))
        assert granted <= BURST + firsts * SHARE + (now - NOW) * LEAST_RATE + 1e-6
