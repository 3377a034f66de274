"""The same figures under the names that CoreDNS and NodeLocal DNSCache give theirs, so that their dashboards go on working.

Pure. Never shows what is not counted here: sizes of messages, the DO bit, caches of connections have no series, rather than
zeros. Always holds: names and labels are those of CoreDNS 1.11 and later, and of `forward` before it; what means something else
here than there stands in docs/metrics.md. Sources: plugin/metrics/vars, plugin/cache/metrics.go, plugin/pkg/proxy/metrics.go,
plugin/forward/metrics.go (1.10) of CoreDNS; cmd/node-cache/app/metrics.go of kubernetes/dns.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from forwarder.observe import counters, sums
from forwarder.observe.exposition import COUNTER, GAUGE, HISTOGRAM, Family, counter, gauge

ZONE = "."
VIEW = ""
PROXY = "forward"
FAMILIES = {"ipv4": "1", "ipv6": "2"}
TYPES = frozenset(("A", "AAAA", "CNAME", "DS", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "ANY"))
"""Of those that we count, what CoreDNS names; it calls all others `other`."""
SUCCESS, DENIAL = "success", "denial"
PLUGINS = {
    "exact": "cache", "answers": "cache", "denial": "cache", "stale": "cache",
    "hosts": "hosts", "upstream": "forward", "failure": "", "policy": "",
}  # fmt: skip
"""Source -> the plugin that would have written the response; empty: the server itself."""
FROM_CACHE = frozenset(source for source, plugin in PLUGINS.items() if plugin == "cache")
MISSED = frozenset(("upstream", "failure"))
FAILED = {"servfail": "SERVFAIL", "refused": "REFUSED", "formerr": "FORMERR", "notimp": "NOTIMP"}
"""Reason of a failure -> the RCODE that was the response."""
SETUP_ERRORS = ("iptables", "iptables_lock", "interface_add", "interface_check", "configmap")
"""What NodeLocal DNSCache may fail at each minute."""
USUAL_RCODES = ("NOERROR", "SERVFAIL", "NXDOMAIN")
"""Shown from the start, where they may come from this plugin; others once they were seen."""

Of = tuple[str, ...]
CACHE: Of = ("server", "zones", "view")
CACHE_BY_TYPE: Of = ("server", "type", "zones", "view")


@dataclass(frozen=True, slots=True)
class CorednsNames:
    """One daemon, as CoreDNS would describe itself."""

    server: str
    """The first address it listens on: the counters do not tell by which one a query came."""
    upstreams: Mapping[str, bool]
    """Whose each row for upstreams is, in their order -> whether it is asked now."""
    version: str

    @property
    def _server(self) -> str:
        return f"dns://{self.server}"

    def families(self, slots: Sequence[int], *, crashes: int) -> Iterator[Family]:
        """Everything with a name of theirs; `crashes`: workers that ended unasked."""
        built = Family("coredns_build_info", GAUGE, "Always 1; what is running.", ("version", "revision", "goversion"))
        built.add((self.version, "forwarder", f"python{platform.python_version()}"), 1)
        yield built
        given = dict(sums.responses(slots))
        yield from self._requests(slots, given)
        yield from self._cache(slots, given)
        yield from self._upstreams(slots)
        plugins = Family(
            "coredns_plugin_enabled",
            GAUGE,
            "Always 1; plugins of CoreDNS whose work is done here.",
            ("server", "zone", "view", "name"),
        )
        for name in ("cache", PROXY, "hosts", "prometheus"):
            plugins.add((self._server, ZONE, VIEW, name), 1)
        yield plugins
        yield counter("coredns_panics", "Workers that ended unasked.", crashes)
        errors = Family(
            "coredns_nodecache_setup_errors",
            COUNTER,
            "Always 0: interface and rules are made by `forwarder node`, not by the daemon.",
            ("errortype",),
        )
        for kind in SETUP_ERRORS:
            errors.add((kind,), 0)
        yield errors

    def _requests(self, slots: Sequence[int], given: Mapping[tuple[str, str], int]) -> Iterable[Family]:
        """`given`: RCODE and source -> responses."""
        requests = Family(
            "coredns_dns_requests",
            COUNTER,
            "Queries answered, by how they came and what they asked.",
            ("server", "zone", "view", "proto", "family", "type"),
        )
        by_type: dict[tuple[str, str, str], int] = {}
        for (proto, family, name), total in sums.queries(slots):
            key = (proto, FAMILIES[family], name if name in TYPES else "other")
            by_type[key] = by_type.get(key, 0) + total
        for key, total in by_type.items():
            requests.add((self._server, ZONE, VIEW, *key), total)
        responses = Family(
            "coredns_dns_responses",
            COUNTER,
            "Responses to clients, by RCODE and by the plugin of CoreDNS that would have answered.",
            ("server", "zone", "view", "rcode", "plugin"),
        )
        by_rcode: dict[tuple[str, str], int] = {}
        for (rcode, source), total in given.items():
            by_rcode[rcode, PLUGINS[source]] = by_rcode.get((rcode, PLUGINS[source]), 0) + total
        for (rcode, plugin), total in by_rcode.items():
            if total or rcode in USUAL_RCODES:
                responses.add((self._server, ZONE, VIEW, rcode, plugin), total)
        seconds = Family(
            "coredns_dns_request_duration_seconds",
            HISTOGRAM,
            "Time from the arrival of a query to its response; bounds are ours, from 10 microseconds to 5 seconds.",
            ("server", "zone", "view"),
        )
        seconds.add_histogram((self._server, ZONE, VIEW), *sums.histogram(slots, *counters.HISTOGRAMS))
        return requests, responses, seconds

    def _cache(self, slots: Sequence[int], given: Mapping[tuple[str, str], int]) -> Iterable[Family]:
        """`given`: RCODE and source -> responses."""
        hits = {SUCCESS: 0, DENIAL: 0}
        missed = stale = 0
        for (rcode, source), total in given.items():
            if source in FROM_CACHE:
                hits[SUCCESS if rcode == "NOERROR" and source != "denial" else DENIAL] += total
                stale += total if source == "stale" else 0
            elif source in MISSED:
                missed += total
        of_all = (self._server, ZONE, VIEW)
        served = Family("coredns_cache_hits", COUNTER, "Responses from memory; denial: NXDOMAIN.", CACHE_BY_TYPE)
        for kind, total in hits.items():
            served.add((self._server, kind, ZONE, VIEW), total)
        yield served
        for name, sentence, total in (
            ("coredns_cache_requests", "Queries that the cache was asked for.", missed + sum(hits.values())),
            ("coredns_cache_misses", "Responses for which an upstream was asked, or lately failed.", missed),
            (
                "coredns_cache_prefetch",
                "Answers in use that were asked for again before they ended.",
                slots[counters.PREFETCHES],
            ),
            ("coredns_cache_served_stale", "Responses with data whose TTL was over.", stale),
        ):
            family = Family(name, COUNTER, sentence, CACHE)
            family.add(of_all, total)
            yield family
        entries = Family(
            "coredns_cache_entries", GAUGE, "Answers in memory; denial: negative ones and failures.", CACHE_BY_TYPE
        )
        by_kind = dict(zip(counters.CACHE_KINDS, slots[counters.CACHE_ENTRIES_AT : counters.CACHE_BYTES], strict=True))
        entries.add((self._server, SUCCESS, ZONE, VIEW), by_kind["positive"])
        entries.add((self._server, DENIAL, ZONE, VIEW), by_kind["negative"] + by_kind["failure"])
        yield entries
        evictions = Family("coredns_cache_evictions", COUNTER, "Entries dropped to stay within cache.memory.", CACHE_BY_TYPE)
        evictions.add((self._server, "any", ZONE, VIEW), slots[counters.CACHE_EVICTIONS])
        yield evictions

    def _upstreams(self, slots: Sequence[int]) -> Iterable[Family]:
        """`proxy`: the names since 1.11; `forward`: those before, which dashboards have for long."""
        newer, older = (
            Family(name, HISTOGRAM, "Time from a query to an upstream to its response; NOERROR: NXDOMAIN too.", labels)
            for name, labels in (
                ("coredns_proxy_request_duration_seconds", ("proxy_name", "to", "rcode")),
                ("coredns_forward_request_duration_seconds", ("to", "rcode")),
            )
        )
        health, health_before = (
            Family(name, COUNTER, "Probes that an upstream did not answer.", labels)
            for name, labels in (
                ("coredns_proxy_healthcheck_failures", ("proxy_name", "to")),
                ("coredns_forward_healthcheck_failures", ("to",)),
            )
        )
        requests = Family("coredns_forward_requests", COUNTER, "Queries sent to an upstream.", ("to",))
        responses = Family(
            "coredns_forward_responses", COUNTER, "Responses of an upstream; NOERROR: NXDOMAIN too.", ("rcode", "to")
        )
        for place, to in enumerate(self.upstreams):
            row = counters.upstream_row(place)
            for rcode, first in (("NOERROR", counters.SECONDS_IN_ROW), ("SERVFAIL", counters.SERVFAIL_SECONDS_IN_ROW)):
                buckets, seconds = sums.histogram(slots, row + first)
                newer.add_histogram((PROXY, to, rcode), buckets, seconds)
                older.add_histogram((to, rcode), buckets, seconds)
                if rcode == "NOERROR":
                    responses.add((rcode, to), buckets[-1][1])
            for reason, rcode in FAILED.items():
                responses.add((rcode, to), slots[row + counters.FAILURES_IN_ROW + counters.FAILURE_REASONS.index(reason)])
            first_query = row + counters.QUERIES_IN_ROW
            requests.add((to,), sum(slots[first_query : first_query + len(counters.UPSTREAM_TRANSPORTS)]))
            health.add((PROXY, to), slots[row + counters.PROBE_FAILURES_IN_ROW])
            health_before.add((to,), slots[row + counters.PROBE_FAILURES_IN_ROW])
        yield from (newer, health, requests, responses, older, health_before)
        yield counter(
            "coredns_forward_healthcheck_broken",
            "Questions that had to be asked while no upstream of their zone was up.",
            slots[counters.ALL_DOWN],
        )

    @staticmethod
    def of_processes(resident: int, seconds_used: float) -> Iterator[Family]:
        """What every client library of Prometheus shows of its process; here of all processes together."""
        yield gauge("process_resident_memory_bytes", "Memory of supervisor and workers in RAM, in octets.", resident)
        yield counter("process_cpu_seconds", "Time of the core that supervisor and workers used.", seconds_used)
