"""The counters as people read them: each figure is the one that /metrics gives for the same slots."""

import re

import pytest

from forwarder.observe import counters, metrics
from tests.lab.figures import AAAA, NXDOMAIN, SERVFAIL, UPSTREAM, Daemon, SeenWorker


def in_metrics(daemon: Daemon) -> dict[str, float]:
    """Name and labels -> value, as a scraper reads them."""
    figures = metrics.Figures(0, 0, daemon.upstreams)
    text = metrics.rendered(metrics.Collector(lambda: daemon.slots, lambda: figures)).decode()
    return {name: float(value) for name, value in re.findall(r"^(forwarder_\S+) (\S+)$", text, re.MULTILINE)}


@pytest.fixture
def daemon() -> Daemon:
    """One that has counted something different everywhere."""
    daemon = Daemon()
    for slot in range(counters.SIZE):
        daemon.slots[slot] = slot % 97
    return daemon


def test_responses_are_those_of_the_metrics(daemon: Daemon) -> None:
    seen, told = daemon.overview(), in_metrics(daemon)
    for source, count in seen.sources.items():
        assert count == sum(
            value for name, value in told.items() if name.startswith("forwarder_responses_total") and source in name
        )
    for rcode, count in seen.rcodes.items():
        wanted = f'forwarder_responses_total{{rcode="{rcode}"'
        assert count == sum(value for name, value in told.items() if name.startswith(wanted))
    assert sum(seen.transports.values()) == sum(seen.sources.values()) == sum(seen.types.values())
    for name, count in seen.types.items():
        assert count == sum(value for label, value in told.items() if f'type="{name}"' in label)


def test_times_are_those_of_the_metrics(daemon: Daemon) -> None:
    seen, told = daemon.overview(), in_metrics(daemon)
    for source, times in seen.times.items():
        assert times.count == told[f'forwarder_response_seconds_count{{source="{source}"}}']
        assert times.seconds == told[f'forwarder_response_seconds_sum{{source="{source}"}}']


def test_an_upstream_is_that_of_the_metrics(daemon: Daemon) -> None:
    (seen,), told = daemon.overview().upstreams, in_metrics(daemon)
    at = f'upstream="{UPSTREAM}"'
    assert seen.name == UPSTREAM
    assert seen.connections == told[f"forwarder_upstream_connections{{{at}}}"]
    assert seen.mismatched == told[f"forwarder_mismatched_responses_total{{{at}}}"]
    assert seen.times.count == told[f"forwarder_upstream_seconds_count{{{at}}}"]
    for transport, count in seen.queries.items():
        assert count == told[f'forwarder_upstream_queries_total{{transport="{transport}",{at}}}']
    for reason, count in seen.failures.items():
        assert count == told[f'forwarder_upstream_failures_total{{reason="{reason}",{at}}}']


def test_the_rest_is_that_of_the_metrics(daemon: Daemon) -> None:
    seen, told = daemon.overview(), in_metrics(daemon)
    for name, count in seen.counted.items():
        family, _, after = name.partition("_after_")
        label = f'{{after="{after}"}}' if after else ""
        assert count == told.get(f"forwarder_{family}_total{label}", told.get(f"forwarder_{family}"))
    assert seen.cache.octets == told["forwarder_cache_bytes"]
    assert seen.cache.evictions == told["forwarder_cache_evictions_total"]
    assert seen.cache.entries == {kind: told[f'forwarder_cache_entries{{kind="{kind}"}}'] for kind in counters.CACHE_KINDS}


def test_types_and_rcodes_that_never_came_are_left_out() -> None:
    daemon = Daemon()
    daemon.answered(counters.UPSTREAM, rcode=SERVFAIL, qtype=AAAA)
    assert daemon.overview().types == {"AAAA": 1}
    assert daemon.overview().rcodes == {"SERVFAIL": 1}


def test_a_denial_saved_a_query_when_memory_gave_it() -> None:
    daemon = Daemon()
    for source in range(len(counters.SOURCES)):
        daemon.answered(source, 10**source, rcode=NXDOMAIN)
    saved = 10**counters.EXACT + 10**counters.ANSWERS + 10**counters.DENIAL
    assert daemon.overview().denied_from_memory == saved


def test_what_the_supervisor_knows_is_in_it() -> None:
    waits = SeenWorker(
        number=1, pid=None, serving=False, state="waits to be started again", restarts=3, last_end="exit status 3"
    )
    daemon = Daemon(workers=(SeenWorker(), waits), upstreams={"192.0.2.9:53": False}, counted={"receive_drops": 7})
    seen = daemon.overview()
    assert [(one.number, one.pid, one.restarts, one.last_end) for one in seen.workers] == [
        (0, 4711, 0, ""),
        (1, None, 3, "exit status 3"),
    ]
    assert not seen.upstreams[0].is_asked
    assert seen.counted["receive_drops"] == 7
