"""What is counted, as Prometheus reads it: the counters of all workers and those of the supervisor under their names.

Only reads, never writes a slot. Always holds: a series that has been shown is shown from then on and never falls, gauges
excepted; no gauge speaks of an upstream that is asked no more; a scrape takes milliseconds of the supervisor and nothing of
any worker.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of_package

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from forwarder.observe import counters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format every scraper reads; one format only, so that no Accept header has to be understood."""

USUAL_RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS")
"""Shown from the start, so that rate() sees the first of them; the others once they were seen."""

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What only the supervisor knows."""

    workers_restarted: int
    """How often a worker was started again."""
    receive_drops: int
    """Datagrams lost because the receive queue of a UDP socket was full."""
    upstreams: Mapping[str, bool]
    """Whose each row for upstreams is, in their order -> whether it is asked now."""


class Collector:
    """Reads the counters when somebody scrapes."""

    def __init__(self, counts: Callable[[], Sequence[int]], figures: Callable[[], Figures]) -> None:
        """`counts` gives every slot over all workers."""
        self._counts = counts
        self._slots: Sequence[int] = ()
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Every metric family, in the order of docs and dashboards: answers, cache, upstreams, the daemon."""
        figures = self._figures()
        self._slots = self._counts()
        yield from self._answers()
        yield from self._cache()
        yield from self._waiting_clients()
        yield from self._upstream_traffic(figures)
        yield from self._upstream_state(figures)
        yield from self._daemon(figures)

    def _answers(self) -> Iterable[Metric]:
        queries = CounterMetricFamily(
            "forwarder_queries",
            "Queries answered, by how they came and what they asked.",
            labels=("transport", "family", "type"),
        )
        for transport, family in counters.DOORS:
            row = counters.door_row(transport, family)
            for number, name in enumerate(counters.TYPES):
                first = row + number * counters.PER_TYPE
                queries.add_metric((transport, family, name), sum(self._slots[first : first + counters.PER_TYPE]))
        responses = CounterMetricFamily(
            "forwarder_responses",
            "Responses to clients, by RCODE and source; hit ratio: every source but upstream and failure, over all.",
            labels=("rcode", "source"),
        )
        seconds = HistogramMetricFamily(
            "forwarder_response_seconds",
            "Time from the arrival of a query to its response, by where the response came from.",
            labels=("source",),
        )
        for number, source in enumerate(counters.SOURCES):
            for rcode, name in enumerate(counters.RCODES):
                first = number * counters.PER_SOURCE + rcode
                total = sum(self._slots[first : counters.HISTOGRAMS_AT : counters.PER_TYPE])
                if total or name in USUAL_RCODES:
                    responses.add_metric((name, source), total)
            seconds.add_metric((source,), *self._histogram(counters.HISTOGRAMS_AT + number * counters.PER_HISTOGRAM))
        return queries, responses, seconds

    def _cache(self) -> Iterable[Metric]:
        entries = GaugeMetricFamily(
            "forwarder_cache_entries",
            "Entries in memory: exact (query bytes to response bytes), positive, negative and failure (by question).",
            labels=("kind",),
        )
        for number, kind in enumerate(counters.CACHE_KINDS):
            entries.add_metric((kind,), self._slots[counters.CACHE_ENTRIES_AT + number])
        yield entries
        yield self._gauge("forwarder_cache_bytes", "Octets the caches take of cache.memory.", counters.CACHE_BYTES)
        yield self._counter(
            "forwarder_cache_evictions", "Entries dropped to stay within cache.memory.", counters.CACHE_EVICTIONS
        )
        yield self._counter(
            "forwarder_coalesced", "Queries that waited for the same question already in progress.", counters.COALESCED
        )
        yield self._counter(
            "forwarder_prefetches", "Answers in use that were asked for again before they ended.", counters.PREFETCHES
        )

    def _waiting_clients(self) -> Iterable[Metric]:
        yield self._counter(
            "forwarder_split_pairs",
            "Names of which upstreams answered one of A and AAAA and not the other in time; asked directly, glibc waits 5 s for"
            " it, and asks A and AAAA one after the other from then on.",
            counters.SPLIT_PAIRS,
        )
        repeats = CounterMetricFamily(
            "forwarder_client_repeats",
            "Queries over UDP that came again from the same client and port with the same ID; failure: A, 5 s after it failed,"
            " no AAAA between: an old glibc that waits 5 to 10 s on each failure since it once lost a response;"
            " failure_musl: A, 2.5 s after it failed: musl, which waits 5 s on each failure;"
            " lost_reply: A, 5 s after it failed, and AAAA too: a response was lost on the way to the client;"
            " silence: any type, before we answered: the client waits for less than answering.deadline.",
            labels=("after",),
        )
        for number, after in enumerate(counters.AFTER):
            repeats.add_metric((after,), self._slots[counters.CLIENT_REPEATS + number])
        yield repeats

    def _upstream_traffic(self, figures: Figures) -> Iterable[Metric]:
        queries = CounterMetricFamily(
            "forwarder_upstream_queries",
            "Queries sent to an upstream, repeated ones included.",
            labels=("upstream", "transport"),
        )
        failures = CounterMetricFamily(
            "forwarder_upstream_failures",
            "Attempts at an upstream that brought no usable answer.",
            labels=("upstream", "reason"),
        )
        seconds = HistogramMetricFamily(
            "forwarder_upstream_seconds", "Time from a query to an upstream to its response.", labels=("upstream",)
        )
        mismatched = CounterMetricFamily(
            "forwarder_mismatched_responses",
            "Datagrams and messages that matched no query: late, or forged; never used.",
            labels=("upstream",),
        )
        for place, name in enumerate(figures.upstreams):
            row = counters.upstream_row(place)
            for number, transport in enumerate(counters.UPSTREAM_TRANSPORTS):
                queries.add_metric((name, transport), self._slots[row + counters.QUERIES_IN_ROW + number])
            for number, reason in enumerate(counters.FAILURE_REASONS):
                failures.add_metric((name, reason), self._slots[row + counters.FAILURES_IN_ROW + number])
            seconds.add_metric((name,), *self._histogram(row + counters.SECONDS_IN_ROW))
            mismatched.add_metric((name,), self._slots[row + counters.MISMATCHED_IN_ROW])
        return queries, failures, seconds, mismatched

    def _upstream_state(self, figures: Figures) -> Iterable[Metric]:
        up = GaugeMetricFamily("forwarder_upstream_up", "1 when the upstream answers, 0 when it is down.", labels=("upstream",))
        connections = GaugeMetricFamily(
            "forwarder_upstream_connections", "Open TCP and TLS connections to the upstream.", labels=("upstream",)
        )
        looped = GaugeMetricFamily(
            "forwarder_upstream_looped",
            "1 when the upstream sends our queries back to us and is left out.",
            labels=("upstream",),
        )
        for place, (name, is_asked) in enumerate(figures.upstreams.items()):
            if is_asked:
                row = counters.upstream_row(place)
                up.add_metric((name,), self._slots[row + counters.UP_IN_ROW])
                connections.add_metric((name,), self._slots[row + counters.CONNECTIONS_IN_ROW])
                looped.add_metric((name,), self._slots[row + counters.LOOPED_IN_ROW])
        return up, connections, looped

    def _daemon(self, figures: Figures) -> Iterable[Metric]:
        yield self._counter(
            "forwarder_deadline_missed",
            "Queries not answered within answering.deadline; must stay 0.",
            counters.DEADLINE_MISSED,
        )
        yield self._counter(
            "forwarder_refused_clients", "Queries of clients that listen.allow leaves out.", counters.REFUSED_CLIENTS
        )
        yield self._counter("forwarder_malformed_queries", "Datagrams that were no DNS query.", counters.MALFORMED_QUERIES)
        yield self._counter(
            "forwarder_query_log_drops",
            "Notes of queries, for the query log or the names asked most, that were lost: a disk, a reader of stdout or the"
            " supervisor did not keep up.",
            counters.QUERY_LOG_DROPS,
        )
        yield self._counter(
            "forwarder_query_log_left_out",
            "Queries that belong into the query log and have no line, because there were too many of them in a second.",
            counters.QUERY_LOG_LEFT_OUT,
        )
        yield self._gauge("forwarder_in_progress", "Questions that wait for an upstream now.", counters.IN_PROGRESS)
        yield self._gauge("forwarder_tcp_connections", "Open TCP connections of clients.", counters.TCP_CONNECTIONS)
        yield CounterMetricFamily(
            "forwarder_workers_restarted", "Workers that ended unasked and were started again.", figures.workers_restarted
        )
        yield CounterMetricFamily(
            "forwarder_receive_drops", "Datagrams of clients lost because the receive queue was full.", figures.receive_drops
        )
        built = GaugeMetricFamily("forwarder_build_info", "Always 1; what is running.", labels=("version", "python"))
        built.add_metric((version(), platform.python_version()), 1)
        yield built

    def _counter(self, name: str, sentence: str, slot: int) -> Metric:
        return CounterMetricFamily(name, sentence, self._slots[slot])

    def _gauge(self, name: str, sentence: str, slot: int) -> Metric:
        return GaugeMetricFamily(name, sentence, self._slots[slot])

    def _histogram(self, first: int) -> tuple[list[tuple[str, float]], float]:
        """Buckets as prometheus_client wants them, cumulative with their upper bounds, and the sum in seconds."""
        buckets: list[tuple[str, float]] = []
        so_far = 0
        bounds = (*(str(bound) for bound in counters.SECONDS_BUCKETS), "+Inf")
        for number, bound in enumerate(bounds):
            so_far += self._slots[first + number]
            buckets.append((bound, so_far))
        return buckets, self._slots[first + counters.PER_HISTOGRAM - 1] / MICROSECONDS


def rendered(collector: Collector) -> bytes:
    """The whole of /metrics, in the format that CONTENT_TYPE names."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


def version() -> str:
    """The version of the installed package; `0` when it runs from a tree that was never installed."""
    try:
        return version_of_package("forwarder")
    except PackageNotFoundError:
        return "0"
