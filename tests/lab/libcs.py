"""The two resolvers that pods have: getaddrinfo of glibc and of musl, each in a fresh process.

A fresh process has no latch and no cache of its own; what it answers is what the daemon told it.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_musl

_SOURCE = Path(__file__).with_name("getaddrinfo.c")
_GLIBC = """
import socket, sys, time
begin = time.monotonic()
try:
    found = socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)
    told = [entry[4][0] for entry in found]
except socket.gaierror as error:
    told = ["error", str(error)]
print(f"{(time.monotonic() - begin) * 1000:.3f}", *told)
"""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What one getaddrinfo call came back with."""

    addresses: tuple[str, ...]
    error: str
    """Empty when it worked."""
    milliseconds: float


def glibc_lookup(namespace: Namespace, name: str) -> Lookup:
    """The getaddrinfo for any family that a glibc program in that namespace calls."""
    return _read(namespace.run(sys.executable, "-c", _GLIBC, name))


def musl_lookup(namespace: Namespace, client: Path, name: str) -> Lookup:
    """The same from a musl program that `compiled_for_musl` made."""
    return _read(namespace.run(str(client), name))


def compiled_for_musl(directory: Path) -> Path:
    """The musl client, statically linked, compiled into `directory`."""
    program = directory / "getaddrinfo"
    command = [needs_musl(), "-static", "-O1", "-Wall", "-o", str(program), str(_SOURCE)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return program


def _read(done: subprocess.CompletedProcess[str]) -> Lookup:
    if done.returncode != 0:
        msg = f"{done.args}: {done.stderr}"
        raise RuntimeError(msg)
    milliseconds, *told = done.stdout.split()
    if told[:1] == ["error"]:
        return Lookup((), " ".join(told[1:]), float(milliseconds))
    return Lookup(tuple(told), "", float(milliseconds))
