"""A failure is remembered (RFC 9520): whoever asks again is told at once, and the upstream is left in peace for a while."""

import time
from itertools import pairwise

import dns.message
import dns.rcode
import pytest

from tests.lab.behaviours import Behaviour, answer, refusal, silent
from tests.lab.clients import extended_errors, rdatas
from tests.lab.patience import wait_for
from tests.lab.stage import staged

CACHED_ERROR = 13  # EDE
AT_ONCE = 0.35  # seconds; less than any attempt waits for an upstream, enough for a busy machine
LONG = "cache: {failure_ttl: 60s, max_failure_ttl: 60s}"
"""So that a slow machine does not outlast the failure."""


def cached_reason(response: dns.message.Message) -> str:
    """Why the question failed the last time, as the client is told."""
    assert response.rcode() == dns.rcode.SERVFAIL
    ((code, text),) = extended_errors(response)
    assert code == CACHED_ERROR
    return text


@pytest.mark.parametrize(
    ("behaviour", "word"),
    [
        (silent, "no response"),
        (refusal("SERVFAIL"), "SERVFAIL"),
        (refusal("REFUSED"), "REFUSED"),
        (refusal("NOTIMP"), "NOTIMP"),
    ],
    ids=["silent", "SERVFAIL", "REFUSED", "NOTIMP"],
)
def test_the_second_time_it_fails_from_memory(behaviour: Behaviour, word: str) -> None:
    """At once, with the reason, over UDP and TCP, and without any query upstream."""
    with staged(LONG) as stage:
        stage.upstream.default = behaviour
        assert stage.ask("again.failures.test", payload=1232).rcode() == dns.rcode.SERVFAIL
        asked = len(stage.upstream.asked("again.failures.test"))
        for ask in (stage.ask, stage.ask_tcp, stage.ask):
            begin = time.monotonic()
            assert word in cached_reason(ask("again.failures.test", payload=1232))
            assert time.monotonic() - begin < AT_ONCE
        assert stage.ask("again.failures.test").edns == -1
        assert len(stage.upstream.asked("again.failures.test")) == asked
        wait_for(lambda: stage.daemon.metric("forwarder_cache_entries", kind="failure") == 1, "the gauge tells of the failure")
        assert stage.daemon.metric("forwarder_responses_total", source="failure", rcode="SERVFAIL") == 5


def test_it_is_asked_again_later_each_time() -> None:
    """After one second, two, four: a client that insists does not become a flood."""
    with staged("cache: {failure_ttl: 1s, max_failure_ttl: 2s}") as stage:
        stage.upstream.default = refusal("SERVFAIL")
        wait_for(
            lambda: stage.ask("often.failures.test") is not None and len(stage.upstream.asked("often.failures.test")) >= 4,
            "four askings",
        )
        times = [received.at for received in stage.upstream.asked("often.failures.test")]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(gap > rest - 0.05 for gap, rest in zip(gaps, (1.0, 2.0, 2.0), strict=False)), gaps


def test_time_outs_are_forgotten_when_the_upstream_is_back() -> None:
    """It was down for all names: the first good answer to one of them ends the failures of the others."""
    with staged(LONG) as stage:
        stage.upstream.default = silent
        for name in ("one.failures.test", "two.failures.test"):
            assert stage.ask(name).rcode() == dns.rcode.SERVFAIL
        wait_for(lambda: stage.daemon.metric("forwarder_upstream_up") == 0, "the upstream counts as down")
        stage.upstream.default = answer("@ 300 IN A 192.0.2.1")
        numbers = iter(range(1000))
        wait_for(lambda: rdatas(stage.ask(f"new{next(numbers)}.failures.test")) == ["192.0.2.1"], "it answers again")
        for name in ("one.failures.test", "two.failures.test"):
            assert rdatas(stage.ask(name)) == ["192.0.2.1"]
