"""What the worker remembers within which bounds, and what it forgets when other upstreams are to be asked."""

import dns.rcode
import pytest

from forwarder import config, link
from forwarder.cache.lifetime import Limits
from forwarder.observe import counters
from forwarder.upstream.asking import NOBODY_UP
from forwarder.worker import EXACT_SHARE, FAILURES_SHARE, memory_for, terms_for
from tests.lab.behaviours import answer, refusal
from tests.lab.clients import ask, extended_errors, query, rdatas
from tests.lab.scripted import ScriptedUpstream
from tests.test_worker import serving, until

LASTING = config.CacheSettings(failure_ttl=60.0, max_failure_ttl=60.0)


def test_all_caches_together_take_what_the_setting_says() -> None:
    memory = 1 << 20
    caches = memory_for(config.CacheSettings(memory=memory))
    for number in range(10_000):
        caches.failures.put(b"%d" % number, NOBODY_UP, 0, 0.0)
    assert 0 < caches.failures.used <= memory // FAILURES_SHARE < memory // EXACT_SHARE
    assert caches.failures.take_evictions() > 0


def test_each_zone_has_its_limits_and_names_without_one_have_none() -> None:
    zones = (
        config.Zone(zone="a", upstreams=(), max_ttl=5.0, max_negative_ttl=3.0, maximum_stale_timer=7.0),
        config.Zone(zone="b", upstreams=(), maximum_stale_timer=0.0),
    )
    terms = terms_for(config.Config(zones=zones, cache=config.CacheSettings(prefetch=False, stale_answer_ttl=9.0)))
    assert terms.limits == {0: Limits(5, 3, 7.0), 1: Limits(3600, 30, 0.0), -1: Limits(0, 0, 0.0)}
    assert (terms.prefetch, terms.stale_answer_ttl) == (False, 9)


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
