"""What the configuration says to the rooms of a worker: each is told what concerns it, in its own words.

Pure but for the socket that notes go to. Always holds: the caches together stay within `cache.memory`; where nobody wants to
know of single queries there is nothing that would note them.
"""

import socket
from collections.abc import Mapping

from forwarder import config as settings
from forwarder.cache.answers import AnswerCache
from forwarder.cache.denial import Denial
from forwarder.cache.exact import ExactCache
from forwarder.cache.failures import Failures
from forwarder.cache.lifetime import Limits
from forwarder.cache.pairs import Pairs
from forwarder.cache.pinned import PinnedNames
from forwarder.cache.snapshot import Conditions
from forwarder.serving.answering import Memory
from forwarder.serving.noting import Noting, Wanted
from forwarder.serving.responding import Terms
from forwarder.upstream.turn import Turn
from forwarder.wire.names import name_from_text

EXACT_SHARE = 4
"""The exact cache may take one part in so many of `cache.memory`: it holds what was asked within a second, twice over."""
DENIAL_SHARE = 32
"""The same for cuts and the names at which there may be one: of 32 MiB some 1,700, far more than a node's pods have search
domains, namespaces and top-level domains in use."""
FAILURES_SHARE = 32
"""The same for failures, which are small and short-lived: of 32 MiB some 2,000 questions at one time, as many as may be in
progress."""


def memory_for(cache: settings.CacheSettings) -> Memory:
    """The caches, empty, within `cache.memory` all together."""
    shares = [cache.memory // share for share in (EXACT_SHARE, DENIAL_SHARE, FAILURES_SHARE)]
    exact, answers = ExactCache(shares[0]), AnswerCache(cache.memory - sum(shares))
    return Memory(
        exact, PinnedNames(), answers, Pairs(answers, exact.clear), Denial(shares[1], exact.clear),
        Failures(shares[2], cache.failure_ttl, cache.max_failure_ttl),
    )  # fmt: skip


def terms_for(config: settings.Config) -> Terms:
    """What the recipe needs to know of the configuration."""
    cache, answering = config.cache, config.answering
    limits = {
        number: Limits(int(zone.max_ttl), int(zone.max_negative_ttl), zone.maximum_stale_timer)
        for number, zone in enumerate(config.zones)
    }
    limits[-1] = Limits(0, 0)
    return Terms(
        answering.deadline, answering.client_response_timer, cache.failure_recheck_timer, int(cache.stale_answer_ttl),
        cache.prefetch, config.listen.max_udp_size, limits,
        nxdomain_on_failure=frozenset(number for number, zone in enumerate(config.zones) if zone.on_failure == "nxdomain"),
        drops_aaaa=frozenset(number for number, zone in enumerate(config.zones) if zone.drop_aaaa),
    )  # fmt: skip


def conditions_for(config: settings.Config, limits: Mapping[int, Limits]) -> dict[bytes, Conditions]:
    """What each zone says about answers that come back from a snapshot, by name; `limits` by its place."""
    return {name_from_text(zone.zone): Conditions(limits[number], zone.trust_ad) for number, zone in enumerate(config.zones)}


def wanted_of(observe: settings.ObserveSettings) -> Wanted | None:
    """What is to be noted of single queries; None where nothing is."""
    log = observe.query_log
    if log == "off" and not observe.top_names:
        return None
    return Wanted(observe.top_names, errors=log != "off", slow=log in {"slow", "all"}, everything=log == "all")


def noting_for(observe: settings.ObserveSettings, descriptor: int, turn: Turn, counts: memoryview) -> Noting | None:
    """Who notes it, and writes it to this descriptor; None where nothing is to be noted, or nobody hears of it (-1)."""
    wanted = wanted_of(observe)
    if wanted is None or descriptor < 0:
        return None
    return Noting(wanted, socket.socket(fileno=descriptor), turn, counts)
