"""Coroutines stepped by hand: resumed once for each wait, ended in time and never late, and none takes others down."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.waiting import AT_ONCE, TICK, Timers, Waiting, step

NOW = 1000.0
MICROSECOND = 1e-6
A_LITTLE = 1e-9
"""Seconds that floating-point numbers of this size may be wrong by."""


class Journal:
    """What a coroutine was given, wait by wait."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.is_over = False

    async def wait_for(self, *waitings: Waiting) -> None:
        for waiting in waitings:
            self.seen.append(await waiting)
        self.is_over = True

    async def fail_after(self, waiting: Waiting) -> None:
        self.seen.append(await waiting)
        raise ValueError("a defect")


class TestStep:
    def test_runs_to_the_first_wait(self) -> None:
        journal, waiting = Journal(), Waiting()
        step(journal.wait_for(waiting))
        assert waiting.coroutine is not None
        assert journal.seen == []

    def test_runs_to_the_end_where_nothing_is_waited_for(self) -> None:
        journal = Journal()
        step(journal.wait_for())
        assert journal.is_over

    def test_resuming_goes_on_in_the_same_call(self) -> None:
        journal, first, second = Journal(), Waiting(), Waiting()
        step(journal.wait_for(first, second))
        first.resume("one")
        assert journal.seen == ["one"]
        second.resume("two")
        assert journal.seen == ["one", "two"]
        assert journal.is_over

    def test_a_wait_inside_a_called_coroutine_is_a_wait_of_the_whole(self) -> None:
        journal, waiting = Journal(), Waiting()

        async def outer() -> None:
            await journal.wait_for(waiting)
            journal.seen.append("outer")

        step(outer())
        waiting.resume("inner")
        assert journal.seen == ["inner", "outer"]


class TestResume:
    def test_once_for_each_wait(self) -> None:
        journal, waiting, later = Journal(), Waiting(), Waiting()
        step(journal.wait_for(waiting, later))
        waiting.resume("one")
        waiting.resume("again")
        assert journal.seen == ["one"]

    def test_where_nobody_waits_nothing_happens(self) -> None:
        journal, waiting = Journal(), Waiting()
        waiting.resume("value")
        step(journal.wait_for(waiting))
        assert journal.seen == []

    def test_one_object_may_be_waited_for_again(self) -> None:
        journal, waiting = Journal(), Waiting()
        step(journal.wait_for(waiting, waiting, waiting))
        for number in range(3):
            waiting.resume(number)
        assert journal.seen == [0, 1, 2]
        assert journal.is_over

    def test_a_wait_that_begins_while_its_object_is_resumed_is_one_of_its_own(self) -> None:
        """The coroutine comes back to the same object within `resume`, which must not forget who waits now."""
        journal, waiting = Journal(), Waiting()
        step(journal.wait_for(waiting, waiting))
        waiting.resume("one")
        assert waiting.coroutine is not None
        waiting.resume("two")
        assert journal.seen == ["one", "two"]

    def test_giving_up_is_a_value_like_others(self) -> None:
        journal, waiting = Journal(), Waiting()
        step(journal.wait_for(waiting))
        waiting.give_up()
        assert journal.seen == [None]


class TestDefects:
    def test_are_logged_with_their_traceback_and_survived(self, caplog: pytest.LogCaptureFixture) -> None:
        journal, waiting = Journal(), Waiting()
        step(journal.fail_after(waiting))
        with caplog.at_level(logging.ERROR):
            waiting.resume("value")
        (record,) = caplog.records
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ValueError)
        assert waiting.coroutine is None

    def test_before_the_first_wait_as_well(self, caplog: pytest.LogCaptureFixture) -> None:
        async def broken() -> None:
            raise LookupError

        step(broken())
        assert len(caplog.records) == 1

    def test_do_not_keep_others_from_being_ended(self, caplog: pytest.LogCaptureFixture) -> None:
        timers, journal = Timers(), Journal()
        waitings = [Waiting() for _ in range(3)]
        for waiting in waitings:
            step(journal.fail_after(waiting) if waiting is waitings[1] else journal.wait_for(waiting))
            timers.watch(waiting, NOW)
        timers.sweep(NOW)
        assert journal.seen == [None] * 3
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
    def test_what_ends_the_program_is_none(self, exception: type[BaseException]) -> None:
        async def ends() -> None:
            raise exception

        with pytest.raises(exception):
            step(ends())


class Ended(Waiting):
    """A wait that writes down when it was given up, by the clock of whoever sweeps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.at: float | None = None
        self._clock = clock

    def give_up(self) -> None:
        assert self.at is None
        self.at = self._clock()
        super().give_up()


DUE = st.lists(st.integers(0, 300_000), min_size=1, max_size=20)
GAPS = st.lists(st.integers(1, int(TICK * 1e6) - 1), min_size=1, max_size=40)


class TestTimers:
    @given(DUE, GAPS, st.integers(0, 10_000))
    def test_no_wait_ends_late_nor_long_before_it_is_due(self, due: list[int], gaps: list[int], phase: int) -> None:
        """Swept at least once a TICK, whenever that is: ended by the time it is due, and at most two ticks ahead."""
        now = NOW
        timers = Timers()
        start = NOW + phase * MICROSECOND
        waits = {start + 0.03 + after * MICROSECOND: Ended(lambda: now) for after in due}
        for at, wait in waits.items():
            step(Journal().wait_for(wait))
            timers.watch(wait, at)
        now, sweeps = start, 0
        while timers:
            while timers.sweep(now):
                pass
            for at, wait in waits.items():
                assert (wait.at is not None) or now <= at + A_LITTLE
                assert wait.at != now or at - now <= 2 * TICK + A_LITTLE
            now += gaps[sweeps % len(gaps)] * MICROSECOND
            sweeps += 1
        assert all(wait.at is not None and wait.at <= at + A_LITTLE for at, wait in waits.items())

    @given(DUE, st.integers(0, 400_000))
    def test_sweeping_late_ends_all_that_is_due_and_nothing_that_is_far(self, due: list[int], late: int) -> None:
        timers = Timers()
        now = NOW + late * MICROSECOND
        waits = [(NOW + after * MICROSECOND, Ended(lambda: now)) for after in due]
        for at, wait in waits:
            step(Journal().wait_for(wait))
            timers.watch(wait, at)
        while timers.sweep(now):
            pass
        for at, wait in waits:
            assert wait.at is not None or at > now
            assert wait.at is None or at <= now + 2 * TICK + A_LITTLE

    def test_a_sweep_ends_so_many_and_says_that_there_are_more(self) -> None:
        timers, now = Timers(), NOW + 1
        waits = [Ended(lambda: now) for _ in range(2 * AT_ONCE + 1)]
        for wait in waits:
            step(Journal().wait_for(wait))
            timers.watch(wait, NOW)
        ended = []
        while timers.sweep(now):
            ended.append(sum(wait.at is not None for wait in waits))
        assert ended == [AT_ONCE, 2 * AT_ONCE]
        assert not timers
        assert all(wait.at == now for wait in waits)

    def test_a_wait_that_was_resumed_is_left_alone(self) -> None:
        timers, journal, waiting, later = Timers(), Journal(), Waiting(), Waiting()
        step(journal.wait_for(waiting, later))
        timers.watch(waiting, NOW)
        waiting.resume("in time")
        timers.sweep(NOW + 1)
        assert journal.seen == ["in time"]
        assert not timers

    def test_a_later_wait_on_the_same_object_is_left_alone(self) -> None:
        timers, journal, waiting = Timers(), Journal(), Waiting()
        step(journal.wait_for(waiting, waiting))
        timers.watch(waiting, NOW)
        waiting.resume("in time")
        timers.watch(waiting, NOW + 1)
        timers.sweep(NOW + 0.5)
        assert journal.seen == ["in time"]
        timers.sweep(NOW + 1)
        assert journal.seen == ["in time", None]

    def test_an_earlier_wait_on_the_same_object_ends_when_it_is_due(self) -> None:
        timers, journal, waiting = Timers(), Journal(), Waiting()
        step(journal.wait_for(waiting, waiting))
        timers.watch(waiting, NOW + 1)
        waiting.resume("in time")
        timers.watch(waiting, NOW)
        timers.sweep(NOW)
        assert journal.seen == ["in time", None]

    def test_of_one_object_waited_for_twice_in_one_tick_only_the_wait_in_progress_ends(self) -> None:
        timers, journal, waiting, last = Timers(), Journal(), Waiting(), Waiting()
        step(journal.wait_for(waiting, waiting, last))
        timers.watch(waiting, NOW)
        waiting.resume("in time")
        timers.watch(waiting, NOW)
        timers.sweep(NOW)
        assert journal.seen == ["in time", None]
        assert last.coroutine is not None

    def test_the_first_due_is_the_first_ended(self) -> None:
        timers, order = Timers(), list[int]()

        async def wait(number: int, waiting: Waiting) -> None:
            await waiting
            order.append(number)

        for number in (3, 1, 2):
            waiting = Waiting()
            step(wait(number, waiting))
            timers.watch(waiting, NOW + number)
        timers.sweep(NOW + 10)
        assert order == [1, 2, 3]

    def test_there_is_something_to_look_at_until_all_are_swept(self) -> None:
        timers = Timers()
        assert not timers
        timers.watch(Waiting(), NOW)
        timers.watch(Waiting(), NOW + 1)
        assert timers
        timers.sweep(NOW)
        assert timers
        timers.sweep(NOW + 1)
        assert not timers

    def test_that_there_is_something_again_is_announced_once(self) -> None:
        """How the loop that sweeps while there is something hears of it."""
        timers, announced = Timers(), list[str]()
        timers.on_first = lambda: announced.append("first")
        for due in (NOW, NOW, NOW + 1):
            timers.watch(Waiting(), due)
        assert announced == ["first"]
        timers.sweep(NOW + 2)
        timers.watch(Waiting(), NOW + 3)
        assert announced == ["first", "first"]
