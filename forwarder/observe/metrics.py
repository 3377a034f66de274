"""What is counted, as Prometheus reads it: the counters of all workers and those of the supervisor under their names.

Only reads, never writes a slot. Always holds: a series that has been shown is shown from then on and never falls, gauges
excepted; no gauge speaks of an upstream that is asked no more; no label has a value that clients choose, least of all a name
they ask for; a scrape takes some milliseconds of the supervisor, in pieces, and nothing of any worker.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of_package

from forwarder.observe import counters, sums
from forwarder.observe.conntrack import Conntrack
from forwarder.observe.coredns_names import CorednsNames
from forwarder.observe.exposition import COUNTER, GAUGE, HISTOGRAM, Family, counter, gauge, written

USUAL_RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS")
"""Shown from the start, so that rate() sees the first of them; the others once they were seen."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What only the supervisor knows."""

    workers_restarted: int
    """How often a worker was started again."""
    receive_drops: int
    """Datagrams lost because the receive queue of a UDP socket was full."""
    upstreams: Mapping[str, bool]
    """Whose each row for upstreams is, in their order -> whether it is asked now."""
    resident: Mapping[str, int] = field(default_factory=dict)
    """Process, `supervisor` or `worker-N` -> octets of memory."""
    seconds_used: float = 0.0
    """Time of the core that all processes used, those that ended included."""
    conntrack: Conntrack | None = None
    """The kernel's table of connections; None where there is none."""
    server: str | None = None
    """The first address that is listened on, where CoreDNS' names are shown too; else None."""


class Collector:
    """Reads the counters when somebody scrapes."""

    def __init__(self, counts: Callable[[], Sequence[int]], figures: Callable[[], Figures]) -> None:
        """`counts` gives every slot over all workers."""
        self._counts = counts
        self._slots: Sequence[int] = ()
        self._figures = figures

    def collect(self) -> Iterator[Family]:
        """Every metric family, in the order of docs and dashboards: answers, cache, upstreams, the daemon, the node."""
        figures = self._figures()
        self._slots = slots = self._counts()
        yield from self._answers()
        yield from self._cache()
        yield from self._waiting_clients()
        yield from self._upstream_traffic(figures)
        yield from self._upstream_state(figures)
        yield from self._clients()
        yield from _daemon(figures)
        yield from _node(figures.conntrack)
        if figures.server is not None:
            names = CorednsNames(figures.server, figures.upstreams, version())
            yield from names.families(slots, crashes=figures.workers_restarted)
            yield from names.of_processes(sum(figures.resident.values()), figures.seconds_used)

    def _answers(self) -> Iterable[Family]:
        queries = Family(
            "forwarder_queries",
            COUNTER,
            "Queries answered, by how they came and what they asked.",
            ("transport", "family", "type"),
        )
        for labels, total in sums.queries(self._slots):
            queries.add(labels, total)
        responses = Family(
            "forwarder_responses",
            COUNTER,
            "Responses to clients, by RCODE and source; hit ratio: every source but upstream and failure, over all.",
            ("rcode", "source"),
        )
        for (rcode, source), total in sums.responses(self._slots):
            if total or rcode in USUAL_RCODES:
                responses.add((rcode, source), total)
        seconds = Family(
            "forwarder_response_seconds",
            HISTOGRAM,
            "Time from the arrival of a query to its response, by where the response came from.",
            ("source",),
        )
        for source, first in zip(counters.SOURCES, counters.HISTOGRAMS, strict=True):
            seconds.add_histogram((source,), *sums.histogram(self._slots, first))
        return queries, responses, seconds

    def _cache(self) -> Iterable[Family]:
        entries = Family(
            "forwarder_cache_entries",
            GAUGE,
            "Entries in memory: exact (query bytes to response bytes), positive, negative and failure (by question).",
            ("kind",),
        )
        for number, kind in enumerate(counters.CACHE_KINDS):
            entries.add((kind,), self._slots[counters.CACHE_ENTRIES_AT + number])
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

    def _waiting_clients(self) -> Iterable[Family]:
        yield self._counter(
            "forwarder_split_pairs",
            "Names of which upstreams answered one of A and AAAA and not the other in time; asked directly, glibc waits 5 s for"
            " it, and asks A and AAAA one after the other from then on.",
            counters.SPLIT_PAIRS,
        )
        repeats = Family(
            "forwarder_client_repeats",
            COUNTER,
            "Queries over UDP that came again from the same client and port with the same ID; failure: A, 5 s after it failed,"
            " no AAAA between: an old glibc that waits 5 to 10 s on each failure since it once lost a response;"
            " failure_musl: A, 2.5 s after it failed: musl, which waits 5 s on each failure;"
            " lost_reply: A, 5 s after it failed, and AAAA too: a response was lost on the way to the client;"
            " silence: any type, before we answered: the client waits for less than answering.deadline.",
            ("after",),
        )
        for number, after in enumerate(counters.AFTER):
            repeats.add((after,), self._slots[counters.CLIENT_REPEATS + number])
        yield repeats

    def _upstream_traffic(self, figures: Figures) -> Iterable[Family]:
        of_one = ("upstream",)
        queries = Family(
            "forwarder_upstream_queries",
            COUNTER,
            "Queries sent to an upstream, repeated ones included.",
            ("upstream", "transport"),
        )
        failures = Family(
            "forwarder_upstream_failures",
            COUNTER,
            "Attempts at an upstream that brought no usable answer.",
            ("upstream", "reason"),
        )
        seconds = Family(
            "forwarder_upstream_seconds", HISTOGRAM, "Time from a query to an upstream to its usable response.", of_one
        )
        mismatched = Family(
            "forwarder_mismatched_responses",
            COUNTER,
            "Datagrams and messages that matched no query: late, or forged; never used.",
            of_one,
        )
        probes = Family(
            "forwarder_upstream_probe_failures",
            COUNTER,
            "Probes that an upstream did not answer; it is probed when it seems to be down, and while it is.",
            of_one,
        )
        for place, name in enumerate(figures.upstreams):
            row = counters.upstream_row(place)
            for number, transport in enumerate(counters.UPSTREAM_TRANSPORTS):
                queries.add((name, transport), self._slots[row + counters.QUERIES_IN_ROW + number])
            for number, reason in enumerate(counters.FAILURE_REASONS):
                failures.add((name, reason), self._slots[row + counters.FAILURES_IN_ROW + number])
            seconds.add_histogram((name,), *sums.histogram(self._slots, row + counters.SECONDS_IN_ROW))
            mismatched.add((name,), self._slots[row + counters.MISMATCHED_IN_ROW])
            probes.add((name,), self._slots[row + counters.PROBE_FAILURES_IN_ROW])
        return queries, failures, seconds, mismatched, probes

    def _upstream_state(self, figures: Figures) -> Iterable[Family]:
        up = Family("forwarder_upstream_up", GAUGE, "1 when the upstream answers, 0 when it is down.", ("upstream",))
        connections = Family(
            "forwarder_upstream_connections", GAUGE, "Open TCP and TLS connections to the upstream.", ("upstream",)
        )
        looped = Family(
            "forwarder_upstream_looped",
            GAUGE,
            "1 when the upstream sends our queries back to us and is left out.",
            ("upstream",),
        )
        for place, (name, is_asked) in enumerate(figures.upstreams.items()):
            if is_asked:
                row = counters.upstream_row(place)
                up.add((name,), self._slots[row + counters.UP_IN_ROW])
                connections.add((name,), self._slots[row + counters.CONNECTIONS_IN_ROW])
                looped.add((name,), self._slots[row + counters.LOOPED_IN_ROW])
        yield from (up, connections, looped)
        yield self._counter(
            "forwarder_all_upstreams_down",
            "Questions that had to be asked while no upstream of their zone was up; what is known, though stale, is answered.",
            counters.ALL_DOWN,
        )

    def _clients(self) -> Iterable[Family]:
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

    def _counter(self, name: str, sentence: str, slot: int) -> Family:
        return counter(name, sentence, self._slots[slot])

    def _gauge(self, name: str, sentence: str, slot: int) -> Family:
        return gauge(name, sentence, self._slots[slot])


def _daemon(figures: Figures) -> Iterable[Family]:
    yield counter(
        "forwarder_workers_restarted", "Workers that ended unasked and were started again.", figures.workers_restarted
    )
    yield counter(
        "forwarder_receive_drops", "Datagrams of clients lost because the receive queue was full.", figures.receive_drops
    )
    resident = Family(
        "forwarder_resident_bytes",
        GAUGE,
        "Memory that a process has in RAM, in octets; what two processes share, such as the interpreter, is in both.",
        ("process",),
    )
    for process, octets in figures.resident.items():
        resident.add((process,), octets)
    yield resident
    yield counter(
        "forwarder_cpu_seconds", "Time of the core that supervisor and workers used since they began.", figures.seconds_used
    )
    built = Family("forwarder_build_info", GAUGE, "Always 1; what is running.", ("version", "python"))
    built.add((version(), platform.python_version()), 1)
    yield built


def _node(table: Conntrack | None) -> Iterable[Family]:
    if table is None:
        return
    for figure, family in (
        (
            table.insert_failed,
            Family(
                "forwarder_conntrack_insert_failed",
                COUNTER,
                "Packets the kernel dropped since boot because it tracked their connection already; A and AAAA queries that"
                " leave one port together through NAT are lost so. Of this network namespace, all programs.",
            ),
        ),
        (
            table.drop,
            Family(
                "forwarder_conntrack_drop",
                COUNTER,
                "Packets the kernel dropped since boot because its table of connections was full. Of this network namespace.",
            ),
        ),
        (
            table.entries,
            Family("forwarder_conntrack_entries", GAUGE, "Connections that the kernel tracks now, in this network namespace."),
        ),
        (
            table.limit,
            Family("forwarder_conntrack_entries_limit", GAUGE, "Connections the kernel can track; when full it drops packets."),
        ),
    ):
        if figure is not None:
            family.add((), figure)
            yield family


def rendered(collector: Collector) -> bytes:
    """The whole of /metrics, in the format that `exposition.CONTENT_TYPE` names."""
    return written(collector.collect())


@cache
def version() -> str:
    """The version of the installed package; `0` when it runs from a tree that was never installed."""
    try:
        return version_of_package("forwarder")
    except PackageNotFoundError:
        return "0"
