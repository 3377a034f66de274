"""What is shown of a daemon, against generations of real processes: nothing falls and nothing is forgotten when they change."""

import asyncio
import time
from collections.abc import Awaitable, Callable

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
