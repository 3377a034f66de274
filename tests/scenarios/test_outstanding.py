"""Five thousand questions wait for an upstream that says nothing, and those who ask what is known do not notice.

Once they come all at one moment: each is answered, once, in time, and memory grows by what they take and is given back. Once
they come steadily, so many that five thousand are outstanding all the time: what is known is answered as quickly as ever.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import dns.rcode
import pytest

from tests.lab.clients import ask, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.fast_upstream import FastUpstream
from tests.lab.needs import needs_root
from tests.lab.patience import wait_for
from tests.lab.standstills import Standstills
from tests.lab.steady import Steady, Told, asked_steadily, percentile

OUTSTANDING = 5000
PATIENCE = 1.7
"""Seconds that a question waits (`client_response_timer`) though its upstream counts as down."""
STEADY_RATE = 1.04 * OUTSTANDING / PATIENCE
STEADY_SECONDS = 4.0
BURST_RATE = 14_000.0
"""Questions a second: the last of them comes before the first could have failed."""
LEAST_AT_ONE_MOMENT = {"udp": 0.95 * OUTSTANDING, "tcp": 2000}
"""Questions: connections that say nothing take no more, so that over TCP some are told at once that too many wait."""
HIT_RATE = 400.0
HITS_WITHIN = 0.005
"""Seconds, for 99 of 100."""
GROWTH = 30 << 20
"""Octets of PSS for five thousand questions in progress; their sockets are the kernel's."""
AGAIN = 3 << 20
"""Octets that a third five thousand may add: the interpreter keeps the room of those before, and they find it."""
LEFT_BEHIND = 0.9
"""How much of it may be left, six to seven tenths usually are: the interpreter gives memory back by the MiB, and keeps each MiB
with an object in it that lives on. What comes next finds room there, as AGAIN shows."""
REMEMBERED = "cache: {failure_ttl: 1s, max_failure_ttl: 2s}"
"""Failures, which take memory too: forgotten soon."""
KNOWN = [(f"n{number}.good.known.test", "A") for number in range(100)]


class Peak:
    """The most memory seen, looked at from a thread until the `with` is left."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.octets = daemon.proportional()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.1):
            with suppress(OSError):
                self.octets = max(self.octets, self._daemon.proportional())


@dataclass(frozen=True, slots=True)
class Stage:
    """A daemon that knows a hundred names, and its upstream, silent since."""

    daemon: Daemon
    upstream: FastUpstream
    transport: str

    def unknown(self, zone: str, count: int, rate: float) -> Steady:
        """Clients who ask so many names nobody asked before."""
        return Steady(self.daemon.server, [(f"n{number}.good.{zone}.test", "A") for number in range(count)], rate)


@pytest.fixture(params=["udp", "tcp"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """`max_in_progress` and patience for five thousand, whose failures are forgotten soon."""
    needs_root()  # for receive buffers that hold them all
    with FastUpstream() as upstream:
        zone = f"{{zone: ., upstreams: ['{upstream.address}'], transport: {request.param}}}"
        answering = f"answering: {{max_in_progress: {OUTSTANDING}, client_response_timer: {PATIENCE}s}}"
        with Daemon(f"zones: [{zone}]\n{answering}\n{REMEMBERED}") as daemon:
            asked_steadily(daemon.server, KNOWN * 10, 1000)
            upstream.suspend()
            yield Stage(daemon, upstream, request.param)


def most_at_one_time(report: list[Told]) -> int:
    """How many questions were on their way at one moment."""
    events = sorted([(told.at, 1) for told in report] + [(told.at + told.seconds, -1) for told in report])
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


def assert_all_failed(report: list[Told]) -> None:
    """Each answered once, with SERVFAIL."""
    assert [(told.name, told.answers) for told in report if told.answers != 1] == []
    assert {told.response.rcode() for told in report} == {dns.rcode.SERVFAIL}


def assert_all_is_well(stage: Stage, *, missed: int = 0) -> None:
    """The upstream speaks again, nothing remains of what was, and no deadline was missed but these."""
    daemon = stage.daemon
    stage.upstream.resume()
    wait_for(lambda: bool(rdatas(ask(daemon.server, query("new.good.after.test")))), "a new name is answered")
    wait_for(lambda: daemon.metric("forwarder_in_progress") == 0, "nothing is in progress any more")
    assert daemon.metric("forwarder_deadline_missed_total") == missed
    assert daemon.metric("forwarder_workers_restarted_total") == 0


def test_five_thousand_at_one_moment(stage: Stage) -> None:
    """Each of them fails in time; memory is bounded, and free again for the next five thousand."""
    before = stage.daemon.proportional()
    peaks = []
    waves = ["first", "second", "third"]
    missed = 0
    while waves:
        with Peak(stage.daemon) as peak, stage.unknown(waves.pop(0), OUTSTANDING, BURST_RATE) as clients:
            report = clients.report()
        peaks.append(peak.octets)
        assert most_at_one_time(report) >= LEAST_AT_ONE_MOMENT[stage.transport], "too few waited at one time"
        if not missed and (missed := sum(not told.answers for told in report)):
            waves.append("once more")  # a machine that stands still for a tenth of a second misses deadlines; not twice
            continue
        assert_all_failed(report)
    assert max(peaks) - before < GROWTH
    assert peaks[2] - peaks[1] < AGAIN
    wait_for(lambda: stage.daemon.metric("forwarder_cache_entries", kind="failure") == 0, "failures are forgotten")
    asked_steadily(stage.daemon.server, KNOWN * 10, 400)
    left = LEFT_BEHIND * (max(peaks) - before)
    wait_for(lambda: stage.daemon.proportional() - before < left, "memory is given back")
    assert_all_is_well(stage, missed=missed)


def test_hits_beside_five_thousand_outstanding(stage: Stage) -> None:
    """Known names are answered within 5 ms, 99 of 100, while five thousand others wait all the time.

    Of those others no more may miss their deadline than were due while the machine itself stood still.
    """
    hits = [KNOWN[number % len(KNOWN)] for number in range(round(HIT_RATE * (STEADY_SECONDS + 1)))]
    with (
        Standstills() as machine,
        stage.unknown("steady", round(STEADY_RATE * STEADY_SECONDS), STEADY_RATE) as others,
        Steady(stage.daemon.server, hits, HIT_RATE) as client,
    ):
        report, of_others = client.report(), others.report()
    assert most_at_one_time(of_others) >= 0.95 * OUTSTANDING, "not as many were outstanding"
    missed = sum(not told.answers for told in of_others)
    assert missed <= STEADY_RATE * machine.between(0.0, math.inf)
    assert_all_failed([told for told in of_others if told.answers])
    assert [told.name for told in report if told.answers != 1 or not rdatas(told.response)] == []
    for share in (0.5, 0.99):
        assert percentile([told.charged for told in report], share) < HITS_WITHIN
    assert_all_is_well(stage, missed=missed)
