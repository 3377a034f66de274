"""Overviews for tests: made by the code that makes them, from counters the tests write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forwarder.observe import counters
from forwarder.observe.overview import Conntrack, Names, Overview
from forwarder.observe.reading import Figures, overview_of

DOOR = counters.door_row("udp", "ipv4")
A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN = (counters.RCODES.index(name) for name in ("NOERROR", "SERVFAIL", "NXDOMAIN"))
UPSTREAM = "192.0.2.1:53"


@dataclass
class SeenWorker:
    number: int = 0
    pid: int | None = 4711
    serving: bool = True
    state: str = "serving"
    restarts: int = 0
    last_end: str = ""


@dataclass
class Daemon:
    """What a daemon has counted, and what its supervisor knows."""

    slots: memoryview = field(default_factory=counters.private)
    at: float = 1_700_000_000.0
    upstreams: Mapping[str, bool] = field(default_factory=lambda: {UPSTREAM: True})
    workers: Sequence[SeenWorker] = (SeenWorker(),)
    counted: dict[str, int] = field(default_factory=dict)
    conntrack: Conntrack | None = None
    names: Names | None = None

    def __post_init__(self) -> None:
        for place in range(len(self.upstreams)):
            self.slots[counters.upstream_row(place) + counters.UP_IN_ROW] = 1

    def answered(self, source: int, times: int = 1, *, rcode: int = NOERROR, microseconds: int = 20, qtype: int = A) -> None:
        """So many responses."""
        self.slots[DOOR + counters.kind_for(qtype, source, rcode)] += times
        counters.observe_microseconds(self.slots, counters.HISTOGRAMS[source], microseconds, times)

    def asked(self, times: int = 1, *, failures: int = 0, place: int = 0, microseconds: int = 2000) -> None:
        """So many queries to an upstream, of which some failed, as timeouts."""
        row = counters.upstream_row(place)
        self.slots[row + counters.QUERIES_IN_ROW] += times
        self.slots[row + counters.FAILURES_IN_ROW] += failures
        counters.observe_microseconds(self.slots, row + counters.SECONDS_IN_ROW, microseconds, times - failures)

    def overview(self, seconds: float = 0.0) -> Overview:
        """It, so many seconds later."""
        self.at += seconds
        figures = Figures(
            self.at,
            "1.0",
            1_600_000_000.0,
            True,
            self.upstreams,
            self.workers,
            1 << 20,
            self.counted,
            self.conntrack,
            self.names,
        )
        return overview_of(self.slots, figures)
