"""`python -m benchmarks.million`: a million distinct names through a cache of 32 MiB, with a hot set asked throughout.

Watches memory and the cache's own figures once a second. How often the hot set was forgotten is what nsd counted: the hot
set alone is asked for TXT. Exit status 1 when memory went on growing, the budget was exceeded or the hot set did not stay.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load, machine, peers, probing, processes, questions, upstream
from benchmarks.load import Load
from benchmarks.peers import DAEMON, PEERS, Place, Server
from benchmarks.processes import BenchmarkError
from benchmarks.upstream import Upstream

BUDGET = 32 << 20
"""Octets; what `peers` configures."""
HOT_RATE = 2_000
"""Queries a second for the hot set: each of 500 names four times a second."""
WARM_UP_SECONDS = 1.5
MAX_SECONDS = 600.0
MAX_NAMES = 5_000_000
MAX_GROWTH = 1.05
"""Peak of the last quarter of the run over the peak of the second: a bounded cache has filled by then."""
MAX_ASKED_AGAIN = 1.01
"""Queries for hot names that reach the upstream, over their number; one in a hundred may repeat after a loss."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen in one second."""

    seconds: float
    pss: int
    """Octets, of all processes."""
    entries: int
    octets: int
    """What the cache says it holds."""
    evictions: int
    hot_asked: int
    """Queries for hot names that reached the upstream so far."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    names: int
    hot: int
    python: str


def options_from(arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__.partition("\n")[0])
    parser.add_argument("--names", type=int, default=1_000_000, help="distinct names (default: 1000000)")
    parser.add_argument("--hot", type=int, default=500, help="names of the hot set (default: 500)")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the daemon (default: this one)")
    given = parser.parse_args(arguments)
    if not (1 <= given.names <= MAX_NAMES and 1 <= given.hot <= HOT_RATE):
        parser.error(f"--names is 1 to {MAX_NAMES}, --hot 1 to {HOT_RATE}")
    return Options(given.names, given.hot, given.python)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: everything held; 1: something did not, or nothing could be measured."""
    options = options_from(arguments)
    processes.end_on_terminate()
    try:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
            return judged(watched(options, Path(directory)), options)
    except BenchmarkError as error:
        sys.stderr.write(f"million: {error}\n")
        return 1


def watched(options: Options, directory: Path) -> list[Moment]:
    """The whole run, a moment for each second."""
    server_cores, upstream_cores, load_cores = machine.cores_for()
    hot = questions.written(questions.hot_lines(options.hot), directory / "hot")
    fresh = questions.written(questions.once_lines("n", options.names), directory / "fresh")
    with (
        upstream.serving(directory, upstream_cores) as nsd,
        peers.serving(PEERS[DAEMON], Place(directory / "server", server_cores, nsd.port, "udp", options.python)) as server,
    ):
        ask_hot = Load(hot, server.port, load_cores, MAX_SECONDS, rate=HOT_RATE)
        ask_fresh = Load(fresh, server.port, load_cores, MAX_SECONDS, runs=1)
        with processes.running(ask_hot.command(), cores=load_cores, log=directory / "hot-log", end=signal.SIGINT):
            time.sleep(WARM_UP_SECONDS)
            with processes.running(ask_fresh.command(), cores=load_cores, log=directory / "log", end=signal.SIGINT) as flood:
                moments = watch(flood, server, nsd)
            say_outcome("fresh names", directory / "log")
        say_outcome("hot set", directory / "hot-log")
    return moments


def watch(flood: subprocess.Popen[bytes], server: Server, nsd: Upstream) -> list[Moment]:
    """A moment each second until the flood has ended, and one more."""
    begun = time.monotonic()
    moments: list[Moment] = []
    say("     s   PSS MB  cache MiB    entries   evictions  hot asked")
    over = False
    while not over:
        try:
            flood.wait(1.0)
            over = True
        except subprocess.TimeoutExpired:
            over = time.monotonic() - begun > MAX_SECONDS
        moment = seen(time.monotonic() - begun, server, nsd)
        moments.append(moment)
        say(
            f"{moment.seconds:6.1f} {moment.pss / 1e6:8.1f} {moment.octets / (1 << 20):10.2f} "
            f"{moment.entries:10,} {moment.evictions:11,} {moment.hot_asked:10,}"
        )
    return moments


def seen(seconds: float, server: Server, nsd: Upstream) -> Moment:
    """The figures of now."""
    metrics = probing.metrics(server.http)
    missing = {"forwarder_cache_bytes", "forwarder_cache_evictions_total"} - metrics.keys()
    if missing:
        raise BenchmarkError(f"/metrics lacks {', '.join(sorted(missing))}")
    return Moment(
        seconds=seconds,
        pss=processes.pss_octets(processes.family(server.process.pid)),
        entries=round(sum(value for name, value in metrics.items() if name.startswith("forwarder_cache_entries"))),
        octets=round(metrics["forwarder_cache_bytes"]),
        evictions=round(metrics["forwarder_cache_evictions_total"]),
        hot_asked=nsd.counts()["num.type.TXT"],
    )


def judged(moments: Sequence[Moment], options: Options) -> int:
    """Print what held and what did not; the exit status."""
    quarter = max(1, len(moments) // 4)
    before = max(moment.pss for moment in moments[: 2 * quarter][-quarter:])
    after = max(moment.pss for moment in moments[-quarter:])
    largest = max(moment.octets for moment in moments)
    peak = max(moment.pss for moment in moments)
    peaks = f"peak {peak / 1e6:.1f} MB, second quarter {before / 1e6:.1f} MB, last quarter {after / 1e6:.1f} MB"
    verdicts = (
        (after <= MAX_GROWTH * before, f"PSS: {peaks}"),
        (largest <= BUDGET, f"cache: at most {largest / (1 << 20):.2f} MiB of {BUDGET >> 20} MiB"),
        (moments[-1].evictions > 0, f"evicted: {moments[-1].evictions:,} of {options.names:,} names and their spellings"),
        (
            moments[-1].hot_asked <= MAX_ASKED_AGAIN * options.hot,
            f"hot set: {moments[-1].hot_asked:,} queries reached the upstream for {options.hot:,} names",
        ),
    )
    for holds, text in verdicts:
        say(f"{'holds' if holds else 'FAILS'}  {text}")
    return 0 if all(holds for holds, _ in verdicts) else 1


def say_outcome(title: str, log: Path) -> None:
    """What a load says at its end."""
    outcome = load.read_outcome(log.read_text())
    say(f"{title}: {outcome.answers:,} answers, {outcome.rate:,.0f}/s, {outcome.lost:.3%} lost")


def say(line: str) -> None:
    """A line of the result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
