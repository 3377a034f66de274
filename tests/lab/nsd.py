"""A real authoritative server: nsd with the zones a test writes down."""

from collections.abc import Mapping
from pathlib import Path

import dns.message

from tests.lab.clients import query
from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program
from tests.lab.ports import free_port
from tests.lab.real_server import RealServer

_CONFIG = """\
server:
    ip-address: {host}@{port}
    server-count: 1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{directory}"
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    zonelistfile: "{directory}/zone.list"
    logfile: "{directory}/log"
    rrl-ratelimit: 0
    hide-version: yes
remote-control:
    control-enable: no
"""


class Nsd(RealServer):
    """nsd on `host`, a free port of it, or port 53 inside a namespace. `zones`: name -> text of the zone file."""

    def __init__(self, zones: Mapping[str, str], *, host: str = "127.0.0.1", namespace: Namespace | None = None) -> None:
        super().__init__((host, free_port(host) if namespace is None else 53), namespace=namespace)
        self._program = needs_program("nsd")
        self._zones = dict(zones)

    def command(self, directory: Path) -> list[str]:
        """With a file for each zone."""
        text = _CONFIG.format(host=self.server[0], port=self.server[1], directory=directory)
        for number, (zone, records) in enumerate(self._zones.items()):
            (directory / f"zone{number}").write_text(records)
            text += f'zone:\n    name: "{zone}"\n    zonefile: "zone{number}"\n'
        config = directory / "nsd.conf"
        config.write_text(text)
        return [self._program, "-d", "-c", str(config)]

    def probe(self) -> dns.message.Message:
        """The SOA of its first zone."""
        return query(next(iter(self._zones)), "SOA")
