"""Proves that a standstill of the machine is seen for what it is, and that a busy program is none.

Here one watcher is stopped; nothing else stops a core of this machine on purpose.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.standstills import LATE, Standstills

STOPPED = 0.5
"""Seconds; longer than machines stand still by themselves."""
BUSY = "import time\nend = time.monotonic() + 1.0\nwhile time.monotonic() < end: pass"


def watchers() -> list[int]:
    """Their numbers."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(child) for child in children if b"tests.lab.standstills" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_what_stands_still_is_taken_off() -> None:
    """The stop, and only as much of it as lies between the two moments."""
    with Standstills() as machine:
        before = time.monotonic()
        stopped = watchers()[0]
        os.kill(stopped, signal.SIGSTOP)
        begin = time.monotonic()
        time.sleep(STOPPED)
        end = time.monotonic()
        os.kill(stopped, signal.SIGCONT)
        time.sleep(2 * LATE)
    assert abs(machine.between(begin, end) - STOPPED) < LATE + (end - begin - STOPPED)
    assert abs(machine.between(begin + 0.1, begin + 0.3) - 0.2) < LATE
    assert machine.between(before - 2.0, before - 1.0) == 0.0
    assert machine.longest(before - 2.0, before - 1.0) == 0.0
    assert machine.longest() >= STOPPED


def test_a_busy_program_is_no_standstill() -> None:
    """One on each core for a second, and the watchers beside them are woken."""
    with Standstills() as machine:
        begin = time.monotonic()
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in os.sched_getaffinity(0)]
        for process in busy:
            assert process.wait() == 0
        end = time.monotonic()
    assert machine.between(begin, end) < 0.5 * (end - begin)
