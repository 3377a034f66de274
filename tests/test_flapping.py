"""What changes back and forth: said at once while it is news, then summed up, then what became of it."""

from forwarder.flapping import BURST, CALM, WINDOW, Flapping

DOWN, UP = "it is down", "it is up"
WHAT = "upstream 192.0.2.1:53"


def flapped(flapping: Flapping, times: int, *, every: float = 1.0, begin: float = 0.0) -> list[str]:
    """What is said of so many changes, the first of them down."""
    told: list[str] = []
    for number in range(times):
        now = begin + number * every
        told += flapping.settled(now)
        told += flapping.changed(WHAT, UP if number % 2 else DOWN, now)
    return told


def test_a_few_changes_are_said_each_at_once() -> None:
    assert flapped(Flapping(), BURST) == [DOWN, UP] * (BURST // 2)


def test_many_are_one_line_and_then_what_became_of_it() -> None:
    flapping = Flapping()
    told = flapped(flapping, 1001)
    assert told[:BURST] == [DOWN, UP] * (BURST // 2)
    (line,) = told[BURST:]
    assert line.startswith(f"{WHAT} changes again and again, {BURST} times within 10 minutes: ")
    assert flapping.settled(1000 + CALM - 1) == []
    assert flapping.settled(1000 + CALM) == [DOWN]
    assert flapping.settled(1000 + CALM + 1) == [], "once"


def test_a_day_of_changes_is_a_bounded_number_of_lines() -> None:
    """However they come: each second, or just slower than what counts as calm."""
    for every in (1.0, CALM + 1):
        told = flapped(Flapping(), round(86_400 / every), every=every)
        assert len(told) <= BURST + 86_400 / CALM * 2


def test_changes_that_are_far_apart_are_news_for_ever() -> None:
    told = flapped(Flapping(), 100, every=WINDOW / BURST)
    assert told == [DOWN, UP] * 50


def test_things_are_told_apart_and_forgotten() -> None:
    flapping = Flapping()
    flapped(flapping, BURST + 1)
    assert flapping.changed("another", DOWN, 10.0) == [DOWN]
    flapping.forget(WHAT)
    assert flapping.changed(WHAT, DOWN, 11.0) == [DOWN]
