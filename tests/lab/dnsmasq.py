"""A real peer: dnsmasq, caching for a namespace what one server says.

Always holds: it asks that server and nobody else, reads no file of the host's, and ends with its `with`.
"""

import subprocess
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import dns.message

from tests.lab.clients import Address, UdpClient
from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program

_START_SECONDS = 10.0
_PROBE_SECONDS = 0.1


class Dnsmasq:
    """Listens at an address of the namespace, on port 53."""

    def __init__(self, namespace: Namespace, host: str, upstream: str) -> None:
        self._namespace = namespace
        self.server: Address = (host, 53)
        self._command = [
            needs_program("dnsmasq"),
            *("-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file", "--log-facility=/dev/null"),
            *(f"--listen-address={host}", "--bind-interfaces", f"--server={upstream}", "--cache-size=1000"),
        ]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._namespace.command(*self._command))
        try:
            self._wait_until_answering()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def _wait_until_answering(self) -> None:
        """It knows by itself what version it is (class CHAOS)."""
        until = time.monotonic() + _START_SECONDS
        probe = dns.message.make_query("version.bind.", "TXT", "CH")
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"dnsmasq left with status {self._process.returncode}")
            with self._namespace.inside(), suppress(OSError), UdpClient(self.server) as client:
                client.send(probe)
                if client.receive_octets(seconds=_PROBE_SECONDS) is not None:
                    return
            time.sleep(0.02)
        raise RuntimeError("dnsmasq does not answer")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
