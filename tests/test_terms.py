"""The caches stay within their memory, each zone has its limits, and notes are made where somebody wants to know."""

import pytest

from forwarder import config
from forwarder.cache.lifetime import Limits
from forwarder.serving.noting import Wanted
from forwarder.terms import EXACT_SHARE, FAILURES_SHARE, memory_for, terms_for, wanted_of
from forwarder.upstream.asking import NOBODY_UP


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


@pytest.mark.parametrize(
    ("observe", "wanted"),
    [
        (config.ObserveSettings(top_names=False), None),
        (config.ObserveSettings(), Wanted(names=True, errors=False, slow=False, everything=False)),
        (config.ObserveSettings(query_log="errors"), Wanted(names=True, errors=True, slow=False, everything=False)),
        (
            config.ObserveSettings(query_log="slow", top_names=False),
            Wanted(names=False, errors=True, slow=True, everything=False),
        ),
        (config.ObserveSettings(query_log="all"), Wanted(names=True, errors=True, slow=True, everything=True)),
    ],
)
def test_each_setting_wants_more_than_the_one_before(observe: config.ObserveSettings, wanted: Wanted | None) -> None:
    assert wanted_of(observe) == wanted
