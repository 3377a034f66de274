"""The daemon as others see it: what the pages, the metrics and the control socket show, put together from its parts.

Never changes what it looks at. Always holds: an upstream, a worker and a count mean the same wherever they are shown.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from forwarder.observe import metrics, reading
from forwarder.observe.advice import advice
from forwarder.observe.conntrack import conntrack
from forwarder.observe.history import History
from forwarder.observe.overview import Conntrack, Moment, Names, Overview, Pace
from forwarder.observe.processes import resident_octets, seconds_used
from forwarder.observe.totals import Totals
from forwarder.succession import Succession
from forwarder.workers import Worker


class Showing:
    """What there is to see."""

    def __init__(
        self,
        totals: Totals,
        generations: Succession,
        is_ready: Callable[[], bool],
        names: Callable[[], Names | None] = lambda: None,
    ) -> None:
        """`is_ready`: whether queries were answered at least once, and the end is not near.

        `names` gives those asked for in the last minutes; None where nobody looks at them.
        """
        self.is_ready = is_ready
        self.names = names
        self.history = History()
        self.latest: Moment | None = None
        """What was seen at the last look."""
        self._looked = asyncio.Event()
        self._totals = totals
        self._generations = generations
        self._started = time.time()
        self._seconds_used = 0.0

    def counts(self) -> Sequence[int]:
        """Every slot of the counters, over all workers that were."""
        return self._totals.summed()

    def workers(self) -> Sequence[Worker]:
        """Every worker."""
        return self._generations.now.workers

    def workers_restarted(self) -> int:
        """How often a worker was started again."""
        return self._generations.workers_restarted

    def upstreams(self) -> Mapping[str, bool]:
        """Whose each row for upstreams in the counters is, in their order -> whether it is asked now."""
        return self._generations.now.following.shown()

    def receive_drops(self) -> int:
        """Datagrams lost at the receive queues of all addresses."""
        return self._generations.receive_drops

    def figures(self) -> metrics.Figures:
        """What /metrics says beside the counters."""
        config = self._generations.now.config
        pids = {f"worker-{worker.number}": worker.pid for worker in self.workers() if worker.pid is not None}
        resident = {process: resident_octets(pid) for process, pid in {"supervisor": os.getpid(), **pids}.items()}
        used = seconds_used(os.getpid(), with_children=True) + sum(map(seconds_used, pids.values()))
        self._seconds_used = max(self._seconds_used, used)  # one that ends between the two looks is in neither
        return metrics.Figures(
            workers_restarted=self.workers_restarted(),
            receive_drops=self.receive_drops(),
            upstreams=self.upstreams(),
            resident={process: octets for process, octets in resident.items() if octets is not None},
            seconds_used=self._seconds_used,
            conntrack=conntrack(),
            server=config.listen.addresses[0] if config.observe.coredns_names else None,
        )

    def overview(self) -> Overview:
        """All of it, as it is now."""
        config = self._generations.now.config
        now = reading.overview_of(
            self.counts(),
            reading.Figures(
                at=time.time(),
                release=metrics.version(),
                started=self._started,
                ready=self.is_ready(),
                upstreams=self.upstreams(),
                workers=self.workers(),
                max_cache_octets=config.cache.memory * len(self.workers()),
                counted={"workers_restarted": self.workers_restarted(), "receive_drops": self.receive_drops()},
                conntrack=_table(),
                names=self.names(),
            ),
        )
        return msgspec.structs.replace(now, warnings=advice(now, self.history.former))

    def look(self) -> Moment:
        """Look once more; to be done once a second. What was seen is in the history, and those who wait for it are woken."""
        now = self.overview()
        self.history.add(now)
        self.latest = self.moment(now)
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()
        return self.latest

    def moment(self, now: Overview) -> Moment:
        """With what happened in the second before."""
        paces = self.history.paces
        return Moment(now, paces[-1] if paces else None)

    def paces(self) -> Sequence[Pace]:
        """The last minutes, the oldest first."""
        return self.history.paces

    async def next_moment(self) -> Moment:
        """What is seen at the next look."""
        await self._looked.wait()
        return self.latest or self.moment(self.overview())


def _table() -> Conntrack | None:
    """The node's table of connections; what the kernel does not say is 0."""
    found = conntrack()
    if found is None:
        return None
    return Conntrack(found.entries or 0, found.limit or 0, found.insert_failed or 0, found.drop or 0)
