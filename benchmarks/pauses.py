"""`python -m benchmarks.pauses`: watch for pauses of the daemon over 20 ms while its cache turns over.

Fresh names come at a moderate rate, so that entries are made and evicted all the time, while a known name is asked once a
millisecond. Beside the daemon, on its core, an echo loop is asked in the same breath: a pause that the echo shows too is the
machine's, any other the daemon's. Exit status 1 when the daemon made one.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load, machine, peers, probing, processes, questions, upstream
from benchmarks.load import Load
from benchmarks.peers import PEERS, Place, Server
from benchmarks.processes import BenchmarkError

PAUSE_SECONDS = 0.020
"""What counts as a pause: a hundred times what an answer takes, and still nothing that a client would notice."""
CONTROL_SECONDS = PAUSE_SECONDS / 4
"""A delay of the control that explains a pause at the same time: core and prober were held up, if only in part."""
MAX_SECONDS = 600
MAX_RATE = 20_000
HEAD_START = 1.0
"""Seconds for which the load runs before and after the probing."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch of time in which no answer came."""

    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.begun


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    seconds: float
    rate: int
    """Fresh names a second."""
    peer: str
    python: str


def pauses_in(slow: Sequence[tuple[float, float]], least: float) -> list[Pause]:
    """Slow answers (due, latency) that overlap in time are one pause; `slow` is in any order."""
    found: list[Pause] = []
    for due, latency in sorted(slow):
        if latency <= least:
            continue
        if found and due <= found[-1].ended:
            found[-1] = Pause(found[-1].begun, max(found[-1].ended, due + latency))
        else:
            found.append(Pause(due, due + latency))
    return found


def without(ours: Sequence[Pause], control: Sequence[Pause]) -> list[Pause]:
    """The pauses that the control did not have at the same time."""
    return [pause for pause in ours if not any(other.begun < pause.ended and pause.begun < other.ended for other in control)]


def options_from(arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pauses", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the probing (default: 60)")
    parser.add_argument("--rate", type=int, default=8_000, help="fresh names a second (default: 8000)")
    parser.add_argument("--peer", choices=PEERS, default=peers.DAEMON, help="server under test (default: the daemon)")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the daemon (default: this one)")
    given = parser.parse_args(arguments)
    if not (1 <= given.seconds <= MAX_SECONDS and 1 <= given.rate <= MAX_RATE):
        parser.error(f"--seconds is 1 to {MAX_SECONDS}, --rate 1 to {MAX_RATE}")
    return Options(given.seconds, given.rate, given.peer, given.python)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: no pause of the daemon's own; 1: there was one, or nothing could be measured."""
    options = options_from(arguments)
    processes.end_on_terminate()
    try:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
            return reported(probed(options, Path(directory)), options)
    except BenchmarkError as error:
        sys.stderr.write(f"pauses: {error}\n")
        return 1


def probed(options: Options, directory: Path) -> dict[str, dict[str, object]]:
    """What the prober saw of the daemon and of the control."""
    server_cores, upstream_cores, load_cores = machine.cores_for()
    with (
        upstream.serving(directory, upstream_cores) as nsd,
        peers.serving(PEERS["echo"], Place(directory / "control", server_cores, nsd.port)) as control,
        peers.serving(
            PEERS[options.peer], Place(directory / "server", server_cores, nsd.port, "udp", options.python)
        ) as server,
    ):
        seconds = options.seconds + 2 * HEAD_START
        names = questions.once_lines("p", int(options.rate * seconds))
        queries = questions.written(names, directory / "fresh")
        ask = Load(queries, server.port, load_cores, seconds, rate=options.rate, runs=1)
        with processes.running(ask.command(), cores=load_cores, log=directory / "load") as flood:
            prober = [sys.executable, "-m", "benchmarks.prober", *map(str, (server.port, control.port, options.seconds))]
            seen = processes.output_of(processes.pinned(prober, load_cores), seconds=seconds + load.GRACE_SECONDS)
            flood.wait(load.GRACE_SECONDS)
        outcome = load.read_outcome((directory / "load").read_text())
        say(f"load: {outcome.rate:,.0f} fresh names/s, {outcome.answers:,} in all, {outcome.lost:.3%} lost")
        if options.peer == peers.DAEMON:
            say_turnover(server)
    summaries: dict[str, dict[str, object]] = json.loads(seen)
    return summaries


def say_turnover(server: Server) -> None:
    """What happened in the daemon's cache meanwhile."""
    metrics = probing.metrics(server.http)
    entries = sum(value for name, value in metrics.items() if name.startswith("forwarder_cache_entries"))
    evictions = metrics.get("forwarder_cache_evictions_total", 0.0)
    say(f"cache: {entries:,.0f} entries at the end, {evictions:,.0f} evicted")


def reported(seen: dict[str, dict[str, object]], options: Options) -> int:
    """Print what was seen; the exit status."""
    for name, title in (("daemon", options.peer), ("control", "control (echo)")):
        summary = seen[name]
        figures = "  ".join(f"{key} {float(str(summary[key])) * 1e3:.3f} ms" for key in ("p50", "p99", "p999", "largest"))
        say(f"{title}: {figures}  {summary['answers']} answers, {summary['lost']} lost")
    ours, theirs = (pauses_in(slow_answers(seen[name]), PAUSE_SECONDS) for name in ("daemon", "control"))
    own = without(ours, pauses_in(slow_answers(seen["control"]), CONTROL_SECONDS))
    limit = f"{PAUSE_SECONDS * 1e3:.0f} ms"
    say(f"pauses over {limit}: {options.peer} {len(ours)}, of these its own {len(own)}; control {len(theirs)}")
    for pause in own:
        say(f"  {pause.seconds * 1e3:.1f} ms")
    return 1 if own else 0


def slow_answers(summary: dict[str, object]) -> list[tuple[float, float]]:
    """The list of slow answers in a summary, (due, latency)."""
    slow = summary["slow"]
    return [(float(due), float(latency)) for due, latency in slow] if isinstance(slow, list) else []


def say(line: str) -> None:
    """A line of the result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
