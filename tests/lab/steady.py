"""A client that asks at a steady rate and tells exactly how long each answer took, from a process of its own.

    python -m tests.lab.steady <SPECIFICATION >REPORT       (both JSON)

An answer arrives when the kernel says so (SO_TIMESTAMPNS), not when this process gets round to reading it; for how long the
machine itself stood still meanwhile is told beside it. Always holds: queries go out on schedule whether those before were
answered or not.
"""

import json
import math
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.message

from tests.lab.clients import HANG, Address, query
from tests.lab.namespaces import Namespace
from tests.lab.standstills import Standstills

PROJECT = Path(__file__).resolve().parents[2]
SO_TIMESTAMPNS = 35
"""linux/socket.h; also the type of the control message that brings a struct timespec."""
SO_RCVBUFFORCE = 33
"""linux/socket.h; Python does not name it."""
RECEIVE_BUFFER = 8 << 20
"""Octets, for thousands of answers at once."""
LAST_ANSWERS = 2.5
"""Seconds to wait for answers after the last query: above the deadline."""
_IDENTS = 1 << 16


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one query."""

    name: str
    qtype: str
    at: float
    """When it was sent, seconds from the first on."""
    seconds: float
    """From sending it to the arrival of the first answer; infinite when none came."""
    stood_still: float
    """Seconds of these, or of those in which it was waited for, for which the machine itself stood still."""
    answers: int
    """How many came."""
    octets: bytes
    """The first of them."""

    @property
    def charged(self) -> float:
        """The seconds that it took but for the machine."""
        return self.seconds - self.stood_still

    @property
    def response(self) -> dns.message.Message:
        """The same, parsed in full."""
        return dns.message.from_wire(self.octets)


class Steady:
    """The process, from the `with` on; asks each of these (name, type) once, `rate` of them a second."""

    def __init__(
        self,
        server: Address,
        questions: Iterable[tuple[str, str]],
        rate: float,
        *,
        namespace: Namespace | None = None,
        payload: int | None = None,
    ) -> None:
        self._questions = list(questions)
        assert len(self._questions) <= _IDENTS, "an ID would be used twice"
        octets = [query(*question, payload=payload).to_wire()[2:].hex() for question in self._questions]
        self._specification = json.dumps({"server": server, "rate": rate, "queries": octets}).encode()
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.lab.steady"]
        self._command = command if namespace is None else namespace.command(*command)
        self._seconds = len(self._questions) / rate

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write(self._specification)
        self._process.stdin.close()
        self._process.stdin = None  # so that `communicate` leaves it alone
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def report(self) -> list[Told]:
        """Wait for the end; what became of all of them, in the order in which they were sent."""
        output, _ = self._process.communicate(timeout=self._seconds + LAST_ANSWERS + 2 * HANG)
        assert self._process.returncode == 0
        said = json.loads(output)
        return [
            Told(name, qtype, at, math.inf if seconds is None else seconds, stood_still, answers, bytes.fromhex(octets))
            for (name, qtype), (at, seconds, stood_still, answers, octets) in zip(self._questions, said, strict=True)
        ]


def asked_steadily(
    server: Address, questions: Iterable[tuple[str, str]], rate: float, *, payload: int | None = None
) -> list[Told]:
    """All of it: ask, wait, tell."""
    with Steady(server, questions, rate, payload=payload) as client:
        return client.report()


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


# --------------------------------------------------------------------------------------------------------- the process


def _timestamped(server: Address) -> socket.socket:
    """A connected socket whose datagrams come with the time at which they came."""
    endpoint = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    with suppress(PermissionError):
        endpoint.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    endpoint.connect(server)
    endpoint.setblocking(False)
    return endpoint


class _Asking:
    """The server that is asked, and what it said."""

    def __init__(self, server: Address) -> None:
        self.socket = _timestamped(server)
        self.sent: list[int] = []
        """When, nanoseconds of the wall clock."""
        self.told: dict[int, tuple[float, int, bytes]] = {}
        """By running number: seconds, answers, octets."""

    def ask(self, octets: bytes) -> None:
        number = len(self.sent)
        self.sent.append(time.time_ns())
        with suppress(OSError):
            self.socket.send((number % _IDENTS).to_bytes(2, "big") + octets)

    def take_answers(self) -> None:
        with suppress(OSError):
            while True:
                octets, control, _, _ = self.socket.recvmsg(65535, 64)
                seconds, nanoseconds = struct.unpack("qq", control[0][2])
                number = int.from_bytes(octets[:2], "big")
                first, answers, message = self.told.get(number, (0.0, 0, octets))
                if not answers:
                    first = (seconds * 1_000_000_000 + nanoseconds - self.sent[number]) / 1e9
                self.told[number] = (first, answers + 1, message)

    def ask_all(self, queries: Sequence[bytes], period: float) -> None:
        begun = time.monotonic()
        ends, number = math.inf, 0
        while (now := time.monotonic()) < ends:
            while number < len(queries) and begun + number * period <= now:
                self.ask(queries[number])
                number += 1
            if number == len(queries):
                ends = min(ends, now + LAST_ANSWERS)
                wait = ends - now
            else:
                wait = begun + number * period - time.monotonic()
            if select.select([self.socket], [], [], max(wait, 0.0))[0]:
                self.take_answers()
            if len(self.told) == len(queries) == number:
                ends = min(ends, now + 0.2)  # a second answer to one of them would come soon


def main() -> None:
    """The program."""
    specification = json.load(sys.stdin)
    asking = _Asking(tuple(specification["server"]))
    with Standstills() as machine:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # it sleeps nearly all the time
        monotonic = time.monotonic() - time.time()
        asking.ask_all([bytes.fromhex(octets) for octets in specification["queries"]], 1 / specification["rate"])
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # the telling is work, and has time
    told = []
    for number, sent in enumerate(asking.sent):
        seconds, answers, octets = asking.told.get(number, (None, 0, b""))
        at = sent / 1e9 + monotonic
        stood_still = machine.between(at, at + (LAST_ANSWERS if seconds is None else seconds))
        told.append(((sent - asking.sent[0]) / 1e9, seconds, stood_still, answers, octets.hex()))
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
