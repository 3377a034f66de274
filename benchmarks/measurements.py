"""The measurements: one server, one figure or a few, in seconds.

Each starts its server afresh, warms it up, measures and ends it, so that no measurement sees what another left behind.
Always holds: what is called a hit did not reach the upstream, and what is called a miss did, over the transport named;
nsd's own counters say so, else there is no figure.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import load, peers, processes, questions
from benchmarks.load import Load, Outcome
from benchmarks.peers import Peer, Place, Server
from benchmarks.processes import BenchmarkError
from benchmarks.scraping import scraped
from benchmarks.upstream import Upstream

Sample = dict[str, float]
"""Figure -> value, of one measurement of one peer in one round."""

LATENCY_RATE = 20_000
"""Queries a second at which latencies are compared: far below what any peer can do."""
CPU_RATE = 10_000
"""Queries a second at which the share of a core is compared: what a busy node asks."""
MISSES_A_SECOND = 90_000
"""Fresh names made for each second: more than any peer here answers on one core."""
WARM_UP_MISSES = 20_000
"""Half a second of misses: sockets to the upstream are open, buffers have grown."""
ENTRIES = 10_000
"""Names in the cache when memory is compared."""
FILL_RATE = 5_000
SETTLE_SECONDS = 1.0
"""Before memory is read: what was freed is given back by then."""
MAX_ASTRAY = 0.01
"""Share of queries that may be answered from elsewhere than the measurement is about."""
MIN_OF_RATE = 0.95
"""Share of a fixed rate that must be reached."""
SCRAPES = 10
"""A second, where latencies are compared with and without: what 150 Prometheus would do that scrape every 15 s."""
WORKERS = 2
"""Beside one, to see what a further one brings."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run share."""

    directory: Path
    upstream: Upstream
    server_cores: tuple[int, ...]
    load_cores: tuple[int, ...]
    seconds: float
    """Length of each load."""
    python: str
    numbers: Iterator[int] = field(default_factory=itertools.count)
    """Makes names and directories unique."""

    def place(self, transport: str = "udp") -> Place:
        """A new place for a server."""
        directory = self.directory / f"server-{next(self.numbers)}"
        return Place(directory, self.server_cores, self.upstream.port, transport, self.python)

    def load(self, server: Server, queries: Path, *, rate: int | None = None, runs: int | None = None) -> Load:
        """A load of the usual length on a server."""
        return Load(queries, server.port, self.load_cores, self.seconds, rate, runs)

    def hit_queries(self) -> Path:
        """The file of names that are asked over and over."""
        path = self.directory / "hits"
        return path if path.exists() else questions.written(questions.hit_lines(), path)

    def fresh_queries(self, count: int) -> Path:
        """A file of names that nobody asked for yet; it replaces the one before."""
        lines = questions.once_lines(f"m{next(self.numbers)}", count)
        return questions.written(lines, self.directory / "fresh")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the table."""

    name: str
    measure: Callable[[Bench, Peer], Sample]
    peers: frozenset[str]
    """Names of those it makes sense for."""


def loaded(bench: Bench, server: Server, ask: Load, *, latencies: bool = False) -> tuple[Outcome, Sample]:
    """Run a load and see what it cost the server: `rate`, `lost`, `cpu_us` per answer, `busy` and `core_busy`.

    `busy` is the share of its core that the server's processes used; `core_busy` counts what the kernel did there for it
    too (ksoftirqd), which is what tells whether the server was the limit.
    """
    family = processes.family(server.process.pid)
    before, idle_before = processes.cpu_seconds(family), processes.idle_seconds(bench.server_cores)
    begun = time.monotonic()
    outcome = load.dnsperf_with_latencies(ask) if latencies else load.dnsperf(ask)
    if processes.family(server.process.pid) != family:
        raise BenchmarkError("a process of the server died, or was started, under load")
    used = processes.cpu_seconds(family) - before
    # dnsperf itself takes a moment to start and to end, in which the core is idle, and no load's fault.
    idle = processes.idle_seconds(bench.server_cores) - idle_before - (time.monotonic() - begun - outcome.seconds)
    cores = len(bench.server_cores)
    sample = {
        "rate": outcome.rate,
        "lost": outcome.lost,
        "cpu_us": used / outcome.answers * 1e6,
        "busy": used / outcome.seconds / cores,
        "core_busy": 1 - max(0.0, idle) / outcome.seconds / cores,
    }
    return outcome, sample


def warm_with_hits(bench: Bench, server: Server) -> Path:
    """Ask for all names twice: once to learn them, once for caches in front of caches."""
    queries = bench.hit_queries()
    load.dnsperf(replace(bench.load(server, queries, runs=2), seconds=10))
    return queries


def _from_memory(bench: Bench, peer: Peer, *, rate: int | None = None, latencies: bool = False) -> tuple[Outcome, Sample]:
    """A load of names that the server knows already."""
    with peers.serving(peer, bench.place()) as server:
        queries = warm_with_hits(bench, server)
        before = bench.upstream.counts()
        outcome, sample = loaded(bench, server, bench.load(server, queries, rate=rate), latencies=latencies)
        asked = _asked(bench, before, ("num.udp", "num.tcp"))
    if asked > MAX_ASTRAY * outcome.answers:
        raise BenchmarkError(f"{asked} of {outcome.answers} hits reached the upstream")
    if rate is not None and outcome.rate < MIN_OF_RATE * rate:
        raise BenchmarkError(f"{outcome.rate:.0f}/s instead of {rate}/s: the client is too slow for this measurement")
    return outcome, sample


def _asked(bench: Bench, before: dict[str, int], counters: tuple[str, ...]) -> int:
    """Queries that reached the upstream since `before`."""
    now = bench.upstream.counts()
    return sum(now[counter] - before[counter] for counter in counters)


def hits(bench: Bench, peer: Peer) -> Sample:
    """As many answers from memory as server and client can do."""
    return _from_memory(bench, peer)[1]


def latency(bench: Bench, peer: Peer) -> Sample:
    """Microseconds of the median and of the slowest hundredth, at a fixed rate."""
    outcome, sample = _from_memory(bench, peer, rate=LATENCY_RATE, latencies=True)
    p50, p99 = (load.percentile(outcome.latencies, share) * 1e6 for share in (0.5, 0.99))
    return {"p50_us": p50, "p99_us": p99, "lost": sample["lost"]}


def scraping(bench: Bench, peer: Peer) -> Sample:
    """The same latencies while the figures of the server are read and while they are not, a second each, in turns."""
    latencies: dict[bool, list[float]] = {False: [], True: []}
    with peers.serving(peer, bench.place()) as server:
        ask = replace(bench.load(server, warm_with_hits(bench, server), rate=LATENCY_RATE), seconds=1)
        for is_scraped in (False, True, True, False) * math.ceil(bench.seconds / 2):
            latencies[is_scraped] += _second_of(ask, server if is_scraped else None)
    ordered = {is_scraped: tuple(sorted(taken)) for is_scraped, taken in latencies.items()}
    p50, p99 = ({is_scraped: load.percentile(ordered[is_scraped], share) for is_scraped in ordered} for share in (0.5, 0.99))
    return {
        "p50_times": p50[True] / p50[False],
        "p99_times": p99[True] / p99[False],
        "p99_us": p99[True] * 1e6,
        "quiet_p99_us": p99[False] * 1e6,
    }


def _second_of(ask: Load, scraped_server: Server | None) -> tuple[float, ...]:
    """Latencies of a load of a second, while this server's figures are read SCRAPES times."""
    if scraped_server is None:
        outcome = load.dnsperf_with_latencies(ask)
    else:
        with scraped(scraped_server.http, SCRAPES) as scraper:
            outcome = load.dnsperf_with_latencies(ask)
        if scraper.scrapes < MIN_OF_RATE * SCRAPES * outcome.seconds:
            raise BenchmarkError(f"{scraper.scrapes} scrapes in {outcome.seconds:.1f} s instead of {SCRAPES} a second")
    if outcome.rate < MIN_OF_RATE * LATENCY_RATE:
        raise BenchmarkError(f"{outcome.rate:.0f}/s instead of {LATENCY_RATE}/s: the client is too slow for this measurement")
    return outcome.latencies


def cpu(bench: Bench, peer: Peer) -> Sample:
    """Percent of a core at a fixed rate."""
    sample = _from_memory(bench, peer, rate=CPU_RATE)[1]
    return {"cpu_percent": sample["busy"] * 100 * len(bench.server_cores), "lost": sample["lost"]}


def _misses(bench: Bench, peer: Peer, transport: str) -> Sample:
    """As many answers from the upstream as the server can do; each name once."""
    with peers.serving(peer, bench.place(transport)) as server:
        warm_up = bench.load(server, bench.fresh_queries(WARM_UP_MISSES), runs=1)
        load.dnsperf(replace(warm_up, seconds=10))
        queries = bench.fresh_queries(int(MISSES_A_SECOND * bench.seconds))
        before = bench.upstream.counts()
        outcome, sample = loaded(bench, server, bench.load(server, queries, runs=1))
        asked = _asked(bench, before, (f"num.{transport}",))
    if asked < (1 - MAX_ASTRAY) * outcome.answers:
        raise BenchmarkError(f"of {outcome.answers} misses only {asked} reached the upstream over {transport}")
    return sample


def misses_udp(bench: Bench, peer: Peer) -> Sample:
    """Misses with an upstream that is asked over UDP."""
    return _misses(bench, peer, "udp")


def misses_tcp(bench: Bench, peer: Peer) -> Sample:
    """Misses with an upstream that is asked over TCP."""
    return _misses(bench, peer, "tcp")


def memory(bench: Bench, peer: Peer) -> Sample:
    """Proportional set size in octets, empty and with ENTRIES names in the cache."""
    with peers.serving(peer, bench.place()) as server:
        time.sleep(SETTLE_SECONDS)
        empty = processes.pss_octets(processes.family(server.process.pid))
        fill = bench.load(server, bench.fresh_queries(ENTRIES), rate=FILL_RATE, runs=1)
        load.dnsperf(replace(fill, seconds=3 * ENTRIES / FILL_RATE))
        time.sleep(SETTLE_SECONDS)
        full = processes.pss_octets(processes.family(server.process.pid))
    return {"pss_empty": empty, "pss_full": full}


def start(bench: Bench, peer: Peer) -> Sample:
    """Milliseconds from exec to the first answer, which had to be fetched from the upstream."""
    with peers.serving(peer, bench.place()) as server:
        return {"start_ms": server.start_seconds * 1e3}


def workers(bench: Bench, peer: Peer) -> Sample:
    """What WORKERS bring: `times` the hits of one, if each had a core, for what an answer costs; `even`, `asked` upstream.

    Both counts of workers have the one core of the server, and are saturated the same way: where load and workers do not fit
    on the cores, rates say nothing. `even` is what the idlest worker did of the share that would be even, by its CPU time.
    """
    (one, _, asked_by_one), (several, even, asked) = (_hits_of(bench, peer, count) for count in (1, WORKERS))
    return {
        "times": WORKERS * one["cpu_us"] / several["cpu_us"],
        "cpu_us": several["cpu_us"],
        "even": even,
        "asked": asked / asked_by_one,
        "core_busy": several["core_busy"],
        "lost": several["lost"],
    }


def _hits_of(bench: Bench, peer: Peer, count: int) -> tuple[Sample, float, int]:
    """As many answers from memory as so many workers can do, how evenly they did them, and upstream queries from the start."""
    before = bench.upstream.counts()
    with peers.serving(peer, replace(bench.place(), workers=count)) as server:
        queries = warm_with_hits(bench, server)
        _, *pids = processes.family(server.process.pid)
        if len(pids) != count:
            raise BenchmarkError(f"{len(pids)} workers instead of {count}")
        used = [processes.cpu_seconds((pid,)) for pid in pids]
        _, sample = loaded(bench, server, bench.load(server, queries))
        used = [processes.cpu_seconds((pid,)) - seconds for pid, seconds in zip(pids, used, strict=True)]
    return sample, min(used) * count / sum(used), _asked(bench, before, ("num.udp", "num.tcp"))


_ALL = frozenset(peers.PEERS)
_RESOLVERS = frozenset(name for name, peer in peers.PEERS.items() if peer.transports)
_OVER_TCP = frozenset(name for name, peer in peers.PEERS.items() if "tcp" in peer.transports)
MEASUREMENTS = (
    Measurement("hits", hits, _ALL),
    Measurement("misses-udp", misses_udp, _RESOLVERS),
    Measurement("misses-tcp", misses_tcp, _OVER_TCP),
    Measurement("latency", latency, _ALL),
    Measurement("cpu", cpu, _ALL),
    Measurement("memory", memory, _RESOLVERS),
    Measurement("start", start, _RESOLVERS),
    Measurement("workers", workers, frozenset((peers.DAEMON,))),
    Measurement("scraping", scraping, frozenset((peers.DAEMON,))),
)
"""In the order in which a round makes them."""
