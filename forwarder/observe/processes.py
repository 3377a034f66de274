"""What processes take of the machine: memory and time of the core, as the kernel tells it.

Only reads /proc. Never fails: a process that is gone takes nothing. Always holds: anybody may read these files of anybody's
processes, so nothing depends on capabilities. Sources: proc_pid_statm(5), proc_pid_stat(5).
"""

import os
from pathlib import Path

PROC = Path("/proc")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM, _USER_OF_CHILDREN, _SYSTEM_OF_CHILDREN = range(11, 15)
"""Places in /proc/PID/stat, counted from behind the name of the program, which may contain anything."""


def resident_octets(pid: int, proc: Path = PROC) -> int | None:
    """Memory that the process has in RAM, what it shares with others included; None when it is gone."""
    words = _words(proc / str(pid) / "statm")
    return int(words[1]) * PAGE_SIZE if words else None


def seconds_used(pid: int, proc: Path = PROC, *, with_children: bool = False) -> float:
    """Time of the core, as user and in the kernel; `with_children`: and of children that ended."""
    words = _words(proc / str(pid) / "stat")
    places = (_USER, _SYSTEM, *((_USER_OF_CHILDREN, _SYSTEM_OF_CHILDREN) if with_children else ()))
    return sum(int(words[place]) for place in places) / TICKS_A_SECOND if words else 0.0


def _words(path: Path) -> list[str]:
    """What stands behind the last parenthesis; empty when the process is gone."""
    try:
        return path.read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return []
