"""A worker whose heart stands still is killed and replaced, and none that is only slow to begin."""

import asyncio
import signal
import sys
import time

import pytest

from forwarder import workers
from forwarder.observe import counters
from tests.lab.kept import SECONDS, Bench, run

NEVER_READY = (sys.executable, "-c", "import time; time.sleep(1000)")
FOREVER = 1_000_000


def looking(monkeypatch: pytest.MonkeyPatch, seconds: float, *, started_after: int = FOREVER) -> None:
    """Look so often; a stand-in that is slow to start on a busy machine is no matter of these tests."""
    monkeypatch.setattr(workers, "LOOK_SECONDS", seconds)
    monkeypatch.setattr(workers, "STARTED_AFTER", started_after)


def test_one_that_hangs_is_killed_and_its_successor_answers_what_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    looking(monkeypatch, 0.25)

    async def test(one: Bench) -> None:
        await one.serving(1)
        await one.ask()
        hung = one.signal(signal.SIGSTOP)
        assert (await one.ask())[0] != hung
        await one.until(lambda: one.served >= 2)
        assert one.said[:2] == [
            f"worker 0 (pid {hung}) hangs: killed. {workers.REPORT}, unless somebody stopped it",
            f"worker 0 (pid {hung}) ended unasked, signal 9 (SIGKILL); starting another one at once. {workers.KILLED}",
        ]
        assert one.worker.last_end == "signal 9 (SIGKILL)"
        assert one.worker.restarts >= 1
        assert one.counted(counters.COALESCED) == 2, "what it counted stays"

    run(test)


def test_one_that_hangs_while_it_drains_is_killed_and_has_no_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    looking(monkeypatch, 0.05)

    async def test(one: Bench) -> None:
        await one.serving(1)
        hung = one.signal(signal.SIGSTOP)
        one.worker.drain()
        async with asyncio.timeout(SECONDS):
            await one.worker.gone.wait()
        (line,) = one.said
        assert line.startswith(f"worker 0 (pid {hung}) hangs: killed. ")
        assert one.worker.pid is None

    run(test)


def test_one_that_never_serves_is_killed_after_longer_and_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    looking(monkeypatch, 0.01, started_after=15)
    begun = time.monotonic()

    async def test(one: Bench) -> None:
        await one.until(lambda: bool(one.said))
        assert time.monotonic() - begun >= 0.01 * 15
        assert "hangs: killed" in one.said[0]
        await one.until(lambda: one.gave_up)
        assert one.said[-1].endswith(f"ended unasked, signal 9 (SIGKILL); none of 5 ever served, giving up. {workers.KILLED}")
        assert len([line for line in one.said if "hangs: killed" in line]) == 5

    run(test, *NEVER_READY)


def test_one_that_is_starting_has_more_time_than_one_that_serves() -> None:
    """The ratio is the promise: a worker that restores a cache before it serves is no worker that hangs."""
    assert workers.STARTED_AFTER > 3 * workers.HUNG_AFTER


def test_one_that_is_not_opened_yet_is_not_killed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor when it is opened, however long its heart stood still until then."""
    looking(monkeypatch, 0.05)

    async def test(one: Bench) -> None:
        first = one.worker.pid
        await asyncio.sleep(0.05 * workers.HUNG_AFTER * 3)
        assert (one.worker.pid, one.said) == (first, [])
        monkeypatch.setattr(workers, "HUNG_AFTER", 20)  # of a busy machine, from here on
        one.worker.open()
        await one.serving(1)
        assert (await one.ask())[0] == first
        await asyncio.sleep(0.05 * 3)
        assert (one.worker.pid, one.said) == (first, [])

    run(test, is_opened=False)


def test_one_whose_heart_beats_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    looking(monkeypatch, 0.2)

    async def test(one: Bench) -> None:
        await one.serving(1)
        first, beats = one.worker.pid, one.counted(counters.HEARTBEAT)
        await asyncio.sleep(0.2 * workers.HUNG_AFTER * 2)
        assert one.counted(counters.HEARTBEAT) > beats
        assert (one.worker.pid, one.said) == (first, [])

    run(test)


def test_looks_end_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A successor is not killed for what the heart of the one before did."""
    looking(monkeypatch, 0.02)

    async def test(one: Bench) -> None:
        monkeypatch.setattr(workers, "HUNG_AFTER", 100)
        await one.serving(1)
        one.signal(signal.SIGKILL)
        await one.serving(2)
        one.worker.drain()
        await one.worker.gone.wait()
        await asyncio.sleep(0.1)
        assert not [line for line in one.said if "hangs" in line]

    run(test)
