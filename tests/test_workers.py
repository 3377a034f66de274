"""Keeping a worker: told what it needs, started again when it dies, left alone when it was asked to end."""

import asyncio
import os
import signal
import sys

import pytest

from forwarder import link, workers
from forwarder.observe import counters
from tests.lab.kept import SECONDS, STAND_IN, Bench, run


class TestBackOff:
    def test_a_worker_that_lived_has_a_successor_at_once(self) -> None:
        assert workers.BackOff().delay_after(workers.QUICK_DEATH_SECONDS) == 0.0

    def test_quick_deaths_wait_longer_and_longer(self) -> None:
        back_off = workers.BackOff()
        delays = [back_off.delay_after(0.0) for _ in range(10)]
        assert delays == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]

    def test_the_ceiling_holds_for_ever(self) -> None:
        back_off = workers.BackOff()
        assert {back_off.delay_after(0.0) for _ in range(5000)} <= {0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0}

    def test_a_long_life_in_between_forgives(self) -> None:
        back_off = workers.BackOff()
        for _ in range(5):
            back_off.delay_after(0.1)
        back_off.delay_after(3600.0)
        assert [back_off.delay_after(0.1) for _ in range(2)] == [0.0, 0.1]


def test_it_serves_on_the_inherited_socket_and_counts_in_a_map_of_its_own() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        assert one.worker.serving
        assert await one.ask() == (one.worker.pid, 0)
        assert one.counted(counters.COALESCED) == 1
        assert counters.mapped(one.worker.counters)[counters.COALESCED] == 1
        assert one.said == []

    run(test)


def test_a_dead_worker_has_a_successor_that_answers_what_waited() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        first = one.worker.pid
        one.tell(b"die")
        second, _ = await one.ask()  # sent while nobody reads: the socket keeps it
        assert second != first
        await one.serving(2)
        assert one.worker.pid == second
        assert one.worker.restarts == 1
        assert one.said == [
            f"worker 0 (pid {first}) ended unasked, exit status 3; starting another one at once. {workers.REPORT}"
        ]
        assert counters.mapped(one.worker.counters)[counters.COALESCED] == 1
        assert one.counted(counters.COALESCED) == 2  # counts outlive whoever counted

    run(test)


def test_the_second_quick_death_waits_and_a_signal_is_named() -> None:
    async def test(one: Bench) -> None:
        for times in (1, 2):
            await one.serving(times)
            one.signal(signal.SIGKILL)
        await one.serving(3)
        assert one.said[0].endswith(f"signal 9 (SIGKILL); starting another one at once. {workers.KILLED}")
        assert one.said[1].endswith(f"signal 9 (SIGKILL); starting another one in 0.1 s. {workers.KILLED}")

    run(test)


def test_gauges_of_a_dead_worker_are_set_back_and_totals_are_not() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        up = counters.upstream_row(63) + counters.UP_IN_ROW
        gauges = (
            up,
            counters.upstream_row(0) + counters.CONNECTIONS_IN_ROW,
            counters.upstream_row(1) + counters.LOOPED_IN_ROW,
            counters.CACHE_ENTRIES_AT + 2,
            counters.IN_PROGRESS,
        )
        totals = (counters.DEADLINE_MISSED, counters.upstream_row(0) + counters.QUERIES_IN_ROW)
        slots = counters.mapped(one.worker.counters)
        for slot in (*gauges, *totals):
            slots[slot] = 7
        assert [one.counted(slot) for slot in (*gauges, *totals)] == [7] * 7
        one.tell(b"die")
        await one.serving(2)
        assert [one.counted(slot) for slot in gauges] == [0] * len(gauges)
        assert [one.counted(slot) for slot in totals] == [7, 7]
        one.worker.drain()
        await one.worker.gone.wait()
        assert [one.counted(slot) for slot in totals] == [7, 7], "and when nobody counts any more"

    run(test)


def test_it_hears_what_it_is_told_later() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        records = [link.PinnedRecords(name=b"\x01a\x00", qtype=1, ttl=30, rdatas=[b"\xc0\x00\x02\x01"])] * 3
        assert one.worker.tell(link.Pinned(records))
        async with asyncio.timeout(SECONDS):
            while (await one.ask())[1] != 3:
                pass

    run(test)


def test_a_worker_that_does_not_read_is_told_later() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        one.signal(signal.SIGSTOP)
        one.fill_link()
        one.signal(signal.SIGCONT)
        await one.until(lambda: one.worker.tell(link.Pinned([])))

    run(test)


def test_drained_it_leaves_and_has_no_successor() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        pid = one.worker.pid
        assert pid is not None
        written = one.worker.ask(link.Snapshot())
        one.worker.drain()
        assert one.worker.state == "draining"
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - so that its end and its words are found at once
        async with asyncio.timeout(SECONDS):
            await one.worker.gone.wait()
        assert one.worker.pid is None
        assert not one.worker.serving
        assert one.worker.restarts == 0
        assert one.said == []
        assert written.result() == link.SnapshotWritten(1, 9, ""), "its last words were heard"
        assert (one.worker.state, one.worker.last_end) == ("ended", "")

    run(test)


def test_one_that_does_not_leave_is_killed() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        await one.ask(b"ignore drain")
        one.worker.drain()
        await one.ask()  # it lives on
        assert not one.worker.gone.is_set()
        one.worker.kill()
        async with asyncio.timeout(SECONDS):
            await one.worker.gone.wait()

    run(test)


def test_a_program_that_never_serves_is_given_up() -> None:
    async def test(one: Bench) -> None:
        await one.until(lambda: one.gave_up)
        assert one.worker.gone.is_set()
        assert one.served == 0
        assert one.said[-1].endswith(f"exit status 7; none of 5 ever served, giving up. {workers.REPORT}")
        assert len(one.said) == workers.GIVE_UP_AFTER

    run(test, sys.executable, "-c", "raise SystemExit(7)")


def test_a_program_that_is_not_there_is_given_up() -> None:
    async def test(one: Bench) -> None:
        await one.until(lambda: one.gave_up)
        assert "cannot be started: No such file or directory" in one.said[0]

    run(test, "/nonexistent/program")


def test_what_state_it_is_in_and_how_the_one_before_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(one: Bench) -> None:
        assert (one.worker.state, one.worker.last_end) == ("starting", "")
        await one.serving(1)
        assert (one.worker.state, one.worker.last_end) == ("serving", "")
        one.tell(b"die")
        await one.serving(2)
        assert (one.worker.state, one.worker.last_end) == ("serving", "exit status 3")
        monkeypatch.setattr(workers, "FIRST_DELAY_SECONDS", 1000.0)
        monkeypatch.setattr(workers, "MAX_DELAY_SECONDS", 1000.0)
        monkeypatch.setattr(workers, "QUICK_DEATH_SECONDS", 1000.0)
        one.signal(signal.SIGKILL)
        await one.until(lambda: one.worker.pid is None)
        assert (one.worker.state, one.worker.last_end) == ("waits to be started again", "signal 9 (SIGKILL)")
        one.worker.drain()
        assert one.worker.gone.is_set()
        assert one.worker.state == "ended"

    run(test)


def test_its_doors_stay_closed_until_they_are_opened() -> None:
    async def test(one: Bench) -> None:
        one.worker.tell(link.Pinned([]))
        asked = asyncio.create_task(one.ask())
        await asyncio.sleep(0.1)
        assert (one.worker.state, one.served, asked.done()) == ("starting", 0, False)
        one.worker.open()
        assert await asked == (one.worker.pid, 0)
        await one.serving(1)

    run(test, is_opened=False)


def test_one_that_dies_before_it_was_opened_has_a_successor_that_waits_too() -> None:
    async def test(one: Bench) -> None:
        first = one.signal(signal.SIGKILL)
        await one.until(lambda: one.worker.pid not in {None, first})
        assert one.worker.state == "starting"
        one.worker.open()
        await one.serving(1)
        assert (await one.ask())[0] == one.worker.pid

    run(test, is_opened=False)


def test_one_that_leaves_well_but_unasked_has_a_successor_too() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        one.worker.tell(link.Drain())
        await one.serving(2)
        assert one.said[0].endswith(f"exit status 0; starting another one at once. {workers.REPORT}")

    run(test)


def test_what_a_worker_could_not_give_up_is_true_of_others_too() -> None:
    """And said among what is said once, however many workers say it."""

    async def test(one: Bench) -> None:
        await one.serving(1)
        one.signal(signal.SIGKILL)
        await one.serving(2)
        assert one.said_once == ["there is no fence"] * 2
        assert "there is no fence" not in one.said

    program = STAND_IN.replace("Serving(os.getpid())", "Serving(os.getpid(), 'there is no fence')")
    run(test, sys.executable, "-c", program)


def test_a_link_takes_a_message_of_its_capacity_and_no_longer_one() -> None:
    ours, theirs = workers.link_pair()
    capacity = workers.link_capacity()
    with ours, theirs:
        assert ours.send(bytes(capacity)) == capacity
        assert len(theirs.recv(link.MAX_MESSAGE_SIZE)) == capacity
        assert capacity <= link.MAX_MESSAGE_SIZE


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit status 0"), (3, "exit status 3"), (-9, "signal 9 (SIGKILL)"), (-63, "signal 63")]
)
def test_the_way_it_ended_in_words(status: int, words: str) -> None:
    assert workers.described(status) == words


def test_the_worker_imports_what_we_run_from(monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.path.dirname(os.path.dirname(workers.__file__))  # noqa: PTH120 - as a plain path, not as the code computes it
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert workers.environment()["PYTHONPATH"] == f"{root}:/elsewhere"
    monkeypatch.delenv("PYTHONPATH")
    assert workers.environment()["PYTHONPATH"] == root
    assert workers.environment()["PYTHONSAFEPATH"] == "1"
