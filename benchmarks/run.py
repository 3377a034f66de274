"""The run: rounds of measurements, peers in turns, and the report at the end.

Always holds: a run that is broken off (Ctrl-C, SIGTERM, an error) ends its servers, and reports the rounds it has.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine, processes, report, upstream
from benchmarks.measurements import MEASUREMENTS, Bench, Measurement
from benchmarks.observation import OBSERVATION
from benchmarks.peers import PEERS
from benchmarks.processes import BenchmarkError
from benchmarks.results import Results

ALL = (*MEASUREMENTS, OBSERVATION)
DEFAULT_OUTPUT = Path(__file__).with_name("RESULTS.md")
MAX_ROUNDS = 50
"""A round takes about two minutes: an hour and a half is enough for any median."""
MAX_SECONDS = 25.0
"""Negative answers live 30 s in the daemon under test; a longer measurement would not be one of hits."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    rounds: int
    seconds: float
    measurements: tuple[Measurement, ...]
    peers: tuple[str, ...]
    python: str
    label: str
    output: str
    """A path, or `-` for standard output."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: all rounds measured; 1: something was missing or went wrong, or the run was broken off."""
    options = options_from(arguments)
    processes.end_on_terminate()
    results = Results()
    facts: list[tuple[str, str]] = []
    status = 1
    try:
        facts = machine.described(options.python, options.peers)
        measure(options, results)
        status = 0
    except BenchmarkError as error:
        say(f"benchmarks: {error}")
    except KeyboardInterrupt:
        say("benchmarks: broken off")
    if results.samples:
        facts.append(("run", _run_line(options, results)))
        heading = f"Results: {options.label}" if options.label else "Results"
        write(report.written(results, options.peers, facts, heading), options.output)
    return status


def options_from(arguments: Sequence[str] | None) -> Options:
    """Read the command line; wrong ones end with status 2 and a usage line."""
    names = tuple(measurement.name for measurement in ALL)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds; each measures every peer once (default: 9)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each load (default: 5)")
    parser.add_argument("--only", default=",".join(names), help="measurements, of %(default)s")
    parser.add_argument("--peers", default=",".join(PEERS), help="servers, of %(default)s")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the daemon (default: this one)")
    parser.add_argument("--label", default="", help="text for the heading of the report")
    parser.add_argument("--output", default=str(DEFAULT_OUTPUT), help="file, or - (default: benchmarks/RESULTS.md)")
    given = parser.parse_args(arguments)
    if not 1 <= given.rounds <= MAX_ROUNDS:
        parser.error(f"--rounds is 1 to {MAX_ROUNDS}")
    if not 1 <= given.seconds <= MAX_SECONDS:
        parser.error(f"--seconds is 1 to {MAX_SECONDS:.0f}")
    only, peers = given.only.split(","), given.peers.split(",")
    for option, asked, known in (("--only", only, names), ("--peers", peers, tuple(PEERS))):
        if unknown := [name for name in asked if name not in known]:
            parser.error(f"{option}: {', '.join(unknown)} is none of {', '.join(known)}")
    measurements = tuple(measurement for measurement in ALL if measurement.name in only)
    return Options(given.rounds, given.seconds, measurements, tuple(peers), given.python, given.label, given.output)


def measure(options: Options, results: Results) -> None:
    """All rounds, into `results` as they come."""
    server_cores, upstream_cores, load_cores = machine.cores_for()
    # This process must not disturb the server under test either.
    os.sched_setaffinity(0, load_cores)
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-") as directory,
        upstream.serving(Path(directory), upstream_cores) as nsd,
    ):
        bench = Bench(Path(directory), nsd, server_cores, load_cores, options.seconds, options.python)
        for number in range(options.rounds):
            begun = time.monotonic()
            for measurement in options.measurements:
                measure_in_turns(bench, measurement, rotated(options.peers, number), results)
            say(f"round {number + 1} of {options.rounds}: {time.monotonic() - begun:.0f} s")


def measure_in_turns(bench: Bench, measurement: Measurement, peers: Sequence[str], results: Results) -> None:
    """One measurement of each peer."""
    for name in peers:
        if name in measurement.peers:
            try:
                sample = measurement.measure(bench, PEERS[name])
            except BenchmarkError as error:
                # A machine that others use too stumbles now and then; a peer that cannot do it fails again.
                say(f"{measurement.name} of {name}, once more after: {error}")
                results.repeated += 1
                sample = measurement.measure(bench, PEERS[name])
            results.add(measurement.name, name, sample)
            figures = "  ".join(f"{figure} {value:,.4g}" for figure, value in sample.items())
            say(f"{measurement.name:11}{name:10}{figures}")


def rotated(peers: Sequence[str], number: int) -> Sequence[str]:
    """Who goes first changes from round to round."""
    first = number % len(peers)
    return (*peers[first:], *peers[:first])


def _run_line(options: Options, results: Results) -> str:
    rounds = max(len(samples) for samples in results.samples.values())
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return (
        f"{today}, {rounds} rounds in turn ({options.rounds} asked for), {options.seconds:g} s per load, "
        f"{results.repeated} measurements made a second time"
    )


def write(text: str, output: str) -> None:
    """The report, where it was asked for."""
    if output == "-":
        sys.stdout.write(text)
    else:
        Path(output).write_text(text)
        say(f"written to {output}")


def say(line: str) -> None:
    """Progress and problems, for whoever watches."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
