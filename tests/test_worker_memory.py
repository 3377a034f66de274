"""What the worker forgets when other upstreams are to be asked."""

import dns.rcode
import pytest

from forwarder import config, link
from forwarder.observe import counters
from tests.lab.behaviours import answer, refusal
from tests.lab.clients import ask, extended_errors, query, rdatas
from tests.lab.scripted import ScriptedUpstream
from tests.test_worker import serving, until

LASTING = config.CacheSettings(failure_ttl=60.0, max_failure_ttl=60.0)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_failures_are_forgotten_when_others_are_asked(transport: str) -> None:
    with serving(transport, sections={"cache": LASTING}) as (at, upstream), ScriptedUpstream() as successor:
        upstream.on("*.test.", refusal("SERVFAIL"))
        successor.on("*.test.", answer("@ 60 IN A 192.0.2.2"))
        for code in (22, 13):
            response = ask(at.server, query("a.test.", payload=1232))
            assert (response.rcode(), [code for code, _ in extended_errors(response)]) == (dns.rcode.SERVFAIL, [code])
        until(lambda: at.counts[counters.CACHE_ENTRIES_AT + counters.CACHE_KINDS.index("failure")] == 1)
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [successor.address])]))
        until(lambda: rdatas(ask(at.server, query("a.test."))) == ["192.0.2.2"])
