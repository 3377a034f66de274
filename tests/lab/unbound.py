"""A real recursive server that serves DNS over TLS: unbound, answering from the records a test writes down; it asks nobody."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import dns.message

from tests.lab.clients import query
from tests.lab.needs import needs_program
from tests.lab.ports import free_port
from tests.lab.real_server import RealServer

_CONFIG = """\
server:
    interface: 127.0.0.1@{port}
    tls-port: {port}
    tls-service-key: "{key}"
    tls-service-pem: "{certificate}"
    directory: "{directory}"
    pidfile: "{directory}/unbound.pid"
    username: ""
    chroot: ""
    use-syslog: no
    logfile: "{directory}/log"
    module-config: "iterator"
    local-zone: "real.test." static
"""


class Unbound(RealServer):
    """On a free port of 127.0.0.1. `keys`: the files of its key and its certificates. `records`: each in quotes."""

    def __init__(self, keys: tuple[Path, Path], records: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", free_port()))
        self._program = needs_program("unbound")
        self._keys = keys
        self._records = records

    def command(self, directory: Path) -> list[str]:
        """With its configuration in a file."""
        key, certificate = self._keys
        text = _CONFIG.format(port=self.server[1], key=key, certificate=certificate, directory=directory)
        config = directory / "unbound.conf"
        config.write_text(text + "".join(f"    local-data: {record}\n" for record in self._records))
        return [self._program, "-d", "-c", str(config)]

    def probe(self) -> dns.message.Message:
        """Nobody asks it over UDP: it is enough that it listens."""
        return query("real.test")

    def is_answering(self) -> bool:
        """Whether it takes connections: no answer comes without TLS."""
        with suppress(ConnectionError), socket.create_connection(self.server):
            return True
        return False
