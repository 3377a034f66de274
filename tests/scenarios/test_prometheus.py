"""A real Prometheus scrapes a daemon: no panel of the dashboard is empty, no rule lacks its figures, old dashboards go on.

What makes the figures is real traffic: hits, misses, a search path, names that fail, stale answers, TCP.
"""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.behaviours import answer, nxdomain, refusal
from tests.lab.needs import needs_conntrack, needs_program
from tests.lab.patience import wait_for
from tests.lab.prometheus import Prometheus, panels, prometheus, promtool, rules, selectors
from tests.lab.stage import Stage, staged

SECONDS = 25.0
"""Until every expression has its data: some need two scrapes of something that happens once a second."""
NAMES = "observe: {coredns_names: true}"
SETTINGS = f"""\
{NAMES}
cache: {{failure_recheck_timer: 1s}}
search: {{domains: [default.svc.cluster.local, svc.cluster.local, cluster.local], nxdomain_cut: true}}
"""

OLD_DASHBOARDS = (
    # As dashboards and alerts for NodeLocal DNSCache and for CoreDNS ask, before 1.11 and since.
    "sum(rate(coredns_dns_responses_total{}[10s])) by (rcode)",
    "sum(rate(coredns_dns_requests_total{zone!='dropped'}[10s])) by (proto, family)",
    "sum(rate(coredns_dns_requests_total{}[10s])) by (type)",
    "sum(rate(coredns_dns_requests_total{server=~'dns://.+:[0-9]+'}[10s])) by (zone)",
    "histogram_quantile(0.99, sum(rate(coredns_dns_request_duration_seconds_bucket{}[10s])) by (server, zone, le))",
    "sum(rate(coredns_dns_responses_total{rcode='SERVFAIL'}[10s])) / sum(rate(coredns_dns_responses_total{}[10s])) > 0",
    "sum(rate(coredns_cache_hits_total{}[10s])) by (type)",
    "sum(rate(coredns_cache_misses_total{}[10s]))",
    "sum(coredns_cache_hits_total) / (sum(coredns_cache_misses_total) + sum(coredns_cache_hits_total))",
    "sum(rate(coredns_cache_hits_total{}[10s])) / sum(rate(coredns_cache_requests_total{}[10s]))",
    "sum(coredns_cache_entries{}) by (type)",
    "sum(rate(coredns_cache_served_stale_total{}[10s])) > 0",
    "sum(rate(coredns_cache_evictions_total{}[10s])) by (type)",
    "sum(rate(coredns_forward_requests_total{}[10s])) by (to)",
    "sum(rate(coredns_forward_responses_total{}[10s])) by (rcode, to)",
    "sum without (rcode) (rate(coredns_forward_responses_total{rcode='SERVFAIL'}[10s])) > 0",
    "histogram_quantile(0.99, sum(rate(coredns_forward_request_duration_seconds_bucket{}[10s])) by (to, le))",
    "histogram_quantile(0.99, sum(rate(coredns_proxy_request_duration_seconds_bucket{proxy_name='forward'}[10s])) by (to, le))",
    "sum(rate(coredns_proxy_request_duration_seconds_count{rcode='SERVFAIL'}[10s])) by (to) > 0",
    "sum(rate(coredns_proxy_healthcheck_failures_total{}[10s])) by (to)",
    "sum(rate(coredns_forward_healthcheck_failures_total{}[10s])) by (to)",
    "rate(coredns_forward_healthcheck_broken_total[10s])",
    "rate(coredns_nodecache_setup_errors_total[10s])",
    "sum by (errortype) (increase(coredns_nodecache_setup_errors_total[10s]))",
    "sum(coredns_panics_total)",
    "count(sum(coredns_plugin_enabled{}) by (name))",
    "count by (version) (coredns_build_info)",
    "process_resident_memory_bytes",
    "rate(process_cpu_seconds_total[10s]) > 0",
)


def talk(stage: Stage, ending: threading.Event) -> None:
    """What a node's pods ask, until told to end: some 40 queries a second."""
    upstream = stage.upstream
    upstream.default = answer("@ 300 IN A 192.0.2.1")
    upstream.on("*.cluster.local.", nxdomain("cluster.local."))
    upstream.on("*.failing.test.", refusal("SERVFAIL"))
    upstream.on("ends.test.", answer("@ 1 IN A 192.0.2.2"))
    stage.ask("ends.test")
    began = time.monotonic()
    for number in itertools.count():
        if ending.is_set():
            return
        if time.monotonic() - began > 1.0:
            upstream.on("ends.test.", refusal("SERVFAIL"))
        fresh = (f"n{number}.test", f"n{number}.test.default.svc.cluster.local", f"n{number}.failing.test")
        for name in ("known.test", "ends.test", *fresh):
            stage.ask(name)
        stage.ask_tcp("known.test", "AAAA")
        ending.wait(0.1)


@contextmanager
def traffic(stage: Stage) -> Iterator[None]:
    """While it flows."""
    ending = threading.Event()
    talking = threading.Thread(target=talk, args=(stage, ending))
    talking.start()
    try:
        yield
    finally:
        ending.set()
        talking.join()


def target_of(stage: Stage) -> str:
    """Where its figures are."""
    return "{}:{}".format(*stage.daemon.http)


@pytest.fixture(scope="module")
def scraping() -> Iterator[Prometheus]:
    """A Prometheus that has scraped a daemon under traffic, and still does."""
    needs_conntrack()
    needs_program("prometheus")
    with staged(SETTINGS) as stage, traffic(stage), prometheus(target_of(stage)) as made:
        yield made


def without_data(scraping: Prometheus, expressions: list[str]) -> list[str]:
    """Those that give nothing, after all had the time to."""
    until = time.monotonic() + SECONDS
    missing = expressions
    while missing and time.monotonic() < until:
        missing = [expression for expression in missing if not scraping.values(expression)]
        time.sleep(0.2)
    return missing


def test_no_panel_is_empty_after_traffic(scraping: Prometheus) -> None:
    assert without_data(scraping, [expression for expressions in panels().values() for expression in expressions]) == []


def test_every_recorded_figure_is_there(scraping: Prometheus) -> None:
    assert without_data(scraping, [rule["record"] for rule in rules() if "record" in rule]) == []


def test_every_vector_of_an_alert_is_there(scraping: Prometheus) -> None:
    """An alert is silent most of the time: what it looks at must exist all the same, or it is silent for ever."""
    vectors = {vector for rule in rules() if "alert" in rule for vector in selectors(rule["expr"])}
    assert len(vectors) > 20
    assert without_data(scraping, sorted(vectors)) == []


def test_dashboards_of_nodelocal_dnscache_have_their_data(scraping: Prometheus) -> None:
    assert without_data(scraping, list(OLD_DASHBOARDS)) == []


def test_the_hit_ratio_of_coredns_is_ours(scraping: Prometheus) -> None:
    """Both over the same responses: those pinned or refused by policy, which CoreDNS' cache never sees, do not occur here."""
    (difference,) = scraping.values(
        "sum(coredns_cache_hits_total) / sum(coredns_cache_requests_total)"
        ' - sum(forwarder_responses_total{source=~"exact|answers|denial|stale"})'
        ' / sum(forwarder_responses_total{source!~"hosts|policy"})'
    )
    assert difference == pytest.approx(0, abs=1e-9)


def test_names_of_coredns_come_with_a_reload_and_count_what_was_before() -> None:
    with staged() as stage:
        daemon, zones = stage.daemon, f"zones: [{{zone: ., upstreams: ['{stage.upstream.address}']}}]\n"
        stage.upstream.default = answer("@ 300 IN A 192.0.2.1")
        for name in ("known.test", "known.test", r"hostile\"\010<b>.test"):
            stage.ask(name)
        page = daemon.page("/metrics").text
        assert "coredns_" not in page
        assert promtool("check", "metrics", standard_input=page) == ""
        daemon.rewrite(zones + NAMES)
        wait_for(lambda: "coredns_" in daemon.page("/metrics").text, "the other names")
        page = daemon.page("/metrics").text
        assert promtool("check", "metrics", standard_input=page) == ""
        assert "hostile" not in page, "no name that clients choose is in any label"
        before = daemon.metric("coredns_dns_requests_total", type="A")
        assert before == daemon.metric("forwarder_queries_total", type="A") >= 3
        os.kill(daemon.worker(), signal.SIGKILL)
        wait_for(lambda: daemon.metric("coredns_panics_total") == 1, "the successor")
        assert daemon.metric("coredns_dns_requests_total", type="A") >= before
        assert daemon.metric("coredns_dns_request_duration_seconds_count") >= before
