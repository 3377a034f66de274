"""Keeping a worker: told what it needs, started again when it dies, left alone when it was asked to end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from forwarder import link, workers
from forwarder.observe import counters

STAND_IN = """
import os, select, socket, sys
from forwarder import link
from forwarder.observe import counters

supervisor = socket.socket(fileno=int(sys.argv[-1]))
begin = link.read_order(supervisor.recv(link.MAX_MESSAGE_SIZE))
slots = counters.mapped(begin.counters)
doors = [socket.socket(fileno=number) for number in begin.udp]
pinned, patient = begin.pinned, False
supervisor.send(link.written(link.Serving(os.getpid())))
while True:
    for ready in select.select([supervisor, *doors], [], [])[0]:
        if ready is supervisor:
            data = supervisor.recv(link.MAX_MESSAGE_SIZE)
            order = link.read_order(data) if data else None
            if isinstance(order, link.Pinned):
                pinned = order
            elif isinstance(order, link.Upstreams):
                for row in order.row_numbers().values():
                    slots[counters.upstream_row(row) + counters.MISMATCHED_IN_ROW] += 1
            elif not (patient and isinstance(order, link.Drain)):
                if isinstance(order, link.Drain):
                    supervisor.send(link.written(link.SnapshotRead(1, "")))
                    supervisor.send(link.written(link.SnapshotWritten(2, "")))
                sys.exit(0)
        else:
            said, client = ready.recvfrom(512)
            slots[counters.COALESCED] += 1
            if said == b"die":
                os._exit(3)
            patient = patient or said == b"ignore drain"
            ready.sendto(b"%d %d" % (os.getpid(), len(pinned.records)), client)
"""
"""A worker that answers any datagram with its pid and how many records are pinned, marks the row of each upstream it is told
of later, and dies when told."""
PROGRAM = (sys.executable, "-c", STAND_IN)
SECONDS = 20
"""Until a test that waits for a worker gives up, on a machine that is busy otherwise."""


@dataclass
class Bench:
    """A worker with all it needs, and what it said."""

    worker: workers.Worker
    door: socket.socket
    slots: memoryview
    said: list[str]
    reports: list[link.Beside]
    served: int = 0
    gave_up: bool = False

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something the worker brings about."""
        async with asyncio.timeout(SECONDS):
            while not true():  # noqa: ASYNC110 - what changes is another process: there is nothing to await
                await asyncio.sleep(0.005)

    async def serving(self, times: int) -> None:
        await self.until(lambda: self.served == times)

    async def ask(self, text: bytes = b"?") -> tuple[int, int]:
        """The worker's pid and its number of pinned records."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(self.door.getsockname())
            client.send(text)
            async with asyncio.timeout(SECONDS):
                pid, records = (await asyncio.get_running_loop().sock_recv(client, 512)).split()
        return int(pid), int(records)

    def tell(self, text: bytes) -> None:
        """Something it does not answer."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(text, self.door.getsockname())


@contextlib.asynccontextmanager
async def bench(*program: str) -> AsyncIterator[Bench]:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, counters.SIZE * 8)
    slots = counters.mapped(descriptor)
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind(("127.0.0.1", 0))
    made: list[Bench] = []
    said: list[str] = []
    begin = link.Begin(
        config=b"{}", udp=[door.fileno()], tcp=[], counters=descriptor, pinned=link.Pinned([]), upstreams=link.Upstreams([])
    )

    def on_serving() -> None:
        made[0].served += 1

    def on_report(report: link.Beside) -> None:
        made[0].reports.append(report)

    def on_giving_up() -> None:
        made[0].gave_up = True

    surroundings = workers.Surroundings(
        program=program or PROGRAM,
        descriptors=(door.fileno(), descriptor),
        slots=slots,
        begin=lambda: begin,
        say=said.append,
        on_serving=on_serving,
        on_report=on_report,
        on_giving_up=on_giving_up,
    )
    made.append(Bench(workers.Worker(0, surroundings), door, slots, said, []))
    made[0].worker.start()
    try:
        yield made[0]
    finally:
        made[0].worker.drain()
        made[0].worker.kill()
        async with asyncio.timeout(SECONDS):
            await made[0].worker.gone.wait()
        door.close()
        os.close(descriptor)


def run(test: Callable[[Bench], Awaitable[None]], *program: str) -> None:
    """One test with one worker, in a loop of its own."""

    async def inside() -> None:
        async with bench(*program) as with_worker:
            await test(with_worker)

    asyncio.run(inside())


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


def test_it_serves_on_the_inherited_socket_and_counts_in_the_shared_map() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        assert one.worker.serving
        assert await one.ask() == (one.worker.pid, 0)
        assert one.slots[counters.COALESCED] == 1
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
        assert one.said == [f"worker 0 (pid {first}) ended unasked, exit status 3; starting another one at once"]
        assert one.slots[counters.COALESCED] == 2  # counts outlive whoever counted

    run(test)


def test_the_second_quick_death_waits_and_a_signal_is_named() -> None:
    async def test(one: Bench) -> None:
        for times in (1, 2):
            await one.serving(times)
            assert one.worker.pid is not None
            os.kill(one.worker.pid, signal.SIGKILL)
        await one.serving(3)
        assert one.said[0].endswith("signal 9 (SIGKILL); starting another one at once")
        assert one.said[1].endswith("signal 9 (SIGKILL); starting another one in 0.1 s")

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
        for slot in (*gauges, *totals):
            one.slots[slot] = 7
        one.tell(b"die")
        await one.serving(2)
        assert [one.slots[slot] for slot in gauges] == [0] * len(gauges)
        assert [one.slots[slot] for slot in totals] == [7, 7]

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
        assert one.worker.pid is not None
        os.kill(one.worker.pid, signal.SIGSTOP)
        large = link.Pinned([link.PinnedRecords(name=b"\x01a\x00", qtype=16, ttl=30, rdatas=[bytes(100_000)])])
        assert False in [one.worker.tell(large) for _ in range(200)]
        os.kill(one.worker.pid, signal.SIGCONT)
        await one.until(lambda: one.worker.tell(link.Pinned([])))

    run(test)


def test_drained_it_leaves_and_has_no_successor() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        pid = one.worker.pid
        assert pid is not None
        one.worker.drain()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - so that its end and its words are found at once
        async with asyncio.timeout(SECONDS):
            await one.worker.gone.wait()
        assert one.worker.pid is None
        assert not one.worker.serving
        assert one.worker.restarts == 0
        assert one.said == []
        assert one.reports == [link.SnapshotRead(1, ""), link.SnapshotWritten(2, "")], "its last words were heard"

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
        assert one.said[-1].endswith("exit status 7; none of 5 ever served, giving up")
        assert len(one.said) == workers.GIVE_UP_AFTER

    run(test, sys.executable, "-c", "raise SystemExit(7)")


def test_a_program_that_is_not_there_is_given_up() -> None:
    async def test(one: Bench) -> None:
        await one.until(lambda: one.gave_up)
        assert "cannot be started: No such file or directory" in one.said[0]

    run(test, "/nonexistent/program")


def test_one_that_leaves_well_but_unasked_has_a_successor_too() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        one.worker.tell(link.Drain())
        await one.serving(2)
        assert one.said[0].endswith("exit status 0; starting another one at once")

    run(test)


def test_what_a_worker_could_not_give_up_is_said_once() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        os.kill(one.worker.pid or 0, signal.SIGKILL)
        await one.serving(2)
        assert one.said.count("there is no fence") == 1

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
