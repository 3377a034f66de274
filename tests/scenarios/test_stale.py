"""Answers past their end stand in for an upstream that is slow or dead (RFC 8767); answers in use never come to their end."""

import time
from functools import partial
from itertools import pairwise

import dns.message
import dns.rcode

from tests.lab.behaviours import addresses, answer, late, nxdomain, refusal, silent
from tests.lab.clients import extended_errors, rdatas
from tests.lab.patience import wait_for
from tests.lab.stage import Stage, staged

STALE_ANSWER = 3  # EDE
FORMER, LATER = answer("@ 1 IN A 192.0.2.1"), answer("@ 300 IN A 192.0.2.9")
AT_ONCE = 0.35  # seconds; less than the client response timer, enough for a busy machine
ENDED = 1.2  # seconds after which an answer with a TTL of 1 s is past its end


def is_stale(response: dns.message.Message) -> bool:
    """Whether it is the former answer, with the TTL and the mark of a stale one."""
    if rdatas(response) != ["192.0.2.1"]:
        return False
    return response.answer[0].ttl == 30 and [code for code, _ in extended_errors(response)] == [STALE_ANSWER]


def remember(stage: Stage, *names: str) -> None:
    """Have the daemon know an answer to each that ends within a second, and wait for that."""
    stage.upstream.default = FORMER
    for name in names:
        assert rdatas(stage.ask(name)) == ["192.0.2.1"]
    time.sleep(ENDED)


def is_later(stage: Stage, name: str) -> bool:
    """Whether the daemon has the later answer by now."""
    return rdatas(stage.ask(name)) == ["192.0.2.9"]


def test_slow_upstream() -> None:
    """The client does not wait for it: what ended a moment ago goes out, and the new answer is fetched behind."""
    with staged("cache: {failure_recheck_timer: 1s, prefetch: false}") as stage:
        remember(stage, "slow.stale.test")
        stage.upstream.default = late(1.0, LATER)
        begin = time.monotonic()
        assert is_stale(stage.ask("slow.stale.test", payload=1232))
        assert time.monotonic() - begin > 0.3, "the upstream had its chance"
        assert stage.daemon.metric("forwarder_responses_total", source="stale", rcode="NOERROR") == 1
        stage.upstream.default = LATER
        wait_for(lambda: is_later(stage, "slow.stale.test"), "the new answer")


def test_dead_upstream() -> None:
    """Each answer comes stale, within two seconds at first, at once when the upstream counts as down; then it comes back."""
    names = [f"n{number}.dead.stale.test" for number in range(10)]
    with staged("cache: {failure_recheck_timer: 1s}") as stage:
        remember(stage, *names)
        stage.upstream.default = silent
        begin = time.monotonic()
        assert is_stale(stage.ask(names[0], payload=1232))
        assert time.monotonic() - begin < 2.0
        for name in names[1:4]:
            assert is_stale(stage.ask(name, payload=1232))
        wait_for(lambda: stage.daemon.metric("forwarder_upstream_up") == 0, "the upstream counts as down")
        for name in names:
            begin = time.monotonic()
            assert is_stale(stage.ask(name, payload=1232))
            assert time.monotonic() - begin < AT_ONCE, name
        assert stage.daemon.metric("forwarder_deadline_missed_total") == 0
        stage.upstream.default = LATER
        for name in names:
            wait_for(partial(is_later, stage, name), f"{name} is answered anew")


def test_failing_upstream_is_asked_again_at_most_every_recheck_timer() -> None:
    with staged("cache: {failure_recheck_timer: 2s}") as stage:
        remember(stage, "often.stale.test")
        stage.upstream.received.clear()
        stage.upstream.default = refusal("SERVFAIL")
        wait_for(
            lambda: is_stale(stage.ask("often.stale.test", payload=1232)) and len(stage.upstream.received) >= 3, "three askings"
        )
        times = [received.at for received in stage.upstream.received]
        assert all(later - earlier > 1.9 for earlier, later in pairwise(times)), times


def test_a_zone_may_allow_less() -> None:
    """Addresses of a cluster are soon somebody else's: past `maximum_stale_timer` it is SERVFAIL."""
    with staged(zone="maximum_stale_timer: 1s") as stage:
        remember(stage, "short.stale.test")
        time.sleep(1.0)
        stage.upstream.default = refusal("SERVFAIL")
        assert stage.ask("short.stale.test").rcode() == dns.rcode.SERVFAIL


def test_a_denial_is_never_stale() -> None:
    with staged("cache: {max_negative_ttl: 1s, prefetch: false}") as stage:
        stage.upstream.default = nxdomain("test.")
        assert stage.ask("denied.stale.test").rcode() == dns.rcode.NXDOMAIN
        time.sleep(ENDED)
        stage.upstream.default = refusal("SERVFAIL")
        assert stage.ask("denied.stale.test").rcode() == dns.rcode.SERVFAIL


def test_a_stale_answer_fits_its_client() -> None:
    with staged() as stage:
        stage.upstream.default = answer(*(record.replace(" 300 ", " 1 ") for record in addresses(60)))
        stage.ask_tcp("many.stale.test")
        time.sleep(ENDED)
        stage.upstream.default = refusal("SERVFAIL")
        response = stage.ask("many.stale.test")
        assert len(response.to_wire()) <= 512
        assert response.flags & dns.flags.TC
        assert len(rdatas(stage.ask_tcp("many.stale.test"))) == 60


def test_an_answer_in_use_is_fetched_before_it_ends() -> None:
    """Asked for all the time, it is fetched once per life, and after the first nobody has waited for it."""
    with staged() as stage:
        stage.upstream.default = answer("@ 10 IN A 192.0.2.1")
        until = time.monotonic() + 12.0
        while time.monotonic() < until:
            assert rdatas(stage.ask("busy.stale.test")) == ["192.0.2.1"]
            time.sleep(0.01)
        assert len(stage.upstream.asked("busy.stale.test")) == 2
        assert stage.daemon.metric("forwarder_prefetches_total") == 1
        assert stage.daemon.metric("forwarder_responses_total", source="upstream") == 1
