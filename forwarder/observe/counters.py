"""The counters: a flat shared memory map of 64-bit integers for each worker.

The worker does `slots[INDEX] += 1` and nothing else (`Durations` does it once a turn); the supervisor maps the same memory
and reads it whenever somebody scrapes. Always holds: one map has one writer, every slot only grows (gauges excepted, named
so below), and the layout depends on nothing but this file, so that both sides agree without talking.

Answers are counted once, in a matrix of (door, type, source, rcode): `forwarder_queries_total` and
`forwarder_responses_total` are two sums over it. Times are whole microseconds.
"""

import mmap
from bisect import bisect_left
from collections.abc import Callable
from zlib import crc32

TRANSPORTS = ("udp", "tcp")
FAMILIES = ("ipv4", "ipv6")
DOORS = tuple((transport, family) for transport in TRANSPORTS for family in FAMILIES)
TYPE_NAMES = {
    1: "A", 28: "AAAA", 12: "PTR", 33: "SRV", 16: "TXT", 65: "HTTPS", 15: "MX", 2: "NS",
    6: "SOA", 5: "CNAME", 35: "NAPTR", 43: "DS", 255: "ANY",
}  # fmt: skip
TYPES = (*TYPE_NAMES.values(), "other")
SOURCES = ("exact", "answers", "denial", "hosts", "stale", "failure", "upstream", "policy")
EXACT, ANSWERS, DENIAL, HOSTS, STALE, FAILURE, UPSTREAM, POLICY = range(len(SOURCES))
RCODES = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE", "11", "12", "13", "14", "15", "BADVERS",
)  # fmt: skip

PER_SOURCE = len(RCODES)
PER_TYPE = len(SOURCES) * PER_SOURCE
PER_DOOR = len(TYPES) * PER_TYPE
TYPE_ROWS = {number: index * PER_TYPE for index, number in enumerate(TYPE_NAMES)}
"""QTYPE -> its first slot within a door's rows; a type that is not here counts as the last one, `other`."""
OTHER_TYPE_ROW = (len(TYPES) - 1) * PER_TYPE
_KINDS = tuple(range(PER_DOOR))
"""One object for each kind of answer: those of a batch are found equal at a glance."""

SECONDS_BUCKETS = (
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3,
    250e-3, 500e-3, 1.0, 1.8, 5.0,
)  # fmt: skip
"""Upper bounds, seconds: 10 us is a hit on a fast core, 1.8 s the deadline, 5 s what a resolver waits."""
MICROSECOND_BUCKETS = tuple(round(bound * 1e6) for bound in SECONDS_BUCKETS)
PER_HISTOGRAM = len(SECONDS_BUCKETS) + 2
SUM_IN_HISTOGRAM = PER_HISTOGRAM - 1
"""One slot per bucket (not cumulative), one for what is above them all, one for the sum."""

MAX_UPSTREAMS = 64
"""Rows for upstreams; the last is shared by all beyond the others. resolv.conf holds three, a zone seldom more."""
OTHER_UPSTREAMS = "other"
"""Whose the last row is: a series keeps its meaning, however many upstreams come."""
UPSTREAM_TRANSPORTS = ("udp", "tcp", "tls")
FAILURE_REASONS = ("timeout", "network", "certificate", "malformed", "servfail", "refused", "formerr", "notimp", "other")

CACHE_KINDS = ("exact", "positive", "negative", "failure")

AFTER = ("failure", "failure_musl", "lost_reply", "silence")
"""What a client's query came again after; `serving.habits` knows them apart."""

# The map, from its first slot to its last.
HISTOGRAMS_AT = len(DOORS) * PER_DOOR
HISTOGRAMS = tuple(HISTOGRAMS_AT + source * PER_HISTOGRAM for source in range(len(SOURCES)))
"""The first slot of each source's histogram."""
UPSTREAMS_AT = HISTOGRAMS_AT + len(SOURCES) * PER_HISTOGRAM
QUERIES_IN_ROW = 0
FAILURES_IN_ROW = QUERIES_IN_ROW + len(UPSTREAM_TRANSPORTS)
SECONDS_IN_ROW = FAILURES_IN_ROW + len(FAILURE_REASONS)
SERVFAIL_SECONDS_IN_ROW = SECONDS_IN_ROW + PER_HISTOGRAM
"""SERVFAIL has a histogram of its own: what it says is no answer, but how late it came tells which server to look at."""
MISMATCHED_IN_ROW = SERVFAIL_SECONDS_IN_ROW + PER_HISTOGRAM
PROBE_FAILURES_IN_ROW = MISMATCHED_IN_ROW + 1
UP_IN_ROW = PROBE_FAILURES_IN_ROW + 1  # gauge
CONNECTIONS_IN_ROW = UP_IN_ROW + 1  # gauge
LOOPED_IN_ROW = CONNECTIONS_IN_ROW + 1  # gauge
PER_UPSTREAM = LOOPED_IN_ROW + 1
CACHE_ENTRIES_AT = UPSTREAMS_AT + MAX_UPSTREAMS * PER_UPSTREAM  # gauges
CACHE_BYTES = CACHE_ENTRIES_AT + len(CACHE_KINDS)  # gauge
CACHE_EVICTIONS = CACHE_BYTES + 1
COALESCED = CACHE_EVICTIONS + 1
PREFETCHES = COALESCED + 1
DEADLINE_MISSED = PREFETCHES + 1
REFUSED_CLIENTS = DEADLINE_MISSED + 1
MALFORMED_QUERIES = REFUSED_CLIENTS + 1
IN_PROGRESS = MALFORMED_QUERIES + 1  # gauge
TCP_CONNECTIONS = IN_PROGRESS + 1  # gauge
SPLIT_PAIRS = TCP_CONNECTIONS + 1
CLIENT_REPEATS = SPLIT_PAIRS + 1
ALL_DOWN = CLIENT_REPEATS + len(AFTER)
QUERY_LOG_DROPS = ALL_DOWN + 1
"""Notes that were lost between a worker and the query log; the supervisor counts here too, in the map of what ended."""
QUERY_LOG_LEFT_OUT = QUERY_LOG_DROPS + 1
HEARTBEAT = QUERY_LOG_LEFT_OUT + 1
"""Counted up by the worker each second, from when it serves: one that stands still hangs."""
SIZE = HEARTBEAT + 1

_MEANINGS = (DOORS, TYPES, SOURCES, RCODES, SECONDS_BUCKETS, UPSTREAM_TRANSPORTS, FAILURE_REASONS, CACHE_KINDS, AFTER)
LAYOUT = f"{SIZE}-{crc32(repr(_MEANINGS).encode()):08x}"
"""Two maps with the same layout can be added up."""


def door_row(transport: str, family: str) -> int:
    """The first slot of the answers that leave through this door."""
    return DOORS.index((transport, family)) * PER_DOOR


def kind_for(qtype: int, source: int, rcode: int) -> int:
    """The slot within a door's rows for one answer: QTYPE, SOURCES index, RCODE (0-16)."""
    return _KINDS[TYPE_ROWS.get(qtype, OTHER_TYPE_ROW) + source * PER_SOURCE + rcode]


def upstream_row(number: int) -> int:
    """The first slot of an upstream, numbered in the order in which the supervisor first named them."""
    return UPSTREAMS_AT + min(number, MAX_UPSTREAMS - 1) * PER_UPSTREAM


def mapped(descriptor: int) -> memoryview:
    """The counters behind a memfd of at least SIZE * 8 octets, as 64-bit unsigned slots, shared with whoever maps it too."""
    return memoryview(mmap.mmap(descriptor, SIZE * 8)).cast("Q")


def private() -> memoryview:
    """Counters nobody else sees: for tests and tools."""
    return memoryview(bytearray(SIZE * 8)).cast("Q")


def observe_microseconds(slots: memoryview, histogram: int, microseconds: int, times: int = 1) -> None:
    """Add `times` observations of the same duration to the histogram that starts at this slot."""
    slots[histogram + bisect_left(MICROSECOND_BUCKETS, microseconds)] += times
    slots[histogram + SUM_IN_HISTOGRAM] += microseconds * times


class Durations:
    """Times for one histogram, written when the turn ends: what happens in one turn has mostly taken equally long."""

    __slots__ = ("_at_end", "_histogram", "_seconds", "_slots", "_times")

    def __init__(self, slots: memoryview, histogram: int, at_end: Callable[[Callable[[], None]], None]) -> None:
        """`at_end` has a function called once, at the end of this turn."""
        self._slots = slots
        self._histogram = histogram
        self._at_end = at_end
        self._seconds = 0.0
        self._times = 0

    def add(self, seconds: float) -> None:
        """One observation."""
        if seconds == self._seconds and self._times:
            self._times += 1
            return
        if self._times:
            self._observe()
        else:
            self._at_end(self._write)
        self._seconds = seconds
        self._times = 1

    def _observe(self) -> None:
        observe_microseconds(self._slots, self._histogram, int(self._seconds * 1e6), self._times)

    def _write(self) -> None:
        self._observe()
        self._seconds = 0.0  # none of a flood lives on: it would keep memory of it
        self._times = 0
