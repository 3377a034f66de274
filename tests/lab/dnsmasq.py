"""A real peer: dnsmasq, caching what one server says, or as a file of a test says; it reads no file of the host's."""

from pathlib import Path

import dns.message

from tests.lab.clients import Address
from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program
from tests.lab.real_server import RealServer


class Dnsmasq(RealServer):
    """Listens at an address of the namespace, on port 53."""

    def __init__(self, namespace: Namespace, host: str, upstream: str) -> None:
        super().__init__((host, 53), namespace=namespace)
        self._program = needs_program("dnsmasq")
        self._upstream = upstream

    def command(self, directory: Path) -> list[str]:
        """All of it: there is no file."""
        return [
            self._program,
            *("-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file"),
            *(f"--log-facility={directory}/log", f"--listen-address={self.server[0]}", "--bind-interfaces"),
            *(f"--server={self._upstream}", "--cache-size=1000"),
        ]

    def probe(self) -> dns.message.Message:
        """Its version, which it knows by itself (class CHAOS)."""
        return dns.message.make_query("version.bind.", "TXT", "CH")


class ConfiguredDnsmasq(RealServer):
    """By a file, which says all but where it listens."""

    def __init__(self, server: Address, file: Path) -> None:
        super().__init__(server)
        self._program = needs_program("dnsmasq")
        self._file = file

    def command(self, directory: Path) -> list[str]:
        """The file, and what is not about names."""
        host, port = self.server
        return [
            *(self._program, "-k", "-C", str(self._file), "--user=root", "--pid-file", "--bind-interfaces"),
            *(f"--log-facility={directory}/log", f"--listen-address={host}", f"--port={port}"),
        ]

    def probe(self) -> dns.message.Message:
        """Its version, which it knows by itself (class CHAOS)."""
        return dns.message.make_query("version.bind.", "TXT", "CH")
