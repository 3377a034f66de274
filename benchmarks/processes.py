"""Programs as processes: start them on given cores, end them, and say what they use.

Always holds: what `running` starts is ended when its block is left, however it is left, and only by the ids of processes
that it started; should the benchmark itself be killed, the kernel ends them (PR_SET_PDEATHSIG, through setpriv).
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
"""The project: where `python -m forwarder` finds the daemon, installed or not."""
SECONDS_TO_LEAVE = 5.0
"""After it was asked to leave, before SIGKILL: the daemon drains for up to 3 s."""
DEBIAN_PACKAGES = {
    "nsd": "nsd",
    "nsd-control": "nsd",
    "unbound": "unbound",
    "dnsmasq": "dnsmasq-base",
    "dnsperf": "dnsperf",
    "gcc": "gcc libc6-dev",
    "taskset": "util-linux",
    "setpriv": "util-linux",
}


class BenchmarkError(Exception):
    """A measurement cannot be made, or would not mean what it says: printed as one line, exit status 1."""


def program(name: str) -> str:
    """The path of a program, /usr/sbin included; a missing one is named together with its Debian package."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise BenchmarkError(f"{name} is missing: apt-get install -y --no-install-recommends {DEBIAN_PACKAGES[name]}")
    return found


def output_of(command: Sequence[str], *, seconds: float = 30.0) -> str:
    """What a command prints, both streams; taking too long or an exit status other than 0 is an error.

    It writes to a file, so that this process does not wake up beside the load to read a pipe.
    """
    with tempfile.TemporaryFile() as output:
        try:
            # The commands are built here, from constants and numbers.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BenchmarkError(f"{shlex.join(command)}: {error}") from error
        output.seek(0)
        text = output.read().decode(errors="replace")
    if done.returncode != 0:
        raise BenchmarkError(f"{shlex.join(command)} ended with status {done.returncode}: {text.strip()[-500:]}")
    return text


def pinned(command: Sequence[str], cores: Iterable[int]) -> list[str]:
    """The same command, kept on these cores and ended when its parent ends."""
    numbers = ",".join(map(str, cores))
    return [program("setpriv"), "--pdeathsig", "TERM", program("taskset"), "-c", numbers, *command]


@contextlib.contextmanager
def running(
    command: Sequence[str], *, cores: Iterable[int], log: Path, end: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process in a session of its own, its output in `log`; `end` asks it to leave after the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(command, cores),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process, end)


def _end(process: subprocess.Popen[bytes], end: signal.Signals) -> None:
    """Ask it to leave, then end whatever is left of its session."""
    process.send_signal(end)
    try:
        process.wait(SECONDS_TO_LEAVE)
    except subprocess.TimeoutExpired:
        process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_on_terminate() -> None:
    """Make SIGTERM leave all blocks in order, as Ctrl-C does."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def family(pid: int) -> tuple[int, ...]:
    """The process and all its descendants, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # The name in brackets may hold anything; the parent is the second field behind it.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    members = [pid]
    for member in members:
        members.extend(sorted(children.get(member, ())))
    return tuple(members)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Time on a core, user and system, of all threads of these processes (schedstat: nanoseconds, no ticks)."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def idle_seconds(cores: Iterable[int]) -> float:
    """Time for which these cores had nothing to do, waiting for disks included."""
    wanted = {f"cpu{core}" for core in cores}
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    ticks = sum(int(fields[4]) + int(fields[5]) for fields in lines if fields[0] in wanted)
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_octets(pids: Iterable[int]) -> int:
    """Proportional set size, summed."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
