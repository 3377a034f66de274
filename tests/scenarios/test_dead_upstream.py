"""The upstream is dead and the cache is warm: what was known is answered, stale (RFC 8767), and hardly slower than ever.

Some hundred names are asked once, their TTL of 2 s runs out, and the only upstream is suspended (silence) or killed (its port
is closed). Positive answers come with a TTL of 30 s and EDE 3, as long as the zone's `maximum_stale_timer` allows; negative
ones do not. When the upstream is back, so are fresh answers.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dns.rcode
import pytest

from tests.lab.clients import ask, extended_errors, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.fast_upstream import FastUpstream
from tests.lab.oracle import complaint
from tests.lab.patience import wait_for
from tests.lab.steady import Told, asked_steadily, percentile

TTL = 2
SHORT_STALE_TIMER = 5.0
"""Seconds that the zone `short` keeps what has expired."""
STALE_TTL = 30
STALE_ANSWER = 3  # EDE
FIRST = 2.0
"""Seconds for the first stale answer, while the upstream still counts as up."""
AT_ONCE = 0.005
"""Seconds for a stale answer once it counts as down."""
RATE = 150.0  # queries a second
COUNT = 100
"""Names of each kind."""


@dataclass(frozen=True, slots=True)
class Warm:
    """A daemon that knows its names, and its upstream, still alive."""

    daemon: Daemon
    upstream: FastUpstream
    warmed_at: float
    """When the first of them was asked, monotonic clock."""

    def is_up(self) -> bool:
        """As the metrics say."""
        return self.daemon.metric("forwarder_upstream_up", upstream=self.upstream.address) == 1

    def ask(self, kind: str, zone: str) -> list[Told]:
        """All names of a kind in a zone."""
        return asked_steadily(self.daemon.server, names(kind, zone), RATE, payload=1232)


def names(kind: str, zone: str) -> list[tuple[str, str]]:
    """A and AAAA in turn."""
    return [(f"n{number}.{kind}.{zone}.test", "AAAA" if number % 2 else "A") for number in range(COUNT)]


@pytest.fixture(params=["udp", "tcp"])
def warm(request: pytest.FixtureRequest) -> Iterator[Warm]:
    """Positive and negative answers of two zones, all of them expired when the scenario begins."""
    with FastUpstream(ttl=TTL) as upstream:
        keys = f"upstreams: ['{upstream.address}'], transport: {request.param}"
        zones = f"{{zone: ., {keys}}}, {{zone: short.test, {keys}, maximum_stale_timer: {SHORT_STALE_TIMER:.0f}s}}"
        with Daemon(f"zones: [{zones}]") as daemon:
            begin = time.monotonic()
            wanted = [names(kind, zone) for zone in ("long", "short") for kind in ("good", "none", "empty")]
            report = asked_steadily(daemon.server, [one for group in wanted for one in group], 600, payload=1232)
            assert [complaint(told.response) for told in report] == [""] * len(report)
            assert {told.response.rcode() for told in report} == {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
            time.sleep(TTL + 0.2)
            yield Warm(daemon, upstream, begin)


def assert_stale(report: list[Told]) -> None:
    """Every one of them: the right address, TTL 30, EDE 3, once."""
    for told in report:
        response = told.response
        assert (complaint(response), response.rcode()) == ("", dns.rcode.NOERROR), told.name
        assert {rrset.ttl for rrset in response.answer} == {STALE_TTL}, told.name
        assert STALE_ANSWER in [code for code, _ in extended_errors(response)], told.name
        assert told.answers == 1


def assert_failing(report: list[Told]) -> None:
    """SERVFAIL, every one."""
    assert [told.name for told in report if told.response.rcode() != dns.rcode.SERVFAIL] == []


def assert_at_once(report: list[Told]) -> None:
    """From memory."""
    for share in (0.5, 0.99):
        assert percentile([told.charged for told in report], share) < AT_ONCE


@pytest.mark.parametrize("end", [FastUpstream.suspend, FastUpstream.kill], ids=["silent", "killed"])
def test_what_was_known_is_answered(warm: Warm, end: Callable[[FastUpstream], None]) -> None:
    """Stale at first within 2 s, then at once; never beyond the timer, never negative; fresh when the upstream is back."""
    end(warm.upstream)
    first = warm.ask("good", "short")
    assert time.monotonic() - warm.warmed_at < TTL + SHORT_STALE_TIMER, "too slow a machine: the answers are too old"
    assert_stale(first)
    assert max(told.charged for told in first) < FIRST
    wait_for(lambda: not warm.is_up(), "the upstream counts as down")
    for _ in range(2):
        again = warm.ask("good", "long")
        assert_stale(again)
        assert_at_once(again)
    time.sleep(max(0.0, warm.warmed_at + TTL + SHORT_STALE_TIMER + 1.0 - time.monotonic()))
    assert_failing(warm.ask("good", "short"))
    for kind in ("none", "empty"):
        assert_failing(warm.ask(kind, "long"))
    assert warm.daemon.metric("forwarder_deadline_missed_total") == 0
    come_back(warm, is_killed=end is FastUpstream.kill)


def come_back(warm: Warm, *, is_killed: bool) -> None:
    """The upstream is well again, and within seconds that shows."""
    (warm.upstream.start if is_killed else warm.upstream.resume)()

    def is_fresh() -> bool:
        response = ask(warm.daemon.server, query("n0.good.long.test", payload=1232))
        return bool(rdatas(response)) and response.answer[0].ttl <= TTL

    wait_for(is_fresh, "a fresh answer")
    wait_for(warm.is_up, "the upstream counts as up")
    report = warm.ask("good", "short")
    assert [complaint(told.response) for told in report] == [""] * COUNT
    assert {told.response.rcode() for told in report} == {dns.rcode.NOERROR}
