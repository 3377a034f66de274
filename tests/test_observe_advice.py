"""The warnings: each appears with its cause, says what to do, and a healthy daemon has none."""

from collections.abc import Callable

import pytest

from forwarder.observe import counters
from forwarder.observe.advice import advice
from forwarder.observe.overview import Conntrack
from tests.lab.figures import Daemon, SeenWorker

TWO = {"192.0.2.1:53": True, "192.0.2.2:53": True}
Change = Callable[[Daemon], object]


def down(daemon: Daemon, *places: int) -> None:
    for place in places:
        daemon.slots[counters.upstream_row(place) + counters.UP_IN_ROW] = 0


def counted(slot: int) -> Change:
    def change(daemon: Daemon) -> None:
        daemon.slots[slot] += 3

    return change


def looped(daemon: Daemon) -> None:
    daemon.slots[counters.upstream_row(1) + counters.LOOPED_IN_ROW] = 1


def refused_by_table(daemon: Daemon) -> None:
    daemon.conntrack = Conntrack(10, 1000, 2, 0)


def full_table(daemon: Daemon) -> None:
    daemon.conntrack = Conntrack(990, 1000, 0, 0)


def dropped(daemon: Daemon) -> None:
    daemon.counted["receive_drops"] = 1


def waiting(daemon: Daemon) -> None:
    daemon.workers = (SeenWorker(pid=None, serving=False, state="waits to be started again", last_end="exit status 3"),)


LATCHED = counters.CLIENT_REPEATS + counters.AFTER.index("failure")
CASES: dict[str, tuple[Change, str]] = {
    "worker": (waiting, "see the daemon's log"),
    "one down": (lambda daemon: down(daemon, 1), "192.0.2.2:53 does not answer"),
    "all down": (lambda daemon: down(daemon, 0, 1), "No upstream answers"),
    "looped": (looped, "sends our queries back"),
    "failing": (lambda daemon: daemon.asked(40, failures=30), "30 of 40 queries lately (mostly: timeout)"),
    "receive queue": (dropped, "listen.receive_buffer"),
    "table refuses": (refused_by_table, "refused 2 entries"),
    "table full": (full_table, "nf_conntrack_max"),
    "deadline": (counted(counters.DEADLINE_MISSED), "answering.deadline"),
    "outsiders": (counted(counters.REFUSED_CLIENTS), "listen.allow"),
    "latched": (counted(LATCHED), "restart that program"),
    "split": (counted(counters.SPLIT_PAIRS), "one of A and AAAA"),
    "evictions": (counted(counters.CACHE_EVICTIONS), "cache.memory"),
}


def healthy() -> Daemon:
    return Daemon(upstreams=TWO, conntrack=Conntrack(10, 1000, 0, 0))


def test_a_healthy_daemon_has_none() -> None:
    daemon = healthy()
    former = daemon.overview()
    daemon.asked(40, failures=3)
    daemon.answered(counters.EXACT, 1000)
    assert advice(daemon.overview(60.0), former) == []
    assert advice(daemon.overview(), None) == []


@pytest.mark.parametrize("case", CASES)
def test_each_cause_has_its_sentence_and_no_other(case: str) -> None:
    change, words = CASES[case]
    daemon = healthy()
    former = daemon.overview()
    change(daemon)
    (sentence,) = advice(daemon.overview(60.0), former)
    assert words in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("case", ["failing", "receive queue", "table refuses", "deadline", "outsiders", "latched", "evictions"])
def test_what_is_long_over_is_not_mentioned(case: str) -> None:
    daemon = healthy()
    CASES[case][0](daemon)
    former = daemon.overview()
    assert advice(daemon.overview(600.0), former) == []


def test_who_is_not_asked_any_more_is_not_missed() -> None:
    daemon = Daemon(upstreams={"192.0.2.1:53": True, "192.0.2.2:53": False})
    down(daemon, 1)
    assert advice(daemon.overview(), None) == []
