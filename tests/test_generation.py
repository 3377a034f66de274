"""The workers of one configuration: all alike, opened together, ended together, and nothing left of them."""

import asyncio
import dataclasses
import gc
import os
from collections.abc import Awaitable, Callable

import pytest

from forwarder import link, sockets, watching, workers
from forwarder.config import Listen
from forwarder.errors import ConfigError
from forwarder.generation import Former, Generation, Memory, count_for
from tests.lab import stand_in
from tests.lab.clients import HANG, query
from tests.lab.generations import (
    Surroundings,
    asked,
    configured,
    open_descriptors,
    server_of,
    surroundings,
    until,
)

Scene = Callable[[Surroundings], Awaitable[None]]


def played(scene: Scene) -> None:
    async def play() -> None:
        async with surroundings() as around:
            await scene(around)

    asyncio.run(play())


def with_answers(text: str) -> link.Part:
    """Answers of a former generation."""
    memory = os.memfd_create("test")
    os.write(memory, text.encode())
    return link.Part(memory, len(text))


class TestBeginning:
    def test_nobody_answers_before_it_is_opened(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = around.generation(configured())
            generation.start()
            assert not await generation.serves(0.5)
            stand_in.tell(server_of(generation.config), b"?")  # it waits at the door
            generation.open()
            assert await generation.serves(HANG)
            assert (await asked(generation.config)).number == 0

        played(scene)

    def test_it_serves_when_all_of_its_workers_do(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = around.generation(configured(workers=2))
            first, second = generation.workers
            first.start()
            first.open()
            await until(lambda: first.serving)
            assert not generation.settled.is_set()
            second.start()
            second.open()
            assert await generation.serves(HANG)
            assert (await asked(generation.config)).workers == 2

        played(scene)

    def test_each_reads_a_socket_of_its_own(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = await around.serving(configured(workers=2))
            answers = {(await asked(generation.config, query(f"n{number}.test").to_wire())).number for number in range(30)}
            assert answers == {0, 1}

        played(scene)

    @pytest.mark.parametrize(("limit", "gave_up"), [(stand_in.DIES, True), (stand_in.HANGS, False)])
    def test_one_that_cannot_serve(self, limit: int, gave_up: bool) -> None:  # noqa: FBT001 - a row of a table
        async def scene(around: Surroundings) -> None:
            generation = around.generation(configured(max_in_progress=limit))
            generation.start()
            generation.open()
            assert not await generation.serves(HANG if gave_up else 1.0)
            assert generation.has_given_up == gave_up

        played(scene)

    def test_what_is_given_to_be_put_back_is_put_back_before_it_opens(self) -> None:
        async def scene(around: Surroundings) -> None:
            parts = [with_answers("the first"), with_answers("the second")]
            former = Former([part.memory for part in parts], ("192.0.2.99:53",))
            generation = around.generation(configured(), former)
            generation.start()
            await generation.restore(parts)
            for part in parts:
                os.close(part.memory)
            generation.open()
            assert await generation.serves(HANG)
            told = await asked(generation.config)
            assert told.restored == ["the first", "the second"]
            assert told.rows == ["192.0.2.99:53", "192.0.2.1:53"], "rows that were given out keep their place"
            generation.workers[0].kill()

        played(scene)

    def test_certificates_reach_the_workers_as_memory(self) -> None:
        async def scene(around: Surroundings) -> None:
            config = configured()
            files = dataclasses.replace(watching.read_files(config), authorities={"": b"x" * 1000, "own": b"y"})
            doors = sockets.bind_doors(config.listen.addresses, 1 << 17)
            generation = Generation(config, files, doors, around.around, Former())
            around.made.append(generation)
            generation.start()
            generation.open()
            assert await generation.serves(HANG)
            assert (await asked(config)).authorities == [1000, 1]

        played(scene)

    def test_more_than_a_link_takes_is_refused_before_anything_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workers, "link_capacity", lambda: 100)

        async def scene(around: Surroundings) -> None:
            with pytest.raises(ConfigError, match=r"hosts: .* 100 at most: .*net\.core\.wmem_max"):
                around.generation(configured())

        played(scene)


class TestLife:
    def test_one_that_dies_has_a_successor_that_knows_what_is_true_then(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = await around.serving(configured())
            before = await asked(generation.config)
            generation.following.pinned = link.Pinned([])
            stand_in.tell(server_of(generation.config), b"die")
            await until(lambda: generation.workers[0].restarts == 1)
            after = await asked(generation.config)
            await until(lambda: len(around.said) == 2)
            assert (before.records > 0, after.records) == (True, 0)
            assert around.said == [
                f"worker 0 (pid {before.pid}) ended unasked, exit status 3; starting another one at once. {workers.REPORT}",
                f"worker 0 (pid {after.pid}) serving",
            ]

        played(scene)

    def test_all_are_told(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = await around.serving(configured(workers=2))
            assert generation.tell(link.Pinned([]))
            told = [await asked(generation.config, query(f"n{number}.test").to_wire()) for number in range(30)]
            assert {(one.number, one.records) for one in told} == {(0, 0), (1, 0)}

        played(scene)


class TestEnd:
    def test_drained_it_is_gone(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = await around.serving(configured(workers=2))
            await generation.drain(HANG)
            assert [worker.state for worker in generation.workers] == ["ended", "ended"]
            assert around.said == []

        played(scene)

    def test_whoever_does_not_leave_is_killed(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = await around.serving(configured())
            await asked(generation.config, b"ignore drain")
            await generation.drain(0.2)
            assert generation.workers[0].state == "ended"
            assert around.said == ["worker 0 did not end within 0.2 s: killed"]

        played(scene)

    def test_killed_nobody_waits_for_it(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = around.generation(configured(max_in_progress=stand_in.HANGS))
            generation.start()
            generation.open()
            waiting = asyncio.create_task(generation.serves(HANG))
            await asyncio.sleep(0)
            generation.kill()
            async with asyncio.timeout(HANG / 2):
                assert not await waiting

        played(scene)

    def test_killed_while_one_waits_to_be_started_again_none_is(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = around.generation(configured(max_in_progress=stand_in.DIES))
            generation.start()
            (worker,) = generation.workers
            await until(lambda: worker.restarts == 3 and worker.pid is None)
            generation.kill()
            assert worker.gone.is_set()
            said = list(around.said)
            await asyncio.sleep(0.5)
            assert (worker.pid, around.said) == (None, said)

        played(scene)

    def test_nothing_stays_open(self) -> None:
        async def scene(around: Surroundings) -> None:
            generation = await around.serving(configured(workers=2))
            await generation.drain(HANG)
            generation.doors.close()
            around.made.clear()

        played(scene)
        gc.collect()
        before = open_descriptors()
        played(scene)
        gc.collect()
        assert open_descriptors() == before


def test_a_memory_is_given_back_with_its_last_reference() -> None:
    memory = Memory(b"content")
    descriptor = memory.descriptor
    assert os.pread(descriptor, 100, 0) == b"content"
    del memory
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_auto_is_one_worker_for_each_core_we_may_use() -> None:
    assert count_for(Listen(workers=3)) == 3
    assert count_for(Listen(workers="auto")) == len(os.sched_getaffinity(0))
