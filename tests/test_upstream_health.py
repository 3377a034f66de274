"""Up or down: two silences make a suspect, a probe decides, two responses bring it back; probes further and further apart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.health import FIRST_REST, LONGEST_REST, SUSPECT_AFTER, UP_AFTER, Health

NOW = 1000.0


def suspect(now: float = NOW) -> Health:
    health = Health()
    for _ in range(SUSPECT_AFTER):
        health.failed(now)
    return health


def down(now: float = NOW) -> Health:
    health = suspect(now)
    assert health.probe_failed(now)
    return health


class TestSuspicion:
    def test_after_the_second_silence_in_a_row_told_once(self) -> None:
        health = Health()
        told = [health.failed(NOW + number) for number in range(5)]
        assert told == [False, True, False, False, False]
        assert (health.is_up, health.is_suspect, health.probe_at) == (True, True, NOW + 1)

    def test_not_when_a_response_came_between(self) -> None:
        health = Health()
        for _ in range(10):
            assert not health.failed(NOW)
            assert not health.answered(NOW)
        assert (health.is_suspect, health.is_troubled, health.probe_at) == (False, False, math.inf)

    def test_is_cleared_by_a_probe(self) -> None:
        health = suspect()
        assert not health.probe_answered(NOW)
        assert (health.is_up, health.is_suspect, health.is_troubled, health.recoveries) == (True, False, False, 0)
        assert [health.failed(NOW), health.failed(NOW)] == [False, True]

    def test_ends_in_being_down_when_the_probe_is_not_answered(self) -> None:
        health = suspect()
        assert health.probe_failed(NOW + 0.5)
        assert (health.is_up, health.is_suspect, health.probe_at) == (False, False, NOW + 0.5 + FIRST_REST)

    def test_one_that_answered_meanwhile_stays_up_though_the_probe_was_lost(self) -> None:
        health = suspect()
        health.answered(NOW)
        assert not health.probe_failed(NOW)
        assert (health.is_up, health.is_suspect) == (True, False)
        assert [health.failed(NOW), health.failed(NOW)] == [False, True], "and is suspect anew, later"

    def test_one_that_failed_once_more_since_its_answer_stays_up_too(self) -> None:
        health = suspect()
        health.answered(NOW)
        health.failed(NOW)
        assert not health.probe_failed(NOW)
        assert health.is_up


class TestDown:
    def test_two_responses_in_a_row_bring_it_back(self) -> None:
        health = down()
        assert UP_AFTER == 2
        assert not health.answered(NOW + 5)
        assert (health.is_up, health.probe_at) == (False, NOW + 5), "the first is looked into at once"
        assert health.answered(NOW + 6)
        assert (health.is_up, health.is_troubled, health.recoveries) == (True, False, 1)

    def test_a_failure_between_them_begins_the_count_anew(self) -> None:
        for fail in (Health.failed, Health.probe_failed):
            health = down()
            for _ in range(5):
                assert not health.answered(NOW)
                assert not fail(health, NOW)
            assert not health.is_up

    def test_probes_count_as_responses_do(self) -> None:
        health = down()
        assert [health.probe_answered(NOW), health.probe_answered(NOW)] == [False, True]
        assert health.recoveries == 1

    def test_probes_are_twice_as_far_apart_each_time_up_to_the_longest(self) -> None:
        health, now, rests = down(), NOW, []
        for _ in range(8):
            rests.append(health.probe_at - now)
            now = health.probe_at
            assert not health.probe_failed(now), "it is down already"
        assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
        assert LONGEST_REST == 30

    def test_failures_of_questions_do_not_put_the_probe_off(self) -> None:
        """Else a thousand questions that were under way when it fell would do so."""
        health = down()
        for _ in range(1000):
            assert not health.failed(NOW + 0.5)
        assert health.probe_at == NOW + FIRST_REST

    def test_one_that_came_back_is_probed_soon_when_it_falls_again(self) -> None:
        health, now = down(), NOW
        for _ in range(6):
            now = health.probe_at
            health.probe_failed(now)
        health.answered(now)
        assert health.answered(now)
        for _ in range(SUSPECT_AFTER):
            health.failed(now)
        health.probe_begins()
        assert health.probe_failed(now)
        assert health.probe_at == now + FIRST_REST

    def test_what_comes_while_it_is_probed_speaks_for_it(self) -> None:
        """Even when silence follows: a probe may be lost as well as anything else, and the next one tells."""
        health = Health()
        for _ in range(SUSPECT_AFTER):
            health.failed(NOW)
        health.probe_begins()
        health.answered(NOW)
        for _ in range(SUSPECT_AFTER):
            health.failed(NOW + 0.1)
        assert not health.probe_failed(NOW + 0.5)
        assert (health.is_up, health.is_suspect, health.probe_at) == (True, True, NOW + 0.5)
        health.probe_begins()
        assert health.probe_failed(NOW + 1)


MOVES = ("failed", "answered", "probe_failed", "probe_answered")


@given(st.lists(st.sampled_from(MOVES), max_size=60))
def test_whatever_happens_hysteresis_holds(moves: list[str]) -> None:
    health, silences, responses = Health(), 0, 0
    for at, move in enumerate(moves):
        if move.startswith("probe") and health.probe_at == math.inf:
            continue
        was_up, recoveries = health.is_up, health.recoveries
        told = getattr(health, move)(NOW + at)
        silences = 0 if "answered" in move else silences + (move == "failed")
        responses = responses + 1 if "answered" in move else 0
        if was_up and not health.is_up:
            assert (move, told) == ("probe_failed", True)
            assert silences >= SUSPECT_AFTER
        if not was_up and health.is_up:
            assert told
            assert responses >= UP_AFTER
        assert health.recoveries == recoveries + (not was_up and responses == 1)
        if not health.is_up:
            assert health.is_troubled, "or the response that brings it back would not be heard"
            assert health.probe_at < math.inf
            assert not health.is_suspect


@pytest.mark.parametrize("move", MOVES)
def test_all_is_well_at_first(move: str) -> None:
    health = Health()
    assert (health.is_up, health.is_suspect, health.is_troubled, health.probe_at) == (True, False, False, math.inf)
    assert getattr(health, move)(NOW) is False
    assert health.is_up
