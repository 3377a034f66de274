"""Reads the counters for people: every slot, and what only the supervisor knows, as one `Overview`.

Pure, as `observe.overview` is. Always holds: each figure is the one that /metrics gives for the same slots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from forwarder.observe import counters
from forwarder.observe.overview import VERSION, Cache, Conntrack, Names, Overview, Times, Upstream, Worker

MICROSECONDS = 1_000_000
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
    responses = responses_in(slots)
    return Overview(
        version=VERSION,
        at=figures.at,
        release=figures.release,
        started=figures.started,
        ready=figures.ready,
        transports=transports_in(slots),
        types=types_in(slots),
        sources={source: sum(by_rcode.values()) for source, by_rcode in responses.items()},
        rcodes=_rcodes_in(responses),
        denied_from_memory=sum(responses[source].get("NXDOMAIN", 0) for source in FROM_MEMORY),
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


def transports_in(slots: Sequence[int]) -> dict[str, int]:
    """Queries by transport, over both families."""
    found = dict.fromkeys(counters.TRANSPORTS, 0)
    for transport, family in counters.DOORS:
        row = counters.door_row(transport, family)
        found[transport] += sum(slots[row : row + counters.PER_DOOR])
    return found


def types_in(slots: Sequence[int]) -> dict[str, int]:
    """Queries by type; those that nobody asked for are left out."""
    found = {}
    for number, name in enumerate(counters.TYPES):
        rows = (counters.door_row(*door) + number * counters.PER_TYPE for door in counters.DOORS)
        if total := sum(sum(slots[row : row + counters.PER_TYPE]) for row in rows):
            found[name] = total
    return found


def responses_in(slots: Sequence[int]) -> dict[str, dict[str, int]]:
    """Responses by source, then by RCODE; RCODEs that were not given are left out."""
    found: dict[str, dict[str, int]] = {source: {} for source in counters.SOURCES}
    for number, source in enumerate(counters.SOURCES):
        for rcode, name in enumerate(counters.RCODES):
            first = number * counters.PER_SOURCE + rcode
            if total := sum(slots[first : counters.HISTOGRAMS_AT : counters.PER_TYPE]):
                found[source][name] = total
    return found


def _rcodes_in(responses: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    totals = {name: sum(by_rcode.get(name, 0) for by_rcode in responses.values()) for name in counters.RCODES}
    return {name: total for name, total in totals.items() if total}


def _times_at(slots: Sequence[int], first: int) -> Times:
    """The histogram that starts at this slot."""
    last = first + counters.SUM_IN_HISTOGRAM
    return Times(list(slots[first:last]), slots[last] / MICROSECONDS)


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
