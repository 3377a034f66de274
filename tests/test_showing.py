"""What is shown of a daemon, against generations of real processes: nothing falls and nothing is forgotten when they change."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from forwarder.config import Config
from forwarder.observe import counters
from forwarder.showing import Showing
from forwarder.succession import Source, Succession
from tests.lab.generations import Surroundings, configured, surroundings

WORKERS = 2


def shown(scene: Callable[[Showing, Succession, Surroundings], Awaitable[None]]) -> None:
    """Play a scene around a daemon of two workers."""
    config: Config = configured(workers=WORKERS)

    async def play() -> None:
        async with surroundings() as around:
            succession = Succession(Source(lambda: config), around.around, await around.serving(config))
            await scene(Showing(around.totals, succession, lambda: True), succession, around)

    asyncio.run(play())


def test_an_overview_is_of_the_whole_daemon() -> None:
    async def scene(showing: Showing, succession: Succession, _: Surroundings) -> None:
        before = time.time()
        seen = showing.overview()
        assert before <= seen.at <= time.time()
        assert seen.started <= seen.at
        assert seen.ready
        assert [worker.pid for worker in seen.workers] == [worker.pid for worker in succession.now.workers]
        assert [(upstream.name, upstream.is_asked) for upstream in seen.upstreams] == [("192.0.2.1:53", True)]
        assert seen.cache.max_octets == WORKERS * succession.now.config.cache.memory
        assert seen.counted["workers_restarted"] == 0
        (warning,) = seen.warnings
        assert warning.startswith("No upstream answers (192.0.2.1:53)"), "the stand-ins ask nobody"

    shown(scene)


def test_figures_beside_the_counters_are_of_the_processes_that_run() -> None:
    async def scene(showing: Showing, succession: Succession, _: Surroundings) -> None:
        before = showing.figures()
        assert set(before.resident) == {"supervisor", "worker-0", "worker-1"}
        assert all(octets > 1 << 20 for octets in before.resident.values())
        assert (before.upstreams, before.server) == ({"192.0.2.1:53": True}, None)
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        killed = succession.now.workers[0].pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        after = showing.figures()
        assert after.seconds_used > before.seconds_used

    shown(scene)


def test_the_name_that_coredns_would_have_is_the_first_address() -> None:
    async def scene(showing: Showing, succession: Succession, _: Surroundings) -> None:
        config = succession.now.config
        assert showing.figures().server is None
        succession.now.config = replace(config, observe=replace(config.observe, coredns_names=True))
        assert showing.figures().server == config.listen.addresses[0]

    shown(scene)


def test_each_look_adds_what_happened_since_and_a_reload_loses_nothing() -> None:
    async def scene(showing: Showing, succession: Succession, around: Surroundings) -> None:
        counted = counters.private()
        around.totals.begin(counted)
        assert showing.look().pace is None
        counted[counters.COALESCED] += 3
        counted[counters.HISTOGRAMS_AT - 1] += 5
        moment = showing.look()
        assert moment.pace is not None
        assert moment.pace.queries > 0
        before = moment.overview
        around.made.append(succession.now)
        async with succession.alone():
            await succession.reload()
        around.made.append(succession.now)
        after = showing.look().overview
        assert after.counted["coalesced"] >= before.counted["coalesced"] >= 3
        assert {worker.pid for worker in after.workers}.isdisjoint({worker.pid for worker in before.workers})
        assert len(showing.history.paces) == 2

    shown(scene)


def test_a_look_wakes_all_who_wait_for_it() -> None:
    async def scene(showing: Showing, _: Succession, __: Surroundings) -> None:
        waiting = [asyncio.create_task(showing.next_moment()) for _ in range(3)]
        await asyncio.sleep(0)
        moment = showing.look()
        assert [await one for one in waiting] == [moment] * 3
        assert showing.latest is moment
        later = asyncio.create_task(showing.next_moment())
        await asyncio.sleep(0)
        assert not later.done(), "not the look before"
        showing.look()
        assert (await later).overview.at > moment.overview.at
        assert list(showing.paces()) == [(await later).pace]

    shown(scene)
