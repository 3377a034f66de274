"""Which row of the counters the worker counts an upstream in: the one that the supervisor gave out, whoever else is asked."""

from forwarder import link
from forwarder.observe import counters
from tests.lab.behaviours import answer
from tests.lab.clients import ask, query, rdatas
from tests.lab.scripted import ScriptedUpstream
from tests.test_worker import Bench, serving, until


def asked_over_udp(at: Bench, row: int) -> int:
    """Queries that were counted in a row."""
    return at.counts[counters.upstream_row(row) + counters.QUERIES_IN_ROW + counters.UPSTREAM_TRANSPORTS.index("udp")]


def sent_to(upstream: ScriptedUpstream) -> int:
    """Queries that came there, probes and all."""
    return len(upstream.received) + len(upstream.probes)


def test_an_upstream_is_counted_in_the_row_it_was_given() -> None:
    with serving() as (at, first), ScriptedUpstream() as second:
        first.on("*.test.", answer("@ 0 IN A 192.0.2.1"))
        second.on("*.test.", answer("@ 0 IN A 192.0.2.2"))
        assert rdatas(ask(at.server, query("a.test."))) == ["192.0.2.1"]
        rows = [first.address, "192.0.2.9:53", second.address]
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [second.address, first.address])], rows))
        until(lambda: rdatas(ask(at.server, query("b.test."))) == ["192.0.2.2"])
        assert asked_over_udp(at, 0) == sent_to(first)
        assert asked_over_udp(at, 1) == 0
        assert asked_over_udp(at, 2) == sent_to(second)
        assert [at.counts[counters.upstream_row(row) + counters.UP_IN_ROW] for row in range(3)] == [1, 0, 1]


def test_an_upstream_without_a_row_shares_the_last() -> None:
    with serving() as (at, first), ScriptedUpstream() as second:
        second.on("*.test.", answer("@ 0 IN A 192.0.2.2"))
        rows = [first.address, counters.OTHER_UPSTREAMS]
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [second.address])], rows))
        until(lambda: rdatas(ask(at.server, query("b.test."))) == ["192.0.2.2"])
        assert asked_over_udp(at, 1) == sent_to(second)
