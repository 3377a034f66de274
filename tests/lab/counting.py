"""A client that counts every query: 20,000 hits and 500 misses a second, from a process of its own (`counting.c`).

It asks on schedule whether answers come or not, so that what a server did not answer is counted and not waited for. Times are
those of the wall clock, as `time.time` gives them: what a test does to the server stands on the same line. Always holds: a
query without an answer within LOST_AFTER seconds is lost, whatever comes later; names of hits are the same for all loads,
names of misses for none with another letter.
"""

import math
import subprocess
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.clients import HANG, Address
from tests.lab.needs import needs_program
from tests.lab.steady import percentile

LOST_AFTER = 5.0
"""Seconds; what a resolver waits at most (resolv.conf(5))."""
HITS_A_SECOND = 20_000
MISSES_A_SECOND = 500
NAMES = 1_000
"""That are asked for A and AAAA over and over: each question ten times a second."""
SLOT = 0.1
"""Seconds of one line of `Record.slots`."""
_NANOSECONDS = 1e9
_SOURCE = Path(__file__).with_name("counting.c")
_RIGHT, _SERVFAIL, _WRONG = 1, 2, 3
"""What the program writes down of an answer."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask."""

    seconds: float
    letter: str
    """Names of misses begin with it; `h` is taken."""
    hits: int = HITS_A_SECOND
    misses: int = MISSES_A_SECOND
    names: int = NAMES


@dataclass(frozen=True, slots=True)
class Sums:
    """What became of the hits, or of the misses."""

    sent: int
    answered: int
    lost: int
    servfails: int
    wrong: int
    """Neither SERVFAIL nor the answer to what was asked."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A query that nobody answered."""

    at: float
    """When it was sent."""
    is_miss: bool


@dataclass(frozen=True)
class Record:
    """What became of every query, in the order in which they were sent."""

    begun: float
    sent: Sequence[float]
    """When, seconds since `begun`; below 0 when it could not be sent."""
    answered: Sequence[float]
    """The same of its first answer; infinite where it is lost."""
    told: bytes = field(repr=False)
    is_miss: bytes = field(repr=False)
    second_answers: int
    strays: int
    """Answers to nothing that was asked."""
    refusals: int
    """How often the kernel said that a port was closed."""
    lost_here: int
    """Datagrams that found a receive queue of the client full: no fault of the server's."""
    cpu: float
    """Seconds that the client used."""

    @cached_property
    def hits(self) -> Sums:
        return self._sums(bytes(1 - one for one in self.is_miss))

    @cached_property
    def misses(self) -> Sums:
        return self._sums(self.is_miss)

    def _sums(self, wanted: bytes) -> Sums:
        told = bytes(compress(self.told, wanted))
        answered = sum(map(math.isfinite, compress(self.answered, wanted)))
        return Sums(len(told), answered, len(told) - answered, told.count(_SERVFAIL), told.count(_WRONG))

    @cached_property
    def lost(self) -> list[Lost]:
        """Each of them, as they were sent."""
        pairs = zip(self.sent, self.answered, self.is_miss, strict=True)
        return [Lost(self.begun + sent, bool(is_miss)) for sent, answered, is_miss in pairs if answered == math.inf]

    @cached_property
    def arrivals(self) -> list[float]:
        """When answers came, in that order; seconds since `begun`."""
        return sorted(filter(math.isfinite, self.answered))

    @property
    def latencies(self) -> Iterator[float]:
        """Seconds, of those that were answered."""
        return (answered - sent for sent, answered in zip(self.sent, self.answered, strict=True) if answered < math.inf)

    def waits(self, after: float, until: float) -> list[float]:
        """Seconds that those had to wait which were sent between these two; infinite for lost ones."""
        first, last = (bisect_left(self.sent, moment - self.begun) for moment in (after, until))
        return [self.answered[number] - self.sent[number] for number in range(first, last)]

    def silence(self, after: float, until: float) -> tuple[float, float]:
        """The longest time without any answer that ended between these two: from when to when."""
        arrivals = self.arrivals
        first, last = (bisect_left(arrivals, moment - self.begun) for moment in (after, until))
        ends = range(max(first, 1), last)
        assert ends, "not one answer came"
        end = max(ends, key=lambda number: arrivals[number] - arrivals[number - 1])
        return self.begun + arrivals[end - 1], self.begun + arrivals[end]

    def misses_waiting(self, since: float, at: float) -> int:
        """How many misses that were sent between these two had no answer yet at the second, lost ones included."""
        first, until = (bisect_left(self.sent, moment - self.begun) for moment in (since, at))
        now = at - self.begun
        return sum(self.answered[number] >= now for number in range(first, until) if self.is_miss[number])

    def slots(self) -> list[tuple[int, int]]:
        """For each SLOT seconds: how many were sent, how many answers came."""
        sent, came = (
            [int(moment / SLOT) for moment in moments if 0 <= moment < math.inf] for moments in (self.sent, self.answered)
        )
        lines = [[0, 0] for _ in range(max(*sent, *came) + 1)]
        for column, moments in enumerate((sent, came)):
            for slot in moments:
                lines[slot][column] += 1
        return [(line[0], line[1]) for line in lines]

    def __str__(self) -> str:
        """For whoever reads a failed test, or runs it with `-s`."""
        latencies = list(self.latencies)
        shares = ", ".join(f"{share:.4g} {percentile(latencies, share) * 1e3:.1f} ms" for share in (0.5, 0.99, 0.999, 1.0))
        begin, end = self.silence(self.begun, math.inf)
        return (
            f"hits {self.hits}, misses {self.misses}; latency {shares}; worst silence {(end - begin) * 1e3:.0f} ms; "
            f"{self.second_answers} second answers, {self.strays} strays, {self.refusals} refusals, "
            f"{self.lost_here} lost in the client; client used {self.cpu:.2f} s of {len(self.sent) and self.sent[-1]:.1f} s"
        )


def compiled(directory: Path) -> Path:
    """The program, compiled into `directory`."""
    program = directory / "counting"
    command = [needs_program("gcc"), "-O2", "-Wall", "-Wextra", "-o", str(program), str(_SOURCE)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return program


class Counting:
    """The process, from the `with` on."""

    def __init__(self, program: Path, servers: Sequence[Address], load: Load) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", str(program), str(load.hits), str(load.misses), str(load.seconds)]
        command += [str(load.names), load.letter]
        self._command = command + [str(part) for server in servers for part in server]
        self._load = load

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def record(self) -> Record:
        """Wait for the end, and for the last answers."""
        output, _ = self._process.communicate(timeout=self._load.seconds + LOST_AFTER + HANG)
        assert self._process.returncode == 0, f"the client left with status {self._process.returncode}"
        return _record(output)


def counted(program: Path, servers: Sequence[Address], load: Load) -> Record:
    """All of it: ask, wait, tell."""
    with Counting(program, servers, load) as client:
        return client.record()


def _record(output: bytes) -> Record:
    line, _, rest = output.partition(b"\n")
    begun, count, second_answers, strays, refusals, lost_here, cpu = map(int, line.split())
    moments = array("q", rest[: 16 * count])
    sent, answered = ([nanoseconds / _NANOSECONDS for nanoseconds in half] for half in (moments[:count], moments[count:]))
    in_time = [came if came >= 0 and came - went <= LOST_AFTER else math.inf for went, came in zip(sent, answered, strict=True)]
    return Record(
        begun=begun / _NANOSECONDS,
        sent=sent,
        answered=in_time,
        told=rest[16 * count : 17 * count],
        is_miss=rest[17 * count :],
        second_answers=second_answers,
        strays=strays,
        refusals=refusals,
        lost_here=lost_here,
        cpu=cpu / 1e6,
    )
