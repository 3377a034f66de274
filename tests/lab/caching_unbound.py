"""The peer that answers from memory as fast as anything does: unbound, forwarding everything, in a namespace.

One thread, no DNSSEC, nothing logged, a cache that holds all that a test asks. Always holds: it ends with its `with`, and keeps
its files in a directory of its own.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.clients import UdpClient, query
from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program

_START_SECONDS = 10.0
_PROBE_SECONDS = 0.1
_CONFIG = """\
server:
    interface: {host}
    access-control: 0.0.0.0/0 allow
    module-config: "iterator"
    do-ip6: no
    num-threads: 1
    do-not-query-localhost: no
    local-zone: "local." nodefault
    domain-insecure: "local."
    directory: "{directory}"
    pidfile: ""
    username: ""
    chroot: ""
    use-syslog: no
    logfile: "{directory}/log"
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {upstream}
"""


class CachingUnbound:
    """On port 53 of `host` in the namespace, asking `upstream`. `before`: a program that changes where or how it runs."""

    def __init__(self, host: str, upstream: str, *, namespace: Namespace, before: Sequence[str] = ()) -> None:
        self._program = needs_program("unbound")
        self._host, self._upstream, self._namespace, self._before = host, upstream, namespace, before

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="unbound-"))
        config = self._directory / "unbound.conf"
        config.write_text(_CONFIG.format(host=self._host, upstream=self._upstream, directory=self._directory))
        command = self._namespace.command(*self._before, self._program, "-d", "-c", str(config))
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            self._wait_until_answering()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def _wait_until_answering(self) -> None:
        with self._namespace.inside():
            client = UdpClient((self._host, 53))
        until = time.monotonic() + _START_SECONDS
        with client:
            while time.monotonic() < until and self._process.poll() is None:
                with suppress(ConnectionRefusedError):
                    client.send(query("localhost"))
                    if client.receive(seconds=_PROBE_SECONDS) is not None:
                        return
                time.sleep(0.02)
        log = self._directory / "log"
        raise RuntimeError(f"unbound does not answer on {self._host}: {log.read_text() if log.exists() else 'no log'}")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
