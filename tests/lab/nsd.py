"""A real authoritative server: nsd with the zones a test writes down.

Always holds: it listens on one address of the test's, keeps its files in a directory of its own, and ends with its `with`.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.clients import Address, UdpClient, query
from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program
from tests.lab.ports import free_port

_START_SECONDS = 10.0
_PROBE_SECONDS = 0.1
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
    logfile: "{directory}/nsd.log"
    rrl-ratelimit: 0
    hide-version: yes
remote-control:
    control-enable: no
"""


class Nsd:
    """nsd on `host`, a free port of it, or port 53 inside a namespace. `zones`: name -> text of the zone file."""

    def __init__(self, zones: Mapping[str, str], *, host: str = "127.0.0.1", namespace: Namespace | None = None) -> None:
        self._program = needs_program("nsd")
        self._zones = dict(zones)
        self._namespace = namespace
        self.server: Address = (host, free_port(host) if namespace is None else 53)

    @property
    def address(self) -> str:
        """`127.0.0.1:5301`, as the configuration wants it."""
        return f"{self.server[0]}:{self.server[1]}"

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="nsd-"))
        text = _CONFIG.format(host=self.server[0], port=self.server[1], directory=self._directory)
        for number, (zone, records) in enumerate(self._zones.items()):
            (self._directory / f"zone{number}").write_text(records)
            text += f'zone:\n    name: "{zone}"\n    zonefile: "zone{number}"\n'
        config = self._directory / "nsd.conf"
        config.write_text(text)
        command = [self._program, "-d", "-c", str(config)]
        if self._namespace is not None:
            command = self._namespace.command(*command)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait_until_answering()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def _wait_until_answering(self) -> None:
        probe = query(next(iter(self._zones)), "SOA")
        with nullcontext() if self._namespace is None else self._namespace.inside():
            client = UdpClient(self.server)
        until = time.monotonic() + _START_SECONDS
        with client:
            while time.monotonic() < until and self._process.poll() is None:
                try:
                    client.send(probe)
                    if client.receive(seconds=_PROBE_SECONDS) is not None:
                        return
                except ConnectionRefusedError:
                    time.sleep(0.02)
        log = self._directory / "nsd.log"
        msg = f"nsd does not answer on {self.address}: {log.read_text() if log.exists() else 'no log'}"
        raise RuntimeError(msg)

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
