"""Five thousand questions wait for an upstream that says nothing, and those who ask what is known do not notice.

Hits are asked steadily from one process, the five thousand come from another, all at once and again two more times. Memory
grows by what a question in progress takes, and is given back.
"""

import threading
import time
from contextlib import suppress
from typing import Self

import dns.rcode
import pytest

from tests.lab.clients import ask, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.fast_upstream import FastUpstream
from tests.lab.needs import needs_root
from tests.lab.patience import wait_for
from tests.lab.steady import Report, Steady, asked_steadily, percentile

OUTSTANDING = 5000
WAVES = 3
BURST_RATE = 14_000.0
"""Questions a second: the last of them comes before the first has waited 400 ms, which is all that a question waits while its
upstream counts as down."""
HIT_RATE = 400.0
HITS_WITHIN = 0.005
"""Seconds, for 99 of 100."""
GROWTH = 30 << 20
"""Octets of PSS for five thousand questions in progress, sockets of the kernel not counted."""
LEFT_BEHIND = 5 << 20
"""Octets: what allocators keep, and failures remembered."""


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


def wave(daemon: Daemon, number: int) -> Report:
    """Five thousand questions nobody asked before."""
    return asked_steadily(daemon.server, [(f"n{n}.good.wave{number}.test", "A") for n in range(OUTSTANDING)], BURST_RATE)


def most_at_one_time(report: Report) -> int:
    """How many questions were on their way at one moment."""
    events = sorted([(told.at, 1) for told in report.told] + [(told.at + told.seconds, -1) for told in report.told])
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_hits_are_answered_beside_five_thousand_questions(transport: str) -> None:
    """Hits at p99 under 5 ms, memory bounded and given back, everybody answered, and afterwards all is well."""
    needs_root()  # for receive buffers that hold them all
    hits = [(f"n{number % 100}.good.known.test", "A") for number in range(round(HIT_RATE * 9.0))]
    with FastUpstream() as upstream:
        zone = f"{{zone: ., upstreams: ['{upstream.address}'], transport: {transport}}}"
        with Daemon(f"zones: [{zone}]\nanswering: {{max_in_progress: {OUTSTANDING}}}") as daemon:
            asked_steadily(daemon.server, hits[:100] * 10, 2000)
            time.sleep(1.1)
            before = daemon.proportional()
            upstream.suspend()
            with Peak(daemon) as peak, Steady(daemon.server, hits, HIT_RATE) as client:
                waves = [wave(daemon, number) for number in range(WAVES)]
                report = client.report()
            assert most_at_one_time(waves[0]) >= 0.98 * OUTSTANDING, "they did not all wait at one time"
            for one in waves:
                assert [told.name for told in one.told if told.answers != 1] == []
                assert {told.response.rcode() for told in one.told} == {dns.rcode.SERVFAIL}
            assert [told.name for told in report.told if told.answers != 1 or not rdatas(told.response)] == []
            p99 = percentile([told.seconds for told in report.told], 0.99)
            assert p99 < HITS_WITHIN + percentile(report.control, 0.99)
            assert peak.octets - before < GROWTH
            wait_for(lambda: daemon.proportional() - before < LEFT_BEHIND, "memory is given back")
            upstream.resume()
            wait_for(lambda: bool(rdatas(ask(daemon.server, query("new.good.after.test")))), "a new name is answered")
            wait_for(lambda: daemon.metric("forwarder_in_progress") == 0, "nothing is in progress any more")
            assert daemon.metric("forwarder_deadline_missed_total") == 0
            assert daemon.metric("forwarder_workers_restarted_total") == 0
