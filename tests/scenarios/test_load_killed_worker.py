"""Ten times kill -9 of the worker under 20,500 queries a second: what the kernel held is answered, what died is counted.

A query is lost with a worker that took it out of the socket and had not answered it: at most one batch, and the misses that
waited for an upstream. Those who wait meanwhile are answered within 0.3 s. With a snapshot no answer in it is asked for again,
unless the machine itself stood still while a worker put them back.
"""

import os
import signal
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from forwarder.serving.datagrams import BATCH
from tests.lab.counting import Record
from tests.lab.daemon import Daemon
from tests.lab.loaded import ensure_sound, loaded_stage
from tests.lab.standstills import Standstills

KILLS = 10
EVERY = 2.0
"""Seconds between two; a worker that lived for less than 1 s waits before the next one is started."""
LEAD, TAIL = 1.0, 2.0
"""Seconds of load before the first kill and after the last."""
IN_PROGRESS_FOR = 1.8
"""Seconds that a query may wait for its answer; an older one that is lost was forgotten, and not killed."""
SERVING_WITHIN = 0.3
"""Seconds from the kill to the first answer, the median of all."""
STANDSTILL = 0.05
"""Seconds for which the machine itself stood still at one time, of the 0.1 s after which the doors open in any case."""


@dataclass(frozen=True, slots=True)
class Kill:
    """What one of them cost."""

    hits_lost: int
    misses_lost: int
    misses_waiting: int
    """Misses without an answer at that moment, lost ones included."""
    oldest: float
    """Seconds that the one which was sent first of those lost had waited."""
    seconds: float
    """To the first answer of the successor."""
    standstill: float
    """The longest of the machine itself meanwhile, seconds."""

    def __str__(self) -> str:
        return (
            f"again after {self.seconds * 1e3:.0f} ms, lost {self.hits_lost} hits and {self.misses_lost} misses "
            f"({self.misses_waiting} waited), the oldest {self.oldest * 1e3:.0f} ms old; longest standstill of the machine "
            f"{self.standstill * 1e3:.0f} ms"
        )


def kills_in(record: Record, moments: list[float], machine: Standstills) -> list[Kill]:
    """What each cost; a lost query belongs to the first kill after it was sent."""
    kills = []
    monotonic = time.monotonic() - time.time()
    for number, moment in enumerate(moments):
        before = moments[number - 1] if number else record.begun
        mine = [lost for lost in record.lost if before <= lost.at < moment]
        misses = sum(lost.is_miss for lost in mine)
        oldest = max((moment - lost.at for lost in mine), default=0.0)
        _, end = record.silence(moment, moment + EVERY)
        standstill = machine.longest(moment + monotonic, end + monotonic)
        kills.append(Kill(len(mine) - misses, misses, record.misses_waiting(before, moment), oldest, end - moment, standstill))
    return kills


@pytest.mark.parametrize("kept", ["without a snapshot", "with a snapshot"])
def test_kill_9(tmp_path: Path, kept: str) -> None:
    """None lost in the kernel, at most one batch and what was in progress with each worker; serving again within 0.3 s."""
    with loaded_stage(tmp_path) as stage:
        snapshot = tmp_path / "cache.snapshot"
        config = stage.zones + (f"cache: {{snapshot: {snapshot}}}" if kept == "with a snapshot" else "")
        if kept == "with a snapshot":
            with Daemon(config) as former:
                stage.warm(former.servers)
        with Daemon(config) as daemon:
            if not snapshot.exists():
                stage.warm(daemon.servers)
            moments: list[float] = []
            with Standstills() as machine, stage.load(daemon.servers, LEAD + KILLS * EVERY + TAIL) as client:
                due = time.time() + LEAD
                for _ in range(KILLS):
                    time.sleep(max(due - time.time(), 0.0))
                    worker = daemon.worker()
                    moments.append(time.time())
                    os.kill(worker, signal.SIGKILL)
                    due += EVERY
                record = client.record()
            kills = kills_in(record, moments, machine)
            told = "\n".join(map(str, (*kills, record, f"{stage.hits_asked_again()} upstream queries for hits")))
            sys.stdout.write(f"{kept}:\n{told}\n")
            if kept == "with a snapshot" and max(kill.standstill for kill in kills) < STANDSTILL:
                assert stage.hits_asked_again() == 0, told
            assert daemon.metric("forwarder_receive_drops_total") == 0, told
            assert daemon.metric("forwarder_workers_restarted_total") == KILLS, told
    ensure_sound(record)
    assert [lost for lost in record.lost if lost.at >= moments[-1]] == [], told
    for kill in kills:
        assert kill.hits_lost + kill.misses_lost <= BATCH + kill.misses_waiting, told
        assert kill.oldest <= IN_PROGRESS_FOR, told
    assert (record.hits.servfails, record.misses.servfails) == (0, 0), told
    assert statistics.median(kill.seconds for kill in kills) <= SERVING_WITHIN, told
