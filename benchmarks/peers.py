"""The servers that are compared, each a command and a configuration.

Fair means: one thread of work, the same 32 MiB where a budget can be set, caching on, no DNSSEC, no logging of queries,
and of dnsmasq as many entries and queries in progress as the loads need.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import probing
from benchmarks.processes import output_of, program, running

DAEMON = "forwarder"
"""The daemon under test; every other peer is a command that somebody else wrote, or the echo."""
UNBOUND_CONFIGURATION = """\
server:
    module-config: "iterator"
    interface: 127.0.0.1
    port: {port}
    do-ip6: no
    num-threads: 1
    msg-cache-size: 16m
    rrset-cache-size: 16m
    do-daemonize: no
    do-not-query-localhost: no
    local-zone: "local." nodefault
    domain-insecure: "local."
    domain-insecure: "example."
    tcp-upstream: {tcp_upstream}
    chroot: ""
    username: ""
    directory: "{directory}"
    pidfile: ""
    use-syslog: no
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
"""
DAEMON_CONFIGURATION = """\
listen: {{addresses: ["127.0.0.1:{port}"], workers: {workers}}}
zones: [{{zone: ., upstreams: ["127.0.0.1:{upstream}"], transport: {transport}}}]
observe: {{http: "127.0.0.1:{http}", control: "{directory}/control.sock"}}
cache: {{memory: 32MiB}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how one server is to run."""

    directory: Path
    """For its files; made anew for each start."""
    cores: tuple[int, ...]
    upstream: int
    """Port of the upstream on 127.0.0.1."""
    transport: str = "udp"
    """Of the queries to the upstream."""
    python: str = sys.executable
    """Interpreter that runs the daemon under test."""
    workers: int = 1
    """Of the daemon; the peers have one thread of work."""
    port: int = field(default_factory=probing.free_port)
    http: int = field(default_factory=probing.free_port)
    """Port for the daemon's /metrics."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One of the servers that are compared."""

    name: str
    command: Callable[[Place], list[str]]
    """Writes what configuration it needs and gives the command line."""
    transports: tuple[str, ...]
    """How it can ask an upstream; none: it asks nobody."""


@dataclass(frozen=True, slots=True)
class Server:
    """A peer that runs and has answered."""

    process: subprocess.Popen[bytes]
    port: int
    http: int
    start_seconds: float
    """From exec to the first answer."""


def _daemon_command(place: Place) -> list[str]:
    configuration = place.directory / "forwarder.yaml"
    configuration.write_text(
        DAEMON_CONFIGURATION.format(
            port=place.port,
            workers=place.workers,
            upstream=place.upstream,
            transport=place.transport,
            http=place.http,
            directory=place.directory,
        )
    )
    return [place.python, "-m", "forwarder", "run", "--config", str(configuration)]


def _unbound_command(place: Place) -> list[str]:
    configuration = place.directory / "unbound.conf"
    tcp_upstream = "yes" if place.transport == "tcp" else "no"
    configuration.write_text(
        UNBOUND_CONFIGURATION.format(
            port=place.port, upstream=place.upstream, tcp_upstream=tcp_upstream, directory=place.directory
        )
    )
    return [program("unbound"), "-d", "-p", "-c", str(configuration)]


def _dnsmasq_command(place: Place) -> list[str]:
    return [
        program("dnsmasq"),
        *("-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file", "--log-facility=-"),
        *("--listen-address=127.0.0.1", "--bind-interfaces", f"--port={place.port}"),
        *(f"--server=127.0.0.1#{place.upstream}", "--cache-size=10000", "--dns-forward-max=1000"),
    ]


def _echo_command(place: Place) -> list[str]:
    binary = place.directory.parent / "echo"
    if not binary.exists():
        source = Path(__file__).with_name("echo.c")
        output_of([program("gcc"), "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)])
    return [str(binary), str(place.port)]


PEERS = {
    peer.name: peer
    for peer in (
        Peer(DAEMON, _daemon_command, ("udp", "tcp")),
        Peer("unbound", _unbound_command, ("udp", "tcp")),
        Peer("dnsmasq", _dnsmasq_command, ("udp",)),
        Peer("echo", _echo_command, ()),
    )
}


@contextlib.contextmanager
def serving(peer: Peer, place: Place) -> Iterator[Server]:
    """The peer, started and with its first answer given, until the block is left."""
    place.directory.mkdir(parents=True, exist_ok=True)
    command = peer.command(place)
    log = place.directory / "log"
    begun = time.monotonic()
    with running(command, cores=place.cores, log=log) as process:
        seconds = probing.first_answer(place.port, process, log, since=begun)
        yield Server(process, place.port, place.http, seconds)
