"""The same figures under CoreDNS' names: names and labels as its source has them, and figures that agree with ours."""

import pytest

from forwarder.observe import coredns_names, counters, metrics
from tests.lab.scraped import Scraped, scraped

UPSTREAM = "192.0.2.1:53"
SERVER = "169.254.20.10:53"
LABELS = {
    "coredns_build_info": "version revision goversion",
    "coredns_dns_requests_total": "server zone view proto family type",
    "coredns_dns_responses_total": "server zone view rcode plugin",
    "coredns_dns_request_duration_seconds_bucket": "server zone view le",
    "coredns_cache_entries": "server type zones view",
    "coredns_cache_hits_total": "server type zones view",
    "coredns_cache_evictions_total": "server type zones view",
    "coredns_cache_requests_total": "server zones view",
    "coredns_cache_misses_total": "server zones view",
    "coredns_cache_prefetch_total": "server zones view",
    "coredns_cache_served_stale_total": "server zones view",
    "coredns_proxy_request_duration_seconds_bucket": "proxy_name to rcode le",
    "coredns_proxy_healthcheck_failures_total": "proxy_name to",
    "coredns_forward_requests_total": "to",
    "coredns_forward_responses_total": "rcode to",
    "coredns_forward_request_duration_seconds_bucket": "to rcode le",
    "coredns_forward_healthcheck_failures_total": "to",
    "coredns_forward_healthcheck_broken_total": "",
    "coredns_plugin_enabled": "server zone view name",
    "coredns_panics_total": "",
    "coredns_nodecache_setup_errors_total": "errortype",
    "process_resident_memory_bytes": "",
    "process_cpu_seconds_total": "",
}
"""Series -> labels: plugin/metrics/vars/vars.go, plugin/cache/metrics.go, plugin/pkg/proxy/metrics.go of CoreDNS since
1.11, plugin/forward/metrics.go of 1.10, cmd/node-cache/app/metrics.go."""


@pytest.fixture
def slots() -> memoryview:
    return counters.private()


def shown(slots: memoryview, *, restarted: int = 0) -> Scraped:
    figures = metrics.Figures(
        restarted, 0, {UPSTREAM: True}, resident={"supervisor": 1, "worker-0": 2}, seconds_used=3.5, server=SERVER
    )
    return scraped(slots, figures)


def count(
    slots: memoryview, source: int, rcode: str, times: int, *, door: tuple[str, str] = ("udp", "ipv4"), qtype: int = 1
) -> None:
    slots[counters.door_row(*door) + counters.kind_for(qtype, source, counters.RCODES.index(rcode))] += times


def test_every_series_is_there_from_the_start_with_the_labels_it_has_there(slots: memoryview) -> None:
    page = shown(slots)
    for series, labels in LABELS.items():
        assert page.labels(series) == {frozenset(labels.split())}, series
    families = {name for name in page.families if not name.startswith("forwarder_")}
    assert families == {name.removesuffix("_total").removesuffix("_bucket") for name in LABELS}


def test_requests(slots: memoryview) -> None:
    count(slots, counters.EXACT, "NOERROR", 3, door=("tcp", "ipv6"), qtype=28)
    count(slots, counters.UPSTREAM, "NOERROR", 2, qtype=35)
    count(slots, counters.UPSTREAM, "NOERROR", 1, qtype=999)
    page = shown(slots)
    of_all = {"server": f"dns://{SERVER}", "zone": ".", "view": ""}
    assert page.value("coredns_dns_requests_total", proto="tcp", family="2", type="AAAA", **of_all) == 3
    assert page.value("coredns_dns_requests_total", proto="udp", family="1", type="other", **of_all) == 3
    assert sum(page.values("coredns_dns_requests_total")) == sum(page.values("forwarder_queries_total")) == 6


def test_responses_by_the_plugin_that_would_have_answered(slots: memoryview) -> None:
    for source in range(len(counters.SOURCES)):
        count(slots, source, "NOERROR", 10**source)
    count(slots, counters.FAILURE, "SERVFAIL", 7)
    page = shown(slots)
    memory = sum(10**source for source in (counters.EXACT, counters.ANSWERS, counters.DENIAL, counters.STALE))
    assert page.value("coredns_dns_responses_total", rcode="NOERROR", plugin="cache") == memory
    assert page.value("coredns_dns_responses_total", rcode="NOERROR", plugin="forward") == 10**counters.UPSTREAM
    assert page.value("coredns_dns_responses_total", rcode="NOERROR", plugin="hosts") == 10**counters.HOSTS
    assert page.value("coredns_dns_responses_total", rcode="SERVFAIL", plugin="") == 7
    assert sum(page.values("coredns_dns_responses_total")) == sum(page.values("forwarder_responses_total"))


def test_rare_rcodes_are_shown_once_they_were_seen(slots: memoryview) -> None:
    assert shown(slots).values("coredns_dns_responses_total", rcode="NOTAUTH") == []
    count(slots, counters.UPSTREAM, "NOTAUTH", 2)
    assert shown(slots).values("coredns_dns_responses_total", rcode="NOTAUTH") == [2]


def test_hits_and_misses_of_the_cache(slots: memoryview) -> None:
    for source, rcode, times in (
        (counters.EXACT, "NOERROR", 1),
        (counters.ANSWERS, "NXDOMAIN", 10),
        (counters.DENIAL, "NOERROR", 100),
        (counters.STALE, "NOERROR", 1000),
        (counters.UPSTREAM, "NOERROR", 10_000),
        (counters.FAILURE, "SERVFAIL", 100_000),
        (counters.HOSTS, "NOERROR", 5),
        (counters.POLICY, "REFUSED", 5),
    ):
        count(slots, source, rcode, times)
    page = shown(slots)
    assert page.value("coredns_cache_hits_total", type="success") == 1001
    assert page.value("coredns_cache_hits_total", type="denial") == 110
    assert page.value("coredns_cache_misses_total") == 110_000
    assert page.value("coredns_cache_requests_total") == 111_111
    assert page.value("coredns_cache_served_stale_total") == 1000


def test_what_the_cache_holds(slots: memoryview) -> None:
    for place, kind in enumerate(counters.CACHE_KINDS):
        slots[counters.CACHE_ENTRIES_AT + place] = {"exact": 1, "positive": 10, "negative": 100, "failure": 1000}[kind]
    slots[counters.CACHE_EVICTIONS], slots[counters.PREFETCHES] = 4, 5
    page = shown(slots)
    assert page.value("coredns_cache_entries", type="success") == 10
    assert page.value("coredns_cache_entries", type="denial") == 1100
    assert page.value("coredns_cache_evictions_total") == 4
    assert page.value("coredns_cache_prefetch_total") == 5


def test_times_are_those_of_all_sources(slots: memoryview) -> None:
    for first in counters.HISTOGRAMS:
        counters.observe_microseconds(slots, first, 20)
    page = shown(slots)
    assert page.value("coredns_dns_request_duration_seconds_count") == len(counters.SOURCES)
    assert page.value("coredns_dns_request_duration_seconds_bucket", le="1e-05") == 0
    assert page.value("coredns_dns_request_duration_seconds_bucket", le="2.5e-05") == len(counters.SOURCES)


def test_upstreams_under_both_names(slots: memoryview) -> None:
    row = counters.upstream_row(0)
    slots[row + counters.QUERIES_IN_ROW] = 6
    slots[row + counters.QUERIES_IN_ROW + 1] = 1
    slots[row + counters.FAILURES_IN_ROW + counters.FAILURE_REASONS.index("servfail")] = 2
    slots[row + counters.FAILURES_IN_ROW + counters.FAILURE_REASONS.index("refused")] = 1
    slots[row + counters.PROBE_FAILURES_IN_ROW] = 3
    slots[counters.ALL_DOWN] = 9
    counters.observe_microseconds(slots, row + counters.SECONDS_IN_ROW, 2000, 3)
    counters.observe_microseconds(slots, row + counters.SERVFAIL_SECONDS_IN_ROW, 800_000, 2)
    page = shown(slots)
    assert page.value("coredns_forward_requests_total", to=UPSTREAM) == 7
    responses = {
        rcode: page.value("coredns_forward_responses_total", to=UPSTREAM, rcode=rcode)
        for rcode in coredns_names.FAILED.values()
    }
    assert responses == {"SERVFAIL": 2, "REFUSED": 1, "FORMERR": 0, "NOTIMP": 0}
    assert page.value("coredns_forward_responses_total", to=UPSTREAM, rcode="NOERROR") == 3
    newer = {"proxy_name": "forward", "to": UPSTREAM}
    for series, labels in (
        ("coredns_proxy_request_duration_seconds", newer),
        ("coredns_forward_request_duration_seconds", {"to": UPSTREAM}),
    ):
        assert page.value(f"{series}_count", rcode="NOERROR", **labels) == 3
        assert page.value(f"{series}_count", rcode="SERVFAIL", **labels) == 2
        assert page.value(f"{series}_sum", rcode="SERVFAIL", **labels) == 1.6
    assert page.value("coredns_proxy_healthcheck_failures_total", **newer) == 3
    assert page.value("coredns_forward_healthcheck_failures_total", to=UPSTREAM) == 3
    assert page.value("coredns_forward_healthcheck_broken_total") == 9


def test_the_daemon_as_a_whole(slots: memoryview) -> None:
    page = shown(slots, restarted=2)
    assert page.value("coredns_panics_total") == 2
    assert page.value("process_resident_memory_bytes") == 3
    assert page.value("process_cpu_seconds_total") == 3.5
    assert set(page.values("coredns_nodecache_setup_errors_total")) == {0}
    assert page.value("coredns_build_info", version=metrics.version(), revision="forwarder") == 1
