"""How long upstreams take: smoothed as RFC 6298 does it, within bounds, and the slowest hundredth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.round_trip import FIRST_WAIT, LEAST_WAIT, LONGEST_WAIT, TAIL_REVIEW, TAIL_SAMPLES, RoundTrip

NOW = 1000.0


def after(*seconds: float) -> RoundTrip:
    """Answers that took so long."""
    round_trip = RoundTrip()
    for taken in seconds:
        round_trip.took(taken, NOW)
    return round_trip


def by_the_rfc(samples: list[float]) -> float:
    """RFC 6298 section 2, written down again: the retransmission timer, between our bounds."""
    smoothed, deviation = samples[0], samples[0] / 2
    for sample in samples[1:]:
        deviation = 0.75 * deviation + 0.25 * abs(smoothed - sample)
        smoothed = 0.875 * smoothed + 0.125 * sample
    return min(max(smoothed + 4 * deviation, LEAST_WAIT), LONGEST_WAIT)


class TestWait:
    @pytest.mark.parametrize(
        ("answers", "wait"),
        [
            ((), 0.4),
            ((0.001,), 0.05),
            ((0.1,), 0.3),
            ((0.1, 0.1), 0.25),
            ((0.1,) * 100, 0.1),
            ((0.3,), 0.8),
            ((5.0,), 0.8),
            ((0.0,), 0.05),
            ((0.02,) * 50 + (0.3,), 0.055 + 4 * 0.07),
        ],
    )
    def test_of_what_was_measured(self, answers: tuple[float, ...], wait: float) -> None:
        assert after(*answers).wait == pytest.approx(wait, abs=1e-4)

    def test_bounds(self) -> None:
        assert (LEAST_WAIT, FIRST_WAIT, LONGEST_WAIT) == (0.05, 0.4, 0.8)

    @given(st.lists(st.floats(0, 30), min_size=1, max_size=60))
    def test_as_the_rfc_has_it(self, answers: list[float]) -> None:
        wait = after(*answers).wait
        assert wait == pytest.approx(by_the_rfc(answers))
        assert LEAST_WAIT <= wait <= LONGEST_WAIT

    def test_one_slow_answer_makes_it_patient_and_quick_ones_make_it_quick_again(self) -> None:
        quick = after(*[0.01] * 20)
        quick.took(0.5, NOW)
        patient = quick.wait
        for _ in range(40):
            quick.took(0.01, NOW)
        assert (patient > 0.4, quick.wait) == (True, LEAST_WAIT)

    def test_when_it_was_measured(self) -> None:
        round_trip = RoundTrip()
        assert round_trip.sampled_at < 0
        round_trip.took(0.1, NOW + 3)
        assert round_trip.sampled_at == NOW + 3


class TestTail:
    def test_unknown_before_there_are_enough(self) -> None:
        round_trip = RoundTrip()
        for _ in range(TAIL_SAMPLES - 1):
            round_trip.took_among_equals(0.01)
        assert round_trip.tail < 0
        round_trip.took_among_equals(0.01)
        assert round_trip.tail == 0.01

    def test_is_all_but_the_slowest_hundredth(self) -> None:
        round_trip = RoundTrip()
        for number in range(TAIL_SAMPLES):
            round_trip.took_among_equals((number * 37 % TAIL_SAMPLES) / 1000)
        assert round_trip.tail == (TAIL_SAMPLES - 2) / 1000
        assert sum(number / 1000 > round_trip.tail for number in range(TAIL_SAMPLES)) == TAIL_SAMPLES // 100

    def test_one_that_hangs_does_not_move_it(self) -> None:
        round_trip = RoundTrip()
        for number in range(2 * TAIL_SAMPLES):
            round_trip.took_among_equals(1.7 if number == TAIL_SAMPLES + 5 else 0.01)
        assert round_trip.tail == 0.01

    def test_follows_what_changed(self) -> None:
        round_trip = RoundTrip()
        for seconds in (0.01, 0.05):
            for _ in range(TAIL_SAMPLES + TAIL_REVIEW):
                round_trip.took_among_equals(seconds)
        assert round_trip.tail == 0.05

    @given(st.lists(st.floats(0, 2), min_size=TAIL_SAMPLES, max_size=TAIL_SAMPLES + 100))
    def test_is_of_the_last_answers_when_it_was_last_reviewed(self, answers: list[float]) -> None:
        round_trip = RoundTrip()
        for seconds in answers:
            round_trip.took_among_equals(seconds)
        reviewed = len(answers) - len(answers) % TAIL_REVIEW
        assert round_trip.tail == sorted(answers[reviewed - TAIL_SAMPLES : reviewed])[-2]
