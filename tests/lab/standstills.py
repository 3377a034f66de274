"""When the machine itself stood still: what befell a process that does nothing but wake up, on each core.

    python -m tests.lab.standstills CORE        (told to end, it prints each standstill: from when, until when)

Cores that are shared with other machines stop for tens of milliseconds, at any moment. No program can answer meanwhile, so
what a test measures has such time taken off. What one program does with its own time is not: the scheduler wakes the watcher
beside it. Where several want one core, the watcher waits for its turn as they do, some milliseconds at a time.
"""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

PROJECT = Path(__file__).resolve().parents[2]
NAP = 0.001
"""Seconds between two looks at the clock."""
LATE = 0.004
"""Seconds. A nap that is longer was a standstill."""


class Standstills:
    """A watcher on each core, from the `with` on; what they saw, once it is over. Times are those of the monotonic clock."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.lab.standstills"]
        cores = sorted(os.sched_getaffinity(0))
        self._watchers = [subprocess.Popen([*command, str(core)], cwd=PROJECT, stdout=subprocess.PIPE) for core in cores]
        for watcher in self._watchers:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == b"watching\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for watcher in self._watchers:
            watcher.terminate()
        said = b"".join(watcher.communicate()[0] for watcher in self._watchers)
        for begin, end in sorted(tuple(map(float, line.split())) for line in said.splitlines()):
            if self._seen and begin <= self._seen[-1][1]:
                self._seen[-1] = self._seen[-1][0], max(end, self._seen[-1][1])
            else:
                self._seen.append((begin, end))

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
    is_over = False

    def finish(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal(2) calls it
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, finish)
    os.sched_setaffinity(0, {int(sys.argv[1])})
    seen = []
    before, is_last = time.monotonic(), False
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    while not is_last:
        is_last = is_over  # one look more, for it may have stood still until now
        time.sleep(NAP)
        now = time.monotonic()
        if now - before > LATE:
            seen.append((before, now))
        before = now
    sys.stdout.writelines(f"{since} {until}\n" for since, until in seen)


if __name__ == "__main__":
    main()
