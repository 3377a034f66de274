"""Two workers under 20,500 queries a second: their caches add up, for each name meets the same one whoever asks how."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from forwarder.serving.datagrams import BATCH
from tests.lab.clients import Address, query
from tests.lab.daemon import START_SECONDS
from tests.lab.instances import Instances
from tests.lab.loaded import LoadedStage, ensure_nothing_lost, ensure_sound, loaded_stage
from tests.lab.patience import wait_for

SECONDS = 20.0
WORKERS = 2
NAMES = 4_000
"""Of which a share of 10 % off even is ten standard deviations."""
EVEN_WITHIN = 0.1
SPELLINGS = (("A", str), ("AAAA", str), ("A", str.upper), ("AAAA", str.title))
STOPPED_FOR = 2.0
"""Seconds; a worker is taken for hung only after some more."""
MEANWHILE = 0.05
"""Seconds after a kill in which no successor can serve yet."""
BURST = 50
"""Queries at a time, so that no queue overflows."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LoadedStage]:
    with loaded_stage(tmp_path) as made:
        yield made


def cpu_ticks(pid: int) -> int:
    """What the process used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@dataclass(frozen=True, slots=True)
class Answered:
    """Numbers of the queries that were answered while one worker was stopped, and of those answered after it."""

    meanwhile: set[int]
    afterwards: set[int]


def asked_while_stopped(server: Address, worker: int, queries: list[bytes]) -> Answered:
    """Send all of them, each with its number as ID, while this process is stopped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        client.connect(server)
        found: set[int] = set()
        os.kill(worker, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            for number, octets in enumerate(queries):
                client.send(number.to_bytes(2, "big") + octets[2:])
                if number % BURST == 0:
                    found |= received(client, 0.001)
            while time.monotonic() < begun + STOPPED_FOR:
                found |= received(client, 0.05)
        finally:
            os.kill(worker, signal.SIGCONT)
        meanwhile = set(found)
        until = time.monotonic() + START_SECONDS
        while len(found) < len(queries) and time.monotonic() < until:
            found |= received(client, 0.05)
        return Answered(meanwhile, found - meanwhile)


def received(client: socket.socket, seconds: float) -> set[int]:
    """The IDs of what came, until nothing comes for so long."""
    found = set()
    client.settimeout(seconds)
    try:
        while True:
            found.add(int.from_bytes(client.recv(512)[:2], "big"))
    except TimeoutError:
        return found


def test_two_workers_ask_no_more_than_one(stage: LoadedStage) -> None:
    """Every name reaches the upstream once, as with one worker, though both answer; nothing is lost.

    What the upstream is slow to answer goes out again, from the same worker, and is counted by it.
    """
    with Instances(f"listen: {{workers: {WORKERS}}}\n{stage.zones}") as daemon:
        stage.warm(daemon.servers)
        counted = daemon.metric("forwarder_queries_total")
        shown = daemon.shown_workers()
        assert [worker["number"] for worker in shown] == list(range(WORKERS))
        assert all(worker["serving"] for worker in shown)
        pids = [int(worker["pid"]) for worker in shown]
        before = [cpu_ticks(pid) for pid in pids]
        with stage.load(daemon.servers, SECONDS) as client:
            record = client.record()
        used = [cpu_ticks(pid) - ticks for pid, ticks in zip(pids, before, strict=True)]
        asked = stage.upstream.asked()
        twice = {question: times for question, times in asked.items() if times > 1 and question[0]}
        again = sum(times - 1 for times in twice.values())
        late = daemon.metric("forwarder_upstream_failures_total", reason="timeout")
        assert again <= late, f"two workers were asked for one name: {twice}"
        assert stage.hits_asked_again() == 0
        queries = daemon.metric("forwarder_queries_total") - counted
        assert queries == record.hits.sent + record.misses.sent, "sums of both"
        assert daemon.metric("forwarder_receive_drops_total") == 0
        assert min(used) > max(used) / 2, f"one worker does nearly all: {used}"
    ensure_nothing_lost(record)


def test_a_name_meets_the_same_worker(stage: LoadedStage) -> None:
    """A, AAAA and any spelling of it; and each worker is met by as many names as the other."""
    with Instances(f"listen: {{workers: {WORKERS}}}\n{stage.zones}") as daemon:
        names = [f"pod-{number}.good.team{number % 37}.example" for number in range(NAMES)]
        queries = [query(spelt(name), qtype).to_wire() for name in names for qtype, spelt in SPELLINGS]
        per_name = len(SPELLINGS)
        shares = []
        for worker in daemon.shown_workers():
            answered = asked_while_stopped(daemon.server, int(worker["pid"]), queries)
            assert len(answered.meanwhile | answered.afterwards) == len(queries), (
                "what waited for the stopped worker is answered"
            )
            halves = [sum(number in answered.meanwhile for number in range(at, at + per_name)) for at in all_of(queries)]
            assert set(halves) == {0, per_name}, "one name met both workers"
            shares.append(halves.count(0))
        assert sum(shares) == NAMES, "each name has one worker, whichever is stopped"
        even = NAMES / WORKERS
        assert all(abs(share - even) <= EVEN_WITHIN * even for share in shares), shares
        assert [worker["restarts"] for worker in daemon.shown_workers()] == [0] * WORKERS, "it was taken for hung"


def all_of(queries: list[bytes]) -> range:
    """The number of the first query for each name."""
    return range(0, len(queries), len(SPELLINGS))


def test_one_of_them_killed(stage: LoadedStage) -> None:
    """The other one answers on, and the names of the killed one wait for its successor."""
    with Instances(f"listen: {{workers: {WORKERS}}}\n{stage.zones}") as daemon:
        stage.warm(daemon.servers)
        killed, other = daemon.shown_workers()
        with stage.load(daemon.servers, 4.0) as client:
            time.sleep(1.0)
            moment = time.time()
            os.kill(int(killed["pid"]), signal.SIGKILL)
            wait_for(lambda: all(worker["serving"] for worker in daemon.shown_workers()), "both serve")
            record = client.record()
        now = daemon.shown_workers()
        assert [worker["restarts"] for worker in now] == [1, 0]
        assert now[1]["pid"] == other["pid"]
    waits = record.waits(moment, moment + MEANWHILE)
    assert sum(wait < max(waits) / 4 for wait in waits) > len(waits) / 4, "all names waited for the one worker"
    ensure_sound(record)
    assert sum(not lost.is_miss for lost in record.lost) <= BATCH, record
