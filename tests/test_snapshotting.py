"""The worker's side: answers into the memory and out of it, a slice per turn, and every order reported once."""

import asyncio
import gc
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from forwarder import link
from forwarder.cache.answers import AnswerCache
from forwarder.cache.snapshot import SLICE_RECORDS
from forwarder.snapshotting import Share, Snapshots, moment_of
from tests.test_cache_snapshot import LIMITS, NOW, ROOMY, ROOT_ALONE, key_of, positive

SECONDS = 20
SLICES = 8
MANY = SLICES * SLICE_RECORDS
ALONE = Share(0, 1)
ORDER = 7
"""What the report of a restored snapshot is numbered with; that of a written one has the number after it."""


class Half:
    """One worker's snapshots over a memory, and the supervisor's end of its link."""

    made: ClassVar[list["Half"]] = []
    """To be closed."""

    def __init__(self, memory: int, count: int = 0, share: Share = ALONE) -> None:
        self._memory = memory
        self.answers = AnswerCache(ROOMY)
        self.now = NOW
        for number in range(count):
            self.answers.put(key_of(f"n{number}.test."), positive(f"n{number}.test."), LIMITS, NOW)
        self.supervisor, self.link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.supervisor, self.link):
            end.setblocking(False)
        Half.made.append(self)
        self.snapshots = Snapshots(memory, self.answers, ROOT_ALONE, share, lambda: self.now, self.was_read)
        self.times_read = 0

    def was_read(self) -> None:
        """All that there was is back."""
        self.times_read += 1

    async def report(self) -> link.Report:
        async with asyncio.timeout(SECONDS):
            return link.read_report(await asyncio.get_running_loop().sock_recv(self.supervisor, 65536))

    async def write(self) -> int:
        """Octets of the snapshot."""
        self.order_writing()
        report = await self.report()
        assert isinstance(report, link.SnapshotWritten)
        assert (report.number, report.problem) == (ORDER + 1, "")
        return report.size

    def order_writing(self) -> None:
        self.snapshots.write(link.Snapshot(ORDER + 1), self.link)

    def order_reading(self, *sizes: int, seconds: float = 0.0) -> None:
        """Of so many octets of the memory, from its beginning."""
        parts = [link.Part(self._memory, size) for size in sizes]
        self.snapshots.read(link.Restore(parts, ORDER), seconds, self.link)

    async def read(self, *sizes: int, seconds: float = 0.0) -> link.Report:
        self.order_reading(*sizes, seconds=seconds)
        return await self.report()


def known_again(answers: int, problem: str = "") -> link.SnapshotRead:
    """The report of that."""
    return link.SnapshotRead(ORDER, answers, problem)


def play(scene: Callable[[int], Awaitable[None]]) -> None:
    """With a memory."""
    memory = os.memfd_create("snapshot")

    async def played() -> None:
        await scene(memory)

    try:
        asyncio.run(played())
    finally:
        os.close(memory)
        while Half.made:
            half = Half.made.pop()
            half.supervisor.close()
            half.link.close()


@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_what_one_worker_wrote_another_reads(seconds: float) -> None:
    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        assert os.fstat(memory).st_size == size
        successor = Half(memory)
        assert await successor.read(size, seconds=seconds) == known_again(MANY)
        assert successor.times_read == 1
        assert [answer.key for answer in successor.answers.kept()] == [key_of(f"n{number}.test.") for number in range(MANY)]
        assert successor.answers.fresh(key_of("n0.test."), NOW + 290) is not None
        assert successor.answers.fresh(key_of("n0.test."), NOW + 301) is None

    play(scene)


def test_the_loop_turns_between_slices() -> None:
    """Whoever waits for the loop gets its turn many times meanwhile."""

    async def turns(until: Awaitable[object]) -> int:
        count = 0
        task = asyncio.ensure_future(until)
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        return count

    async def scene(memory: int) -> None:
        writer, reader = Half(memory, MANY), Half(memory)
        assert await turns(writer.write()) >= SLICES
        assert await turns(reader.read(os.fstat(memory).st_size)) >= SLICES

    play(scene)


def test_before_the_doors_open_it_reads_as_long_as_it_may() -> None:
    """With no time, one slice; what is left comes afterwards."""

    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        for seconds, known in ((0.0, 0), (100.0, MANY)):
            one = Half(memory)
            one.order_reading(size, seconds=seconds)
            assert len(one.answers) == known, "the first slice looks at the checksum"

    play(scene)


def test_who_must_not_be_overtaken_waits_until_all_is_put_back() -> None:
    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        one = Half(memory)
        await one.snapshots.settle_reading()
        one.order_reading(size)
        await one.snapshots.settle_reading()
        assert len(one.answers) == MANY

    play(scene)


def test_what_was_learnt_while_reading_stays() -> None:
    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        one = Half(memory)
        one.order_reading(size)
        one.answers.put(key_of("n5.test."), positive("n5.test.", 77), LIMITS, NOW)
        assert await one.report() == known_again(MANY - 1)
        known = one.answers.fresh(key_of("n5.test."), NOW)
        assert known is not None
        assert known.response.least_ttl == 77

    play(scene)


def test_writing_waits_for_reading() -> None:
    """Else half a cache took the place of a whole one."""

    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        one = Half(memory)
        one.order_reading(size)
        one.order_writing()
        assert await one.report() == known_again(MANY)
        report = await one.report()
        assert isinstance(report, link.SnapshotWritten)
        assert report.size == size

    play(scene)


def test_whoever_leaves_ends_writing_first() -> None:
    async def scene(memory: int) -> None:
        one = Half(memory, MANY)
        one.order_writing()
        await one.snapshots.settle()
        assert isinstance(link.read_report(one.supervisor.recv(65536)), link.SnapshotWritten)
        await one.snapshots.settle()

    play(scene)


def test_whoever_leaves_does_not_end_reading() -> None:
    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        one = Half(memory)
        one.order_reading(size)
        await one.snapshots.settle()
        assert len(one.answers) < MANY

    play(scene)


@pytest.mark.parametrize(("place", "problem"), [(0, "is no snapshot of a cache"), (-1, "is damaged: its checksum is wrong")])
def test_what_is_wrong_is_reported_and_nothing_read(place: int, problem: str) -> None:
    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        place_in_memory = place % size
        octet = os.pread(memory, 1, place_in_memory)[0]
        os.pwrite(memory, bytes((octet ^ 0x10,)), place_in_memory)
        one = Half(memory)
        assert await one.read(size, seconds=100.0) == known_again(0, problem)
        assert len(one.answers) == 0
        await one.write()  # and it goes on as if nothing had been there

    play(scene)


def test_time_passes_between_the_lives() -> None:
    async def scene(memory: int) -> None:
        size = await Half(memory, 1).write()
        one = Half(memory)
        one.now = NOW + 100
        await one.read(size)
        assert one.answers.fresh(key_of("n0.test."), NOW + 299) is not None
        assert one.answers.fresh(key_of("n0.test."), NOW + 300) is None

    play(scene)


def test_a_host_without_memory_is_reported() -> None:
    async def scene(memory: int) -> None:
        read_only = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY)
        one = Half(read_only, 1)
        one.order_writing()
        assert await one.report() == link.SnapshotWritten(ORDER + 1, 0, "the memory for it: Bad file descriptor")
        os.close(read_only)

    play(scene)


def test_a_supervisor_that_is_gone_is_no_error() -> None:
    async def scene(memory: int) -> None:
        one = Half(memory, 1)
        one.supervisor.close()
        one.order_writing()
        await one.snapshots.settle()

    play(scene)


def test_no_garbage_is_left_that_reference_counting_does_not_free() -> None:
    """The worker collects none, and this happens every few minutes of its life."""

    async def scene(memory: int) -> None:
        one = Half(memory, MANY)
        await one.write()
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await one.write()
            assert gc.collect() == 0
        finally:
            gc.enable()

    play(scene)


def test_a_moment_has_both_clocks() -> None:
    before = time.time() * 1000
    moment = moment_of(12.5)
    assert moment.running == 12500
    assert before - 1 <= moment.wall <= time.time() * 1000
