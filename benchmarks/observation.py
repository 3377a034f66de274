"""What observation costs: the daemon beside itself with observation compiled out, and with the names asked most turned off.

The three run at one time on the server's core and are asked in turns, a second or less each, so that whatever the machine does
it does to all. Always holds: the one without observation has counted nothing at the end, and the others every answer.
"""

import contextlib
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks import load, peers, processes
from benchmarks.measurements import Bench, Measurement, Sample, warm_with_hits
from benchmarks.peers import DAEMON, PEERS, Peer, Place, Server
from benchmarks.processes import BenchmarkError

TURN_SECONDS = 1.0
"""As short as dnsperf can."""
COUNTED = "forwarder_responses_total{"


@dataclass(slots=True)
class Cost:
    """What one of them has used so far."""

    seconds: float = 0.0
    """CPU time, user and system, of all its processes."""
    answers: int = 0

    @property
    def each(self) -> float:
        """Microseconds per answer."""
        return self.seconds / self.answers * 1e6


def observation(bench: Bench, peer: Peer) -> Sample:
    """CPU time per hit as it is, and how many percent of it go when observation, or the sampling of names, does."""
    variants = {"observed": peer, "nameless": _variant(peer, _without_names), "unobserved": _variant(peer, _unobserved)}
    costs = {name: Cost() for name in variants}
    with contextlib.ExitStack() as running:
        servers = {name: running.enter_context(peers.serving(variant, bench.place())) for name, variant in variants.items()}
        for server in servers.values():
            warm_with_hits(bench, server)
        queries = bench.hit_queries()
        for number in range(max(1, round(bench.seconds / TURN_SECONDS))):
            order = list(servers)
            for name in order[number % 3 :] + order[: number % 3]:
                server, cost = servers[name], costs[name]
                family = processes.family(server.process.pid)
                before = processes.cpu_seconds(family)
                ask = replace(bench.load(server, queries), seconds=TURN_SECONDS)
                cost.answers += load.dnsperf(ask).answers
                cost.seconds += processes.cpu_seconds(family) - before
        for name, server in servers.items():
            if (_counted(server) >= costs[name].answers) != (name != "unobserved"):
                raise BenchmarkError(f"{name}: {_counted(server)} answers were counted of {costs[name].answers}")
    whole = costs["observed"].each
    return {
        "cpu_us": whole,
        "cost": 1 - costs["unobserved"].each / whole,
        "names_cost": 1 - costs["nameless"].each / whole,
    }


def _variant(peer: Peer, change: Callable[[list[str], Place], list[str]]) -> Peer:
    """The same, its command line changed."""
    return replace(peer, command=lambda place: change(peer.command(place), place))


def _without_names(command: list[str], place: Place) -> list[str]:
    configuration = place.directory / "forwarder.yaml"
    configuration.write_text(configuration.read_text().replace("observe: {", "observe: {top_names: false, "))
    return command


def _unobserved(command: list[str], place: Place) -> list[str]:
    *_, configuration = _without_names(command, place)
    return [place.python, "-m", "benchmarks.unobserved", configuration]


def _counted(server: Server) -> float:
    """Answers that the daemon's metrics know of."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(COUNTED))


OBSERVATION = Measurement("observation", observation, frozenset((PEERS[DAEMON].name,)))
