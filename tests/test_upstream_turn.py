"""A turn: it all happens at one time, is written once, at its end, in the order of asking; nothing is left for the next."""

import pytest

from forwarder.upstream.turn import Turn


class Clock:
    """Goes on by itself, a second each time somebody looks."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def turn() -> Turn:
    return Turn(Clock())


@pytest.fixture
def written() -> list[str]:
    return []


class Writer:
    """Collects, and asks once to be flushed, as all writers do."""

    def __init__(self, turn: Turn, written: list[str]) -> None:
        self._turn = turn
        self._written = written
        self._pending: list[str] = []

    def write(self, text: str) -> None:
        if not self._pending:
            self._turn.at_end(self._flush)
        self._pending.append(text)

    def _flush(self) -> None:
        self._written.append("+".join(self._pending))
        self._pending.clear()


def test_nothing_is_written_before_the_end(turn: Turn, written: list[str]) -> None:
    Writer(turn, written).write("a")
    assert written == []
    turn.end()
    assert written == ["a"]


def test_what_one_writer_collects_in_a_turn_is_one_write(turn: Turn, written: list[str]) -> None:
    writer = Writer(turn, written)
    for text in "abc":
        writer.write(text)
    turn.end()
    assert written == ["a+b+c"]


def test_writers_are_flushed_in_the_order_of_asking(turn: Turn, written: list[str]) -> None:
    for text in "abc":
        Writer(turn, written).write(text)
    turn.end()
    assert written == ["a", "b", "c"]


def test_a_flush_belongs_to_one_turn(turn: Turn, written: list[str]) -> None:
    writer = Writer(turn, written)
    writer.write("a")
    turn.end()
    turn.end()
    assert written == ["a"]
    writer.write("b")
    turn.end()
    assert written == ["a", "b"]


def test_output_that_flushing_leads_to_is_written_in_the_same_turn(turn: Turn, written: list[str]) -> None:
    last = Writer(turn, written)

    def lost_connection() -> None:
        written.append("lost")
        turn.at_end(lambda: last.write("asked elsewhere"))

    turn.at_end(lost_connection)
    turn.end()
    assert written == ["lost", "asked elsewhere"]


def test_a_writer_that_fails_leaves_nothing_for_the_next_turn(turn: Turn, written: list[str]) -> None:
    def defect() -> None:
        raise ZeroDivisionError

    turn.at_end(defect)
    with pytest.raises(ZeroDivisionError):
        turn.end()
    Writer(turn, written).write("a")
    turn.end()
    assert written == ["a"]


def test_the_end_of_a_turn_without_output_is_nothing(turn: Turn) -> None:
    before = turn.now
    turn.end()
    assert turn.now == before


def test_the_clock_is_read_when_a_turn_begins_and_not_again(turn: Turn) -> None:
    before = turn.now
    began = turn.begin()
    assert began > before
    turn.at_end(lambda: None)
    turn.end()
    assert turn.now == began


def test_it_has_a_time_before_the_first_turn() -> None:
    assert Turn(lambda: 7.5).now == 7.5
