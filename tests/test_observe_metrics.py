"""What is counted, under the names that dashboards use: written to the slots, read back from the text."""

import platform

import pytest

from forwarder.observe import counters, metrics
from forwarder.observe.conntrack import Conntrack
from tests.lab.scraped import Scraped, scraped

GONE = ".9:53"
"""The end of an address that is asked no more."""


def shown(slots: memoryview, *upstreams: str, restarted: int = 0, drops: int = 0) -> Scraped:
    asked = {name: not name.endswith(GONE) for name in upstreams}
    return scraped(slots, metrics.Figures(workers_restarted=restarted, receive_drops=drops, upstreams=asked))


@pytest.fixture
def slots() -> memoryview:
    return counters.private()


def count(slots: memoryview, door: tuple[str, str], qtype: int, source: int, rcode: int, *, times: int = 1) -> None:
    slots[counters.door_row(*door) + counters.kind_for(qtype, source, rcode)] += times


def test_every_family_of_the_contract_is_there_before_anything_happened(slots: memoryview) -> None:
    page = shown(slots, "192.0.2.1:53")
    assert set(page.families) == {
        "forwarder_queries", "forwarder_responses", "forwarder_response_seconds",
        "forwarder_cache_entries", "forwarder_cache_bytes", "forwarder_cache_evictions", "forwarder_coalesced",
            "forwarder_prefetches", "forwarder_split_pairs", "forwarder_client_repeats",
        "forwarder_upstream_queries", "forwarder_upstream_failures", "forwarder_upstream_seconds", "forwarder_upstream_up",
        "forwarder_upstream_connections", "forwarder_upstream_looped", "forwarder_mismatched_responses",
            "forwarder_deadline_missed", "forwarder_upstream_probe_failures", "forwarder_all_upstreams_down",
            "forwarder_cpu_seconds",
        "forwarder_refused_clients", "forwarder_malformed_queries", "forwarder_in_progress", "forwarder_tcp_connections",
        "forwarder_workers_restarted", "forwarder_receive_drops", "forwarder_build_info",
        "forwarder_query_log_drops", "forwarder_query_log_left_out",
    }  # fmt: skip
    assert all(family.documentation.endswith(".") or ";" in family.documentation for family in page.families.values())


def test_an_answer_is_one_query_and_one_response(slots: memoryview) -> None:
    count(slots, ("udp", "ipv6"), 28, counters.DENIAL, 3)
    page = shown(slots)
    assert page.value("forwarder_queries_total", transport="udp", family="ipv6", type="AAAA") == 1
    assert page.value("forwarder_responses_total", rcode="NXDOMAIN", source="denial") == 1
    assert sum(page.values("forwarder_queries_total")) == 1
    assert sum(page.values("forwarder_responses_total")) == 1


def test_queries_and_responses_are_two_sums_of_the_same_answers(slots: memoryview) -> None:
    for number in range(counters.HISTOGRAMS_AT):
        slots[number] = number % 7
    page = shown(slots)
    total = sum(number % 7 for number in range(counters.HISTOGRAMS_AT))
    assert sum(page.values("forwarder_queries_total")) == total
    assert sum(page.values("forwarder_responses_total")) == total


def test_an_rcode_that_is_rare_is_shown_once_it_was_seen(slots: memoryview) -> None:
    assert shown(slots).values("forwarder_responses_total", rcode="NOTAUTH") == []
    count(slots, ("tcp", "ipv4"), 1, counters.UPSTREAM, 9, times=4)
    assert shown(slots).value("forwarder_responses_total", rcode="NOTAUTH", source="upstream") == 4


def test_the_hit_ratio_comes_out_of_the_sources(slots: memoryview) -> None:
    count(slots, ("udp", "ipv4"), 1, counters.EXACT, 0, times=90)
    count(slots, ("udp", "ipv4"), 1, counters.UPSTREAM, 0, times=10)
    page = shown(slots)
    missed = sum(sum(page.values("forwarder_responses_total", source=source)) for source in ("upstream", "failure"))
    assert 1 - missed / sum(page.values("forwarder_responses_total")) == 0.9


def test_histograms_are_cumulative_in_seconds_and_consistent(slots: memoryview) -> None:
    first = counters.HISTOGRAMS_AT + counters.STALE * counters.PER_HISTOGRAM
    for microseconds, times in ((8, 2), (1_800_000, 1), (9_000_000, 1)):
        counters.observe_microseconds(slots, first, microseconds, times)
    page = shown(slots)
    by_bound = {
        float(sample.labels["le"]): sample.value
        for sample in page.families["forwarder_response_seconds"].samples
        if sample.name.endswith("_bucket") and sample.labels["source"] == "stale"
    }
    assert len(by_bound) == len(counters.SECONDS_BUCKETS) + 1
    assert (by_bound[10e-6], by_bound[1.0], by_bound[1.8], by_bound[5.0], by_bound[float("inf")]) == (2, 2, 3, 3, 4)
    assert page.value("forwarder_response_seconds_count", source="stale") == 4
    assert page.value("forwarder_response_seconds_sum", source="stale") == pytest.approx(10.800016)
    assert page.value("forwarder_response_seconds_count", source="exact") == 0


def test_each_upstream_has_its_row(slots: memoryview) -> None:
    second = counters.upstream_row(1)
    slots[second + counters.QUERIES_IN_ROW + counters.UPSTREAM_TRANSPORTS.index("tcp")] = 5
    slots[second + counters.FAILURES_IN_ROW + counters.FAILURE_REASONS.index("timeout")] = 2
    slots[second + counters.MISMATCHED_IN_ROW] = 3
    slots[second + counters.PROBE_FAILURES_IN_ROW] = 6
    slots[second + counters.UP_IN_ROW] = 1
    slots[second + counters.CONNECTIONS_IN_ROW] = 4
    counters.observe_microseconds(slots, second + counters.SECONDS_IN_ROW, 2000)
    page = shown(slots, "192.0.2.1:53", "[2001:db8::1]:53")
    labels = {"upstream": "[2001:db8::1]:53"}
    assert page.value("forwarder_upstream_queries_total", transport="tcp", **labels) == 5
    assert page.value("forwarder_upstream_queries_total", transport="udp", **labels) == 0
    assert page.value("forwarder_upstream_failures_total", reason="timeout", **labels) == 2
    assert page.value("forwarder_mismatched_responses_total", **labels) == 3
    assert page.value("forwarder_upstream_probe_failures_total", **labels) == 6
    assert page.value("forwarder_upstream_up", **labels) == 1
    assert page.value("forwarder_upstream_connections", **labels) == 4
    assert page.value("forwarder_upstream_seconds_sum", **labels) == pytest.approx(0.002)
    assert sum(page.values("forwarder_upstream_queries_total", upstream="192.0.2.1:53")) == 0


def test_an_upstream_asked_no_more_keeps_its_counters_and_no_gauge_speaks_of_it(slots: memoryview) -> None:
    for place in (0, 1):
        row = counters.upstream_row(place)
        slots[row + counters.QUERIES_IN_ROW] = 7
        slots[row + counters.UP_IN_ROW] = slots[row + counters.CONNECTIONS_IN_ROW] = 1
    page = shown(slots, f"192.0.2{GONE}", "192.0.2.1:53")
    for name in (f"192.0.2{GONE}", "192.0.2.1:53"):
        assert page.value("forwarder_upstream_queries_total", upstream=name, transport="udp") == 7
        assert page.values("forwarder_upstream_seconds_count", upstream=name) == [0]
    for gauge in ("forwarder_upstream_up", "forwarder_upstream_connections"):
        assert page.values(gauge, upstream=f"192.0.2{GONE}") == []
        assert page.value(gauge, upstream="192.0.2.1:53") == 1


def test_as_many_upstreams_as_rows_have_one_each(slots: memoryview) -> None:
    names = [f"192.0.2.{number}:53" for number in range(100, 99 + counters.MAX_UPSTREAMS)] + [counters.OTHER_UPSTREAMS]
    slots[counters.upstream_row(counters.MAX_UPSTREAMS - 1) + counters.MISMATCHED_IN_ROW] = 6
    page = shown(slots, *names)
    assert page.values("forwarder_upstream_up", upstream=names[-2]) == [0]
    assert page.value("forwarder_mismatched_responses_total", upstream="other") == 6
    assert sum(page.values("forwarder_mismatched_responses_total")) == 6


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("forwarder_cache_bytes", counters.CACHE_BYTES),
        ("forwarder_cache_evictions_total", counters.CACHE_EVICTIONS),
        ("forwarder_coalesced_total", counters.COALESCED),
        ("forwarder_split_pairs_total", counters.SPLIT_PAIRS),
        ("forwarder_deadline_missed_total", counters.DEADLINE_MISSED),
        ("forwarder_refused_clients_total", counters.REFUSED_CLIENTS),
        ("forwarder_malformed_queries_total", counters.MALFORMED_QUERIES),
        ("forwarder_in_progress", counters.IN_PROGRESS),
        ("forwarder_tcp_connections", counters.TCP_CONNECTIONS),
        ("forwarder_all_upstreams_down_total", counters.ALL_DOWN),
    ],
)
def test_single_slots(slots: memoryview, name: str, slot: int) -> None:
    slots[slot] = 11
    assert shown(slots).value(name) == 11


def test_cache_entries_by_kind(slots: memoryview) -> None:
    for number in range(len(counters.CACHE_KINDS)):
        slots[counters.CACHE_ENTRIES_AT + number] = number + 1
    page = shown(slots)
    assert [page.value("forwarder_cache_entries", kind=kind) for kind in ("exact", "positive", "negative")] == [1, 2, 3]


def test_client_repeats_by_what_went_before(slots: memoryview) -> None:
    for number, after in enumerate(counters.AFTER):
        slots[counters.CLIENT_REPEATS + number] = number + 1
        assert shown(slots).value("forwarder_client_repeats_total", after=after) == number + 1


def test_what_the_supervisor_knows(slots: memoryview) -> None:
    page = shown(slots, restarted=2, drops=3)
    assert page.value("forwarder_workers_restarted_total") == 2
    assert page.value("forwarder_receive_drops_total") == 3
    assert page.value("forwarder_build_info", version=metrics.version(), python=platform.python_version()) == 1


def test_what_processes_take(slots: memoryview) -> None:
    page = scraped(slots, metrics.Figures(0, 0, {}, resident={"supervisor": 4096, "worker-0": 8192}, seconds_used=1.5))
    assert page.value("forwarder_resident_bytes", process="supervisor") == 4096
    assert page.value("forwarder_resident_bytes", process="worker-0") == 8192
    assert page.value("forwarder_cpu_seconds_total") == 1.5


def test_the_table_of_connections_as_far_as_the_kernel_shows_it(slots: memoryview) -> None:
    page = scraped(slots, metrics.Figures(0, 0, {}, conntrack=Conntrack(entries=7, limit=100, insert_failed=3, drop=2)))
    assert page.value("forwarder_conntrack_entries") == 7
    assert page.value("forwarder_conntrack_entries_limit") == 100
    assert page.value("forwarder_conntrack_insert_failed_total") == 3
    assert page.value("forwarder_conntrack_drop_total") == 2
    partly = scraped(
        slots, metrics.Figures(0, 0, {}, conntrack=Conntrack(entries=7, limit=None, insert_failed=None, drop=None))
    )
    assert [name for name in partly.families if "conntrack" in name] == ["forwarder_conntrack_entries"]


def test_names_of_others_are_shown_to_those_who_want_them(slots: memoryview) -> None:
    assert all(name.startswith("forwarder_") for name in shown(slots, "192.0.2.1:53").families)
    both = scraped(slots, metrics.Figures(4, 0, {}, server="192.0.2.9:53"))
    assert both.value("coredns_panics_total") == 4
    assert both.value("forwarder_workers_restarted_total") == 4


def test_a_scrape_writes_nothing(slots: memoryview) -> None:
    shown(slots.toreadonly(), "192.0.2.1:53")
    assert sum(slots) == 0
