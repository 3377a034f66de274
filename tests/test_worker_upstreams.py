"""A worker whose upstreams change again and again: what is not asked any more is gone, and what is new is looked at."""

import sys
import time

from forwarder import link
from forwarder.observe import counters
from forwarder.upstream.probing import PROBE_WAIT, UNSEEN_REST
from tests.lab.behaviours import Move, Received, answer
from tests.lab.clients import HANG, ask, query, rdatas
from tests.lab.scripted import ScriptedUpstream
from tests.test_worker import WATCHED, Bench, bench, serving, until, zone_for

CHANGES = 6


def test_upstreams_that_are_replaced_leave_no_garbage_that_only_a_collector_finds() -> None:
    with ScriptedUpstream() as one, ScriptedUpstream() as other, bench(program=(sys.executable, "-c", WATCHED)) as at:
        for number, upstream in enumerate((one, other)):
            upstream.on("*.test.", answer(f"@ 0 IN A 192.0.2.{number + 1}"))
        at.serve(at.begin([zone_for(one)]))
        for change in range(CHANGES):
            upstream = (other, one)[change % 2]
            told = rdatas(ask(at.server, query("a.test.")))
            at.tell(link.Upstreams([link.ZoneUpstreams(".", [upstream.address])]))
            until(lambda: rdatas(ask(at.server, query("a.test."))) != told)  # noqa: B023 - called before the next change
        at.tell(link.Drain())
        found, _ = at.process.communicate(timeout=HANG)
    assert found == "0\n"


def forwarded(query: Received) -> list[Move]:
    """Sent on to whoever the upstream forwards to."""
    return [Move(query.octets, is_forwarded=True)]


def is_looped(at: Bench) -> bool:
    """Whether what the worker asked the first upstream came back to it."""
    return at.counts[counters.upstream_row(0) + counters.LOOPED_IN_ROW] == 1


def looking_back_at(at: Bench) -> ScriptedUpstream:
    """An upstream that sends to the worker what it is asked."""
    looped = ScriptedUpstream()
    looped.default, looped.forwards_to = forwarded, at.server
    return looped


def test_a_loop_is_found_when_it_begins() -> None:
    with bench() as at, looking_back_at(at) as looped:
        at.serve(at.begin([zone_for(looped)]))
        until(lambda: is_looped(at))
        assert len(looped.probes) == 1


def test_a_loop_is_found_when_an_upstream_is_new_however_long_nothing_happened_before() -> None:
    """The probe has all its time, of a clock that is read when the upstreams change."""
    with serving() as (at, first), looking_back_at(at) as looped:
        until(lambda: first.probes)
        time.sleep(4 * PROBE_WAIT)
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [looped.address])]))
        until(lambda: looped.probes)
        until(lambda: is_looped(at))
        assert len(looped.probes) == 1, f"and not only {UNSEEN_REST} s later"


def test_an_upstream_that_gains_a_zone_is_looked_at_there_too() -> None:
    with ScriptedUpstream() as one, ScriptedUpstream() as other, bench() as at:
        zones = [zone_for(one), zone_for(other, zone="test")]
        at.serve(at.begin(zones))
        until(lambda: one.probes and other.probes)
        at.tell(link.Upstreams([link.ZoneUpstreams(zone.zone, [one.address]) for zone in zones]))
        until(lambda: len(one.probes) == 2)
        assert [probe.name.lower().endswith(".test.") for probe in one.probes] == [False, True]
        assert len(other.probes) == 1


def test_a_worker_that_is_new_knows_of_no_loop() -> None:
    with ScriptedUpstream() as upstream, bench() as at:
        at.counts[counters.upstream_row(0) + counters.LOOPED_IN_ROW] = 1
        at.serve(at.begin([zone_for(upstream)]))
        until(lambda: not is_looped(at))
