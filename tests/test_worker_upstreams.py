"""A worker whose upstreams change again and again: what is not asked any more is gone, zones and all."""

import sys

from forwarder import link
from tests.lab.behaviours import answer
from tests.lab.clients import HANG, ask, query, rdatas
from tests.lab.scripted import ScriptedUpstream
from tests.test_worker import WATCHED, bench, until, zone_for

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
