"""The two resolvers that pods have: getaddrinfo of glibc and of musl, in fresh processes.

A fresh process has no latch and no cache of its own; what it answers is what the daemon told it. One that looks up many names
keeps whatever its libc keeps: glibc's latch shows there.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_musl, needs_program
from tests.lab.standstills import Standstills

_SOURCE = Path(__file__).with_name("getaddrinfo.c")
_GLIBC = """
import socket, sys, time
begin = time.monotonic()
try:
    found = socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)
    told = [entry[4][0] for entry in found]
except socket.gaierror as error:
    told = ["error", str(error)]
print(begin, f"{(time.monotonic() - begin) * 1000:.3f}", *told)
"""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What one getaddrinfo call came back with."""

    addresses: tuple[str, ...]
    error: str
    """Empty when it worked."""
    begun: float
    """By the monotonic clock."""
    milliseconds: float

    def charged(self, machine: Standstills) -> float:
        """The milliseconds that it took but for those in which the machine itself stood still."""
        return self.milliseconds - 1000 * machine.between(self.begun, self.begun + self.milliseconds / 1000)


def glibc_lookup(namespace: Namespace, name: str) -> Lookup:
    """The getaddrinfo for any family that a glibc program in that namespace calls."""
    return _read(namespace.run(sys.executable, "-c", _GLIBC, name))


def musl_lookup(namespace: Namespace, client: Path, name: str) -> Lookup:
    """The same from a musl program that `compiled_for_musl` made."""
    return _read(namespace.run(str(client), name))


def compiled_for_musl(directory: Path) -> Path:
    """The musl client, statically linked, compiled into `directory`."""
    return _compiled(directory / "getaddrinfo", needs_musl(), "-static")


def compiled_for_glibc(directory: Path) -> Path:
    """The same program with this machine's glibc."""
    return _compiled(directory / "getaddrinfo-glibc", needs_program("gcc"))


def lookups(namespace: Namespace, client: Path, names: Sequence[str], *, processes: int = 1) -> list[Lookup]:
    """Each process looks up its share of the names, one after the other; in the order of `names`."""
    command = namespace.command(str(client), "-")
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        shares = [names[number::processes] for number in range(processes)]
        outputs = pool.map(lambda process, share: process.communicate("\n".join(share) + "\n")[0], running, shares)
        told = [[_lookup(line) for line in output.splitlines()] for output in outputs]
    assert [len(share) for share in told] == [len(share) for share in shares]
    return [told[number % processes][number // processes] for number in range(len(names))]


class ResolvingProcess:
    """One process that looks names up whenever it is told to, from the `with` on.

    `before`: a program that changes where or how it runs.
    """

    def __init__(self, namespace: Namespace, client: Path, *, before: Sequence[str] = ()) -> None:
        self._command = namespace.command(*before, str(client), "-")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def look_up(self, names: Sequence[str]) -> list[Lookup]:
        """All of them, one after the other."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n".join(names) + "\n\n")
        self._process.stdin.flush()
        return [_lookup(self._process.stdout.readline()) for _ in names]


def _compiled(program: Path, compiler: str, *options: str) -> Path:
    command = [compiler, *options, "-O1", "-Wall", "-o", str(program), str(_SOURCE)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return program


def _read(done: subprocess.CompletedProcess[str]) -> Lookup:
    if done.returncode != 0:
        msg = f"{done.args}: {done.stderr}"
        raise RuntimeError(msg)
    return _lookup(done.stdout)


def _lookup(line: str) -> Lookup:
    begun, milliseconds, *told = line.split()
    if told[:1] == ["error"]:
        return Lookup((), " ".join(told[1:]), float(begun), float(milliseconds))
    return Lookup(tuple(told), "", float(begun), float(milliseconds))
