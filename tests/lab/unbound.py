"""A real recursive server that serves DNS over TLS: unbound, answering from the records a test writes down.

Always holds: it listens on a free port of 127.0.0.1, asks nobody, keeps its files in a directory of its own, and ends with its
`with`.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.needs import needs_program
from tests.lab.ports import free_port

_START_SECONDS = 10.0
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
    module-config: "iterator"
    local-zone: "real.test." static
"""


class Unbound:
    """`keys`: the files of its key and its certificates. `records`: each in quotes, all below real.test."""

    def __init__(self, keys: tuple[Path, Path], records: Sequence[str]) -> None:
        self._program = needs_program("unbound")
        self._keys = keys
        self._records = records
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="unbound-"))
        key, certificate = self._keys
        text = _CONFIG.format(port=self._port, key=key, certificate=certificate, directory=self._directory)
        config = self._directory / "unbound.conf"
        config.write_text(text + "".join(f"    local-data: {record}\n" for record in self._records))
        self._process = subprocess.Popen([self._program, "-d", "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            self._wait_until_listening()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def _wait_until_listening(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"unbound left with status {self._process.returncode}")
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", self._port)):
                return
            time.sleep(0.02)
        raise RuntimeError("unbound does not listen")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
