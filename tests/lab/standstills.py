"""When the machine itself stood still: what befell a process that does nothing but wake up, on each core.

    python -m tests.lab.standstills LATE CORE        (until it is told to end, it prints each standstill: from when, until when)

Cores that are shared with other machines stop for tens of milliseconds, at any moment. No program can answer meanwhile, so
what a test measures has such time taken off. What one program does with its own time is not: the scheduler wakes the watcher
beside it. Where several want one core, the watcher waits for its turn as they do, some milliseconds at a time.
"""

import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

PROJECT = Path(__file__).resolve().parents[2]
LATE = 0.004
"""Seconds: four times a watcher's nap. One that took longer was a standstill."""
UNREAD = 1 << 20
"""Octets that a watcher may have written before anybody looks: some 25,000 standstills."""


class Standstills:
    """A watcher on each core, from the `with` on; what they saw of at least `late` seconds, so far. Times are monotonic."""

    def __init__(self, late: float = LATE) -> None:
        self._late = late
        self._seen: list[tuple[float, float]] = []
        """By any of them: in order, none touches the next."""

    def __enter__(self) -> Self:
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.lab.standstills", str(self._late)]
        cores = sorted(os.sched_getaffinity(0))
        self._watchers = [subprocess.Popen([*command, str(core)], cwd=PROJECT, stdout=subprocess.PIPE) for core in cores]
        for watcher in self._watchers:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == b"watching\n"
            os.set_blocking(watcher.stdout.fileno(), False)
            fcntl.fcntl(watcher.stdout, fcntl.F_SETPIPE_SZ, UNREAD)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for watcher in self._watchers:
            watcher.terminate()
        for watcher in self._watchers:
            assert watcher.stdout is not None
            os.set_blocking(watcher.stdout.fileno(), True)
            self._take(watcher.communicate()[0].splitlines())

    def look(self) -> None:
        """Take in what was seen so far, while the `with` lasts: a standstill is told of when it is over."""
        for watcher in self._watchers:
            assert watcher.stdout is not None
            self._take(watcher.stdout.readlines())

    def _take(self, lines: Iterable[bytes]) -> None:
        told = [(float(begin), float(end)) for begin, end in map(bytes.split, lines)]
        joined: list[tuple[float, float]] = []
        for begin, end in sorted([*self._seen, *told]):
            if joined and begin <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((begin, end))
        self._seen = joined

    def between(self, begin: float, end: float) -> float:
        """For how many seconds of those any core stood still."""
        return sum(self._within(begin, end))

    def longest(self, begin: float = 0.0, end: float = math.inf) -> float:
        """The longest standstill of that time, seconds: one runs into a time-out where many short ones do not."""
        return max(self._within(begin, end), default=0.0)

    def _within(self, begin: float, end: float) -> list[float]:
        return [max(0.0, min(end, until) - max(begin, since)) for since, until in self._seen]


def main() -> None:
    """The program."""
    late = float(sys.argv[1])
    is_over = False

    def finish(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal(2) calls it
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, finish)
    os.sched_setaffinity(0, {int(sys.argv[2])})
    before, is_last = time.monotonic(), False
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    while not is_last:
        is_last = is_over  # one look more, for it may have stood still until now
        time.sleep(late / 4)
        now = time.monotonic()
        if now - before > late:
            sys.stdout.write(f"{before} {now}\n")
            sys.stdout.flush()
        before = now


if __name__ == "__main__":
    main()
