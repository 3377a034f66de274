"""What the daemon does, in figures that a person reads: one shape for the page, its API, `forwarder stats` and `forwarder top`.

Pure: two overviews of one daemon make rates and percentiles (`pace`), and msgspec writes all of it as JSON. Always holds: what
counts only grows from one overview to the next; a ratio and a percentile are worked out here, the same way for everybody.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from operator import sub

import msgspec

from forwarder.observe import counters

VERSION = 1
"""Counts up when a reader of the shape before would misunderstand this one; new fields are no such change."""
MISSES = ("upstream", "failure")
"""Sources that are no hits; every other one answered from memory."""
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Times(msgspec.Struct, frozen=True):
    """How long something took, of all that was measured."""

    buckets: list[int]
    """How many took so long at most, and longer than the bound before, for each of `counters.SECONDS_BUCKETS`; last: more."""
    seconds: float
    """All of them together."""

    @property
    def count(self) -> int:
        """How many were measured."""
        return sum(self.buckets)

    def since(self, before: "Times") -> "Times":
        """Those that were not measured before."""
        return Times(list(map(sub, self.buckets, before.buckets)), self.seconds - before.seconds)

    def percentile(self, share: float) -> float | None:
        """Seconds that `share` (0 to 1) of them do not exceed, straight between two bounds; None where nothing was measured.

        What is above all bounds counts as the highest of them, as in Prometheus' histogram_quantile.
        """
        wanted = share * self.count
        if not wanted:
            return None
        lower = 0.0
        for bound, so_far, here in zip(counters.SECONDS_BUCKETS, accumulate(self.buckets), self.buckets, strict=False):
            if here and so_far >= wanted:
                return lower + (bound - lower) * (1 - (so_far - wanted) / here)
            lower = bound
        return lower


NOTHING = Times([0] * (len(counters.SECONDS_BUCKETS) + 1), 0.0)
"""Nothing was measured."""


class Upstream(msgspec.Struct, frozen=True):
    """One upstream."""

    name: str
    is_asked: bool
    """Whether the configuration, or the resolv.conf that it follows, names it now."""
    is_up: bool
    is_looped: bool
    """It sends our queries back to us, and is left out."""
    connections: int
    queries: dict[str, int]
    """By transport."""
    failures: dict[str, int]
    """By reason."""
    mismatched: int
    """Responses that matched no query: late, or forged."""
    times: Times


class Worker(msgspec.Struct, frozen=True):
    """One worker."""

    number: int
    pid: int | None
    """None while it waits to be started again."""
    serving: bool
    state: str
    """In a word or two."""
    restarts: int
    last_end: str
    """How the process before ended, when it was not asked to; else empty."""


class Cache(msgspec.Struct, frozen=True):
    """What is remembered."""

    entries: dict[str, int]
    """By kind."""
    octets: int
    max_octets: int
    """`cache.memory`, for all workers."""
    evictions: int


class Conntrack(msgspec.Struct, frozen=True):
    """The node's table of connections."""

    entries: int
    max_entries: int
    """0 where the kernel does not say."""
    insert_failed: int
    drop: int


class Asked(msgspec.Struct, frozen=True):
    """One name that was asked for, estimated from samples."""

    name: str
    """As in a zone file: what is no printable character of a name is escaped (RFC 1035, section 5.1)."""
    share: float
    """Of all queries of this list, 0 to 1."""


class Names(msgspec.Struct, frozen=True):
    """The names of the last minutes, those asked for most often first."""

    sampled: int
    """How many queries were looked at."""
    top: list[Asked]
    failing: list[Asked]
    """Of the queries that failed, SERVFAIL or REFUSED."""
    denied: list[Asked]
    """Of the queries answered NXDOMAIN."""


class Overview(msgspec.Struct, frozen=True):
    """The daemon at one moment; what counts, counts since it began, handovers and restarts of workers included."""

    version: int
    at: float
    """Seconds since 1970."""
    release: str
    """What runs, as `forwarder --version` says it."""
    started: float
    """Seconds since 1970 when this instance began."""
    ready: bool
    transports: dict[str, int]
    """Queries answered, by how they came."""
    types: dict[str, int]
    """Queries answered, by what they asked for; types nobody asked for are left out."""
    sources: dict[str, int]
    """Responses, by where they came from."""
    rcodes: dict[str, int]
    """Responses; RCODEs that were not given are left out."""
    denied_from_memory: int
    """NXDOMAIN for which no upstream was asked: what a search path would have cost."""
    times: dict[str, Times]
    """By source."""
    cache: Cache
    upstreams: list[Upstream]
    workers: list[Worker]
    conntrack: Conntrack | None
    """None where the kernel has none, or does not show it."""
    names: Names | None
    """None where `observe.top_names` is off."""
    counted: dict[str, int]
    """Everything else, by its name in the metrics without `forwarder_` and `_total`."""
    warnings: list[str] = []
    """What an operator should know, a sentence each, with what to do."""


class UpstreamPace(msgspec.Struct, frozen=True):
    """One upstream between two overviews."""

    name: str
    queries: float
    """A second."""
    failures: float
    """A second."""
    percentiles: dict[str, float | None]
    """p50, p90, p99, seconds; None where nothing was answered."""


class Pace(msgspec.Struct, frozen=True):
    """What happened between two overviews."""

    at: float
    """Seconds since 1970, at its end."""
    seconds: float
    """How long it was."""
    queries: float
    """Responses a second."""
    sources: dict[str, float]
    """Responses a second."""
    hit_ratio: float | None
    """0 to 1; None where nothing was answered."""
    percentiles: dict[str, float | None]
    """p50, p90, p99 of all responses, seconds; None where nothing was answered."""
    hit_percentiles: dict[str, float | None]
    """The same of those from memory."""
    denied_from_memory: float
    """A second."""
    upstreams: list[UpstreamPace]


class Moment(msgspec.Struct, frozen=True):
    """What is shown live."""

    overview: Overview
    pace: Pace | None
    """Of the second before; None in the first one."""


def hit_ratio(sources: Mapping[str, float]) -> float | None:
    """Answered without an upstream, of all (0 to 1); None where nothing was answered."""
    total = sum(sources.values())
    return 1 - sum(sources[source] for source in MISSES) / total if total else None


def together(times: Iterable[Times]) -> Times:
    """All of them as one."""
    found = [NOTHING, *times]
    return Times(
        [sum(column) for column in zip(*(one.buckets for one in found), strict=True)], sum(one.seconds for one in found)
    )


def pace(before: Overview, now: Overview) -> Pace:
    """What happened since. Both are of one daemon, `now` is later than `before`."""
    seconds = now.at - before.at
    sources = {source: (count - before.sources[source]) / seconds for source, count in now.sources.items()}
    times = {source: one.since(before.times[source]) for source, one in now.times.items()}
    formers = {upstream.name: upstream for upstream in before.upstreams}
    return Pace(
        at=now.at,
        seconds=seconds,
        queries=sum(sources.values()),
        sources=sources,
        hit_ratio=hit_ratio(sources),
        percentiles=percentiles(together(times.values())),
        hit_percentiles=percentiles(together(one for source, one in times.items() if source not in MISSES)),
        denied_from_memory=(now.denied_from_memory - before.denied_from_memory) / seconds,
        upstreams=[_upstream_pace(formers.get(upstream.name), upstream, seconds) for upstream in now.upstreams],
    )


def percentiles(times: Times) -> dict[str, float | None]:
    """Those that are shown, seconds."""
    return {name: times.percentile(share) for name, share in PERCENTILES.items()}


def _upstream_pace(before: Upstream | None, now: Upstream, seconds: float) -> UpstreamPace:
    queries, failures, times = sum(now.queries.values()), sum(now.failures.values()), now.times
    if before is not None:
        queries -= sum(before.queries.values())
        failures -= sum(before.failures.values())
        times = times.since(before.times)
    return UpstreamPace(now.name, queries / seconds, failures / seconds, percentiles(times))
