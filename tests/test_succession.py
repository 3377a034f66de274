"""One generation takes the place of another: nothing is lost when it does, nothing changes when it cannot."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from forwarder import succession
from forwarder.config import Config
from forwarder.errors import ConfigError, ControlError, ListenError, Problem
from forwarder.generation import Generation
from forwarder.observe import counters
from forwarder.succession import Source, Succession
from tests.lab import stand_in
from tests.lab.clients import query
from tests.lab.generations import (
    Surroundings,
    asked,
    configured,
    open_descriptors,
    server_of,
    surroundings,
    until,
)
from tests.lab.ports import free_port


class Desk:
    """A succession whose next configuration the test writes down."""

    def __init__(self, around: Surroundings, succession: Succession, source: list[Config | Exception]) -> None:
        self.around = around
        self.succession = succession
        self._source = source

    @property
    def config(self) -> Config:
        return self.succession.now.config

    async def reload(self, source: Config | Exception) -> list[str]:
        self._source[:] = [source]
        self.around.made.append(self.succession.now)
        async with self.succession.alone():
            notes = await self.succession.reload()
        self.around.made.append(self.succession.now)
        return notes

    async def asked(self, text: bytes = b"?") -> stand_in.Told:
        return await asked(self.config, text)


def played(scene: Callable[[Desk], Awaitable[None]], config: Config, path: str | None = None) -> None:
    source: list[Config | Exception] = [config]

    def read() -> Config:
        (now,) = source
        if isinstance(now, Exception):
            raise now
        return now

    async def play() -> None:
        async with surroundings() as around:
            first = await around.serving(config)
            await scene(Desk(around, Succession(Source(read, path), around.around, first), source))

    asyncio.run(play())


def changed(config: Config, **answering: float) -> Config:
    return msgspec.structs.replace(config, answering=msgspec.structs.replace(config.answering, **answering))


def listening(config: Config, **listen: object) -> Config:
    return msgspec.structs.replace(config, listen=msgspec.structs.replace(config.listen, **listen))


def has_left(generation: Generation) -> bool:
    return all(worker.gone.is_set() for worker in generation.workers)


@contextlib.contextmanager
def taken() -> Iterator[str]:
    """An address that is somebody else's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{stranger.getsockname()[1]}"


class TestReload:
    def test_the_next_one_serves_with_the_answers_of_the_former_which_leaves(self) -> None:
        async def scene(desk: Desk) -> None:
            former, before = desk.succession.now, await desk.asked()
            assert await desk.reload(changed(desk.config, deadline=1.5)) == []
            await until(former.workers[0].gone.is_set)
            after = await desk.asked()
            assert (after.deadline, after.restored) == (1.5, ["of worker 0"])
            assert after.pid != before.pid
            assert after.rows == before.rows
            assert desk.around.totals.summed()[counters.COALESCED] == 2, "what the former counted is kept"
            assert desk.around.said == []

        played(scene, configured())

    def test_more_workers_and_fewer(self) -> None:
        async def scene(desk: Desk) -> None:
            for count, groups in ((2, 2), (1, 2), (2, 2)):
                former = desk.succession.now
                await desk.reload(listening(desk.config, workers=count))
                await until(partial(has_left, former))
                assert [len(group) for group in desk.succession.now.doors.udp] == [groups]
                told = [await desk.asked(query(f"n{number}.test").to_wire()) for number in range(20)]
                assert {one.number for one in told} == set(range(count)), "every socket has a reader"
                before = [f"of worker {number}" for number in range(3 - count)]
                assert [one.restored for one in told] == [before] * len(told), "each is given all that the former knew"

        played(scene, configured())

    def test_addresses_come_and_go(self) -> None:
        async def scene(desk: Desk) -> None:
            (first,), second = desk.config.listen.addresses, f"127.0.0.1:{free_port()}"
            await desk.reload(listening(desk.config, addresses=(second, first)))
            pid = (await desk.asked()).pid
            assert (await asked(listening(desk.config, addresses=(first,)))).pid == pid
            former = desk.succession.now
            await desk.reload(listening(desk.config, addresses=(second,)))
            await until(lambda: former.doors.tcp[0].fileno() == -1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                again.bind(("127.0.0.1", int(first.rpartition(":")[2])))

        played(scene, configured())

    def test_what_was_sent_meanwhile_is_answered(self) -> None:
        async def scene(desk: Desk) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(server_of(desk.config))
                reloading = asyncio.create_task(desk.reload(changed(desk.config, deadline=1.5)))
                sent = 0
                while not reloading.done():
                    client.send(b"?")
                    sent += 1
                    await asyncio.sleep(0.005)
                for _ in range(sent):
                    async with asyncio.timeout(5):
                        await asyncio.get_running_loop().sock_recv(client, 65535)
            assert sent > 5

        played(scene, configured())

    def test_how_often_workers_died_and_what_was_lost_does_not_fall(self) -> None:
        async def scene(desk: Desk) -> None:
            stand_in.tell(server_of(desk.config), b"die")
            await until(lambda: desk.succession.workers_restarted == 1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                pid = (await desk.asked()).pid
                stand_in.tell(server_of(desk.config), b"hang")
                for _ in range(2000):
                    client.sendto(b"x" * 500, server_of(desk.config))
            drops = desk.succession.receive_drops
            assert drops > 0
            os.kill(pid, 9)
            await until(lambda: desk.succession.workers_restarted == 2)
            await desk.reload(listening(desk.config, addresses=(f"127.0.0.1:{free_port()}",)))
            assert desk.succession.workers_restarted == 2
            assert desk.succession.receive_drops == drops

        played(scene, configured())

    def test_what_waits_for_another_start_is_said(self) -> None:
        async def scene(desk: Desk) -> None:
            before = desk.config.observe
            observe = msgspec.structs.replace(before, http="127.0.0.1:1", control="/else/where")
            assert await desk.reload(msgspec.structs.replace(desk.config, observe=observe, user="nobody")) == [
                f"observe.http: {before.http} stays until the next start: restart, or forwarder run --takeover",
                f"observe.control: {before.control} stays until the next start: restart, or forwarder run --takeover",
                f"user: uid {os.geteuid()} stays until the next start: restart",
            ]

        played(scene, configured())

    def test_what_is_missing_is_said(self, tmp_path: Path) -> None:
        async def scene(desk: Desk) -> None:
            zones = (msgspec.structs.replace(desk.config.zones[0], upstreams=(f"{tmp_path}/none",)),)
            (note,) = await desk.reload(msgspec.structs.replace(desk.config, zones=zones))
            assert f"{tmp_path}/none does not exist" in note

        played(scene, configured())


class TestRefusal:
    @pytest.mark.parametrize("case", ["configuration", "hosts file", "address", "workers"])
    def test_all_stays_as_it_was(self, case: str, tmp_path: Path) -> None:
        async def refused(desk: Desk, address: str) -> None:
            hosts = msgspec.structs.replace(desk.config.hosts, files=(str(tmp_path / "none"),))
            cases: dict[str, tuple[Config | Exception, type[Exception]]] = {
                "configuration": (ConfigError((Problem("zones", "none"),)), ConfigError),
                "hosts file": (msgspec.structs.replace(desk.config, hosts=hosts), ConfigError),
                "address": (listening(desk.config, addresses=(*desk.config.listen.addresses, address), workers=2), ListenError),
                "workers": (changed(listening(desk.config, workers=2), max_in_progress=stand_in.DIES), ControlError),
            }
            source, error = cases[case]
            with pytest.raises(error):
                await desk.reload(source)

        async def scene(desk: Desk) -> None:
            now, before = desk.succession.now, await desk.asked()
            with taken() as address:
                await refused(desk, address)
                gc.collect()
                opened = open_descriptors()
                await refused(desk, address)
                await asyncio.sleep(0.2)
                gc.collect()
                assert open_descriptors() <= opened, "something was left open"
            assert desk.succession.now is now
            assert len(now.doors.udp[0]) == 1
            told = [await desk.asked(query(f"n{number}.test").to_wire()) for number in range(20)]
            assert {one.pid for one in told} == {before.pid}, "and every query reaches it"
            await desk.reload(changed(desk.config, deadline=1.5))
            await until(now.workers[0].gone.is_set)
            assert (await desk.asked()).restored == ["of worker 0"], "answers can be handed on afterwards"

        played(scene, configured())

    def test_what_is_asked_meanwhile_is_answered_though_more_workers_were_to_come(self) -> None:
        """Their sockets are bound beside those that are read, and nobody reads them yet."""

        async def scene(desk: Desk) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(server_of(desk.config))
                hangs = changed(listening(desk.config, workers=2), max_in_progress=stand_in.HANGS)
                reloading = asyncio.create_task(desk.reload(hangs))
                await until(lambda: len(desk.around.totals._counting) == 3)  # noqa: SLF001 - both have been started
                sent = 40
                for number in range(sent):
                    client.send(query(f"n{number}.test").to_wire())
                    await asyncio.sleep(0.005)
                answered = 0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        while answered < sent:
                            await asyncio.get_running_loop().sock_recv(client, 65535)
                            answered += 1
                await desk.succession.drain()
                with pytest.raises(ControlError):
                    await reloading
            assert answered == sent

        played(scene, configured())


class TestOneAtATime:
    def test_who_waits_too_long_hears_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(succession, "PATIENCE_SECONDS", 0.05)

        async def scene(desk: Desk) -> None:
            async with desk.succession.alone():
                with pytest.raises(ControlError, match=r"something else changes .*: try again"):
                    async with desk.succession.alone():
                        pass
            async with desk.succession.alone():
                pass

        played(scene, configured())


class TestEnd:
    def test_it_ends_what_is_coming_too(self) -> None:
        async def scene(desk: Desk) -> None:
            reloading = asyncio.create_task(desk.reload(changed(desk.config, max_in_progress=stand_in.HANGS)))
            await asyncio.sleep(0.5)
            assert not reloading.done()
            async with asyncio.timeout(succession.DRAIN_SECONDS):
                await desk.succession.drain()
                with pytest.raises(ControlError, match=succession.ENDING):
                    await reloading
            with pytest.raises(ControlError, match=succession.ENDING):
                await desk.reload(desk.config)

        played(scene, configured())

    def test_those_that_leave_are_waited_for(self) -> None:
        async def scene(desk: Desk) -> None:
            former = desk.succession.now
            await desk.asked(b"ignore drain")
            await desk.reload(changed(desk.config, deadline=1.5))
            assert former.closed.is_set(), "nobody answers by what was true before the reload"
            assert not former.workers[0].gone.is_set()
            await desk.succession.drain()
            assert former.workers[0].gone.is_set()
            assert desk.around.said == [f"worker 0 did not end within {succession.DRAIN_SECONDS} s: killed"]

        played(scene, configured())


class TestNews:
    def test_a_file_that_is_another_and_no_longer_changes(self, tmp_path: Path) -> None:
        file, fresh = tmp_path / "config", tmp_path / "fresh"
        file.write_text("a")

        async def scene(desk: Desk) -> None:
            news = desk.succession.has_news
            assert [news(), news()] == [False, False]
            file.write_text("ab")
            assert not news(), "it may be half-written"
            assert news()
            await desk.reload(desk.config)
            assert [news(), news()] == [False, False]
            fresh.write_text("ab")
            fresh.replace(file)
            assert [news(), news()] == [False, True], "replaced by one with the same content"
            file.unlink()
            assert [news(), news()] == [False, False], "one that is gone says nothing"

        played(scene, configured(), str(file))

    def test_without_a_file_there_is_none(self) -> None:
        async def scene(desk: Desk) -> None:
            assert [desk.succession.has_news() for _ in range(3)] == [False] * 3

        played(scene, configured())
