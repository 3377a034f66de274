"""Scripted upstreams in a process of their own, which know the oracle's answers and play what they are told.

    python -m tests.lab.chaotic TTL COUNT      prints their addresses; reads lines `NUMBER WHAT` until the end of input

WHAT is a fault by name, `well`, or what happens to the connections there are: `freeze`, `reset`, `drop`. Always holds: what an
upstream keeps of queries is forgotten with every line, so that a long run stays small.
"""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.behaviours import Behaviour, Move, Received, answer
from tests.lab.faults import Fault, by_type, faults_with
from tests.lab.oracle import response_to
from tests.lab.scripted import ScriptedUpstream

PROJECT = Path(__file__).resolve().parents[2]
FORGED = by_type(a=answer("@ 300 IN A 203.0.113.66"), aaaa=answer("@ 300 IN AAAA 2001:db8:bad::66"))
UNTRUE = frozenset(("NODATA without SOA, AA=0, RA=0", "64 KiB", "compression loop"))
"""Faults in which an upstream says of itself what the oracle does not: nobody could know better."""
TO_CONNECTIONS = ("freeze", "reset", "drop")


def oracle_says(ttl: int) -> Behaviour:
    """The truth."""

    def behaviour(received: Received) -> list[Move]:
        is_stream = received.transport == "tcp"
        return [Move(response_to(received.octets, ttl=ttl, has_opt=received.has_opt, is_stream=is_stream))]

    return behaviour


def faults_around(ttl: int) -> Mapping[str, Fault]:
    """What may be played, `well` among it; those of the faults that set a TTL of their own keep it."""
    faults = faults_with(lambda own: oracle_says(ttl if own == 300 else own), FORGED)
    kept = {name: fault for name, fault in faults.items() if name not in UNTRUE | {"loops our query back"}}
    return {"well": Fault(oracle_says(ttl))} | kept


class ChaoticUpstreams:
    """The process, from the `with` on."""

    def __init__(self, count: int, *, ttl: int) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.lab.chaotic", str(ttl), str(count)]
        self._command = command
        self.addresses: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.addresses = self._process.stdout.readline().split()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def play(self, number: int, what: str) -> None:
        """From now on, by one of them."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number} {what}\n")
        self._process.stdin.flush()


def main() -> None:
    """The program."""
    ttl, count = map(int, sys.argv[1:])
    faults = faults_around(ttl)
    with ExitStack() as stack:
        upstreams = [stack.enter_context(ScriptedUpstream()) for _ in range(count)]
        for upstream in upstreams:
            faults["well"].play(upstream)
        sys.stdout.write(" ".join(upstream.address for upstream in upstreams) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:
            number, _, what = line.strip().partition(" ")
            upstream = upstreams[int(number)]
            upstream.received.clear()
            upstream.unreadable.clear()
            if what in TO_CONNECTIONS:
                getattr(upstream, f"{what}_connections")()
            else:
                faults[what].play(upstream)


if __name__ == "__main__":
    main()
