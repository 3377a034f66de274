"""The daemon as others see it: what the pages, the metrics and the control socket show, put together from its parts.

Never changes what it looks at. Always holds: an upstream, a worker and a count mean the same wherever they are shown.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from forwarder.observe import metrics, reading
from forwarder.observe.advice import advice
from forwarder.observe.history import History
from forwarder.observe.overview import Moment, Names, Overview
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
        self._totals = totals
        self._generations = generations
        self._started = time.time()

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
                conntrack=None,
                names=self.names(),
            ),
        )
        return msgspec.structs.replace(now, warnings=advice(now, self.history.former))

    def look(self) -> Moment:
        """Look once more; to be done once a second. What was seen is in the history."""
        now = self.overview()
        self.history.add(now)
        return self.moment(now)

    def moment(self, now: Overview) -> Moment:
        """With what happened in the second before."""
        paces = self.history.paces
        return Moment(now, paces[-1] if paces else None)
