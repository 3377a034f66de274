"""Load: dnsperf with a file of queries, and what it says about the answers.

Always holds: a load has an end in seconds, and one whose answers are not what the zones hold is an error, not a figure.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError, output_of, pinned, program

GRACE_SECONDS = 20.0
"""dnsperf waits for its last answers, and verbose output takes its time."""
MAX_UNEXPECTED = 0.001
"""Share of responses that may be neither NOERROR nor NXDOMAIN."""
FIGURE = r"{name}:\s+([\d.]+)"
RCODE = re.compile(r"([A-Z]+\d*) (\d+) \(")
LATENCY = re.compile(rb"^> [A-Z]+ \S+ \S+ (\d+\.\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask, how long and how fast."""

    queries: Path
    port: int
    cores: tuple[int, ...]
    seconds: float
    rate: int | None = None
    """Queries a second; none: as fast as 100 queries outstanding allow."""
    runs: int | None = None
    """Ends after so many runs through the file."""

    def command(self) -> list[str]:
        """The command line of dnsperf: 20 sockets, 100 queries outstanding, a query lost after 2 s."""
        command = [program("dnsperf"), "-s", "127.0.0.1", "-p", str(self.port), "-d", str(self.queries)]
        # dnsperf takes whole seconds.
        command += ["-l", str(math.ceil(self.seconds)), "-c", "20", "-T", "2", "-q", "100", "-t", "2"]
        if self.rate is not None:
            command += ["-Q", str(self.rate)]
        if self.runs is not None:
            command += ["-n", str(self.runs)]
        return command


@dataclass(frozen=True, slots=True)
class Outcome:
    """What dnsperf counted."""

    sent: int
    answers: int
    seconds: float
    latencies: tuple[float, ...] = ()
    """Seconds, sorted; only when asked for."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    @property
    def lost(self) -> float:
        """Share of queries that stayed without an answer."""
        return 1 - self.answers / self.sent if self.sent else 0.0


def dnsperf(load: Load) -> Outcome:
    """Run the load."""
    return read_outcome(output_of(pinned(load.command(), load.cores), seconds=load.seconds + GRACE_SECONDS))


def dnsperf_with_latencies(load: Load) -> Outcome:
    """Run the load and keep the latency of each answer."""
    text = output_of(pinned([*load.command(), "-v"], load.cores), seconds=load.seconds + GRACE_SECONDS)
    latencies = sorted(float(seconds) for seconds in LATENCY.findall(text.encode()))
    outcome = read_outcome(text)
    return Outcome(outcome.sent, outcome.answers, outcome.seconds, tuple(latencies))


def read_outcome(text: str) -> Outcome:
    """The statistics at the end of dnsperf's output."""
    figures = {}
    for name in ("Queries sent", "Queries completed", r"Run time \(s\)"):
        found = re.findall(FIGURE.format(name=name), text)
        if not found:
            raise BenchmarkError(f"dnsperf said nothing about {name!r}: {text[-500:]}")
        figures[name] = float(found[-1])
    sent, answers, seconds = figures.values()
    if not answers:
        raise BenchmarkError(f"not one of {sent:.0f} queries was answered")
    _check_rcodes(re.findall(r"Response codes:.*", text)[-1])
    return Outcome(int(sent), int(answers), seconds)


def _check_rcodes(line: str) -> None:
    """A server that refuses quickly must not look fast."""
    counts = {rcode: int(count) for rcode, count in RCODE.findall(line)}
    unexpected = sum(count for rcode, count in counts.items() if rcode not in {"NOERROR", "NXDOMAIN"})
    if unexpected > MAX_UNEXPECTED * sum(counts.values()):
        raise BenchmarkError(f"unexpected answers: {line.strip()}")


def percentile(ordered: tuple[float, ...], share: float) -> float:
    """The value that `share` (0 to 1) of the sorted values do not exceed."""
    if not ordered:
        raise BenchmarkError("no latencies were recorded")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
