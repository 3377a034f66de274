"""Reads the counters for people: every slot, and what only the supervisor knows, as one `Overview`.

Pure, as `observe.overview` is. Always holds: each figure is the one that /metrics gives for the same slots.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from forwarder.observe import counters, sums
from forwarder.observe.overview import VERSION, Cache, Conntrack, Names, Overview, Times, Upstream, Worker

COUNTED = {
    "coalesced": counters.COALESCED,
    "prefetches": counters.PREFETCHES,
    "deadline_missed": counters.DEADLINE_MISSED,
    "refused_clients": counters.REFUSED_CLIENTS,
    "malformed_queries": counters.MALFORMED_QUERIES,
    "in_progress": counters.IN_PROGRESS,
    "tcp_connections": counters.TCP_CONNECTIONS,
    "split_pairs": counters.SPLIT_PAIRS,
    "query_log_drops": counters.QUERY_LOG_DROPS,
    "query_log_left_out": counters.QUERY_LOG_LEFT_OUT,
    **{f"client_repeats_after_{after}": counters.CLIENT_REPEATS + place for place, after in enumerate(counters.AFTER)},
}
"""Figures with a slot of their own."""
FROM_MEMORY = ("exact", "answers", "denial")
"""Sources behind which an upstream would have been asked."""


class SeenWorker(Protocol):
    """One worker, as the supervisor knows it."""

    number: int
    serving: bool
    restarts: int
    last_end: str

    @property
    def pid(self) -> int | None:
        """None while it waits to be started again."""

    @property
    def state(self) -> str:
        """In a word or two."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What only the supervisor knows."""

    at: float
    """Seconds since 1970."""
    release: str
    started: float
    """Seconds since 1970."""
    ready: bool
    upstreams: Mapping[str, bool]
    """Whose each row for upstreams is, in their order -> whether it is asked now."""
    workers: Sequence[SeenWorker]
    max_cache_octets: int
    """Of all workers."""
    counted: Mapping[str, int]
    """By its name in the metrics without `forwarder_` and `_total`."""
    conntrack: Conntrack | None
    names: Names | None


def overview_of(slots: Sequence[int], figures: Figures) -> Overview:
    """The daemon at this moment; `slots` are those of all workers together."""
    queries, responses = list(sums.queries(slots)), list(sums.responses(slots))
    return Overview(
        version=VERSION,
        at=figures.at,
        release=figures.release,
        started=figures.started,
        ready=figures.ready,
        transports=_by(0, queries),
        types=_seen(_by(2, queries)),
        sources=_by(1, responses),
        rcodes=_seen(_by(0, responses)),
        denied_from_memory=sum(total for (rcode, source), total in responses if rcode == "NXDOMAIN" and source in FROM_MEMORY),
        times={source: _times_at(slots, first) for source, first in zip(counters.SOURCES, counters.HISTOGRAMS, strict=True)},
        cache=Cache(
            entries={kind: slots[counters.CACHE_ENTRIES_AT + place] for place, kind in enumerate(counters.CACHE_KINDS)},
            octets=slots[counters.CACHE_BYTES],
            max_octets=figures.max_cache_octets,
            evictions=slots[counters.CACHE_EVICTIONS],
        ),
        upstreams=[
            _upstream(slots, counters.upstream_row(place), name, is_asked=asked)
            for place, (name, asked) in enumerate(figures.upstreams.items())
        ],
        workers=[
            Worker(seen.number, seen.pid, seen.serving, seen.state, seen.restarts, seen.last_end) for seen in figures.workers
        ],
        conntrack=figures.conntrack,
        names=figures.names,
        counted={**{name: slots[slot] for name, slot in COUNTED.items()}, **figures.counted},
    )


def _by(place: int, totals: Iterable[tuple[tuple[str, ...], int]]) -> dict[str, int]:
    """What was counted by several labels, by the one at this place alone."""
    found: dict[str, int] = {}
    for labels, total in totals:
        found[labels[place]] = found.get(labels[place], 0) + total
    return found


def _seen(totals: Mapping[str, int]) -> dict[str, int]:
    """Without what never came."""
    return {name: total for name, total in totals.items() if total}


def _times_at(slots: Sequence[int], first: int) -> Times:
    """The histogram that starts at this slot."""
    last = first + counters.SUM_IN_HISTOGRAM
    return Times(list(slots[first:last]), slots[last] / sums.MICROSECONDS)


def _upstream(slots: Sequence[int], row: int, name: str, *, is_asked: bool) -> Upstream:
    queries, failures = row + counters.QUERIES_IN_ROW, row + counters.FAILURES_IN_ROW
    return Upstream(
        name=name,
        is_asked=is_asked,
        is_up=bool(slots[row + counters.UP_IN_ROW]),
        is_looped=bool(slots[row + counters.LOOPED_IN_ROW]),
        connections=slots[row + counters.CONNECTIONS_IN_ROW],
        queries={transport: slots[queries + place] for place, transport in enumerate(counters.UPSTREAM_TRANSPORTS)},
        failures={reason: slots[failures + place] for place, reason in enumerate(counters.FAILURE_REASONS)},
        mismatched=slots[row + counters.MISMATCHED_IN_ROW],
        times=_times_at(slots, row + counters.SECONDS_IN_ROW),
    )
