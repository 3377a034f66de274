"""The upstream of all peers: one nsd on loopback, UDP and TCP, which also counts what reached it.

Always holds: its rate limiting is off and its TCP connections are not cut short, so that it limits nobody.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import probing, questions
from benchmarks.processes import output_of, pinned, program, running

CONFIGURATION = """\
server:
    ip-address: 127.0.0.1
    port: {port}
    server-count: 1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{directory}"
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    zonelistfile: "{directory}/zone.list"
    xfrdir: "{directory}"
    do-ip6: no
    minimal-responses: yes
    tcp-count: 1000
    tcp-query-count: 0
    tcp-timeout: 120
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: yes
    control-interface: "{directory}/nsd.sock"
"""
ZONE = 'zone:\n    name: "{zone}"\n    zonefile: "{zone}.zone"\n'


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running nsd."""

    port: int
    configuration: Path
    cores: tuple[int, ...]

    def counts(self) -> dict[str, int]:
        """Queries since it started: `num.udp`, `num.tcp`, `num.type.A` ..."""
        command = [program("nsd-control"), "-c", str(self.configuration), "stats_noreset"]
        pairs = (line.partition("=") for line in output_of(pinned(command, self.cores)).splitlines())
        return {key: int(value) for key, _, value in pairs if value.isdecimal()}


@contextlib.contextmanager
def serving(directory: Path, cores: tuple[int, ...]) -> Iterator[Upstream]:
    """An nsd with the zones of `questions`, its files in `directory`, until the block is left."""
    home = directory / "nsd"
    home.mkdir()
    port = probing.free_port()
    text = CONFIGURATION.format(port=port, directory=home)
    for zone, master_file in questions.zones().items():
        (home / f"{zone}.zone").write_text(master_file)
        text += ZONE.format(zone=zone)
    configuration = home / "nsd.conf"
    configuration.write_text(text)
    command = [program("nsd"), "-d", "-c", str(configuration)]
    log = home / "log"
    with running(command, cores=cores, log=log) as process:
        probing.first_answer(port, process, log)
        yield Upstream(port, configuration, cores)
