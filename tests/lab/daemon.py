"""The daemon under test, started as an operator starts it, and looked at from outside.

Always holds: leaving the `with` ends it by SIGTERM; that it then left with exit status 0 and printed no traceback is part
of every scenario.
"""

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.message
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.clients import HANG, Address, ask_tcp
from tests.lab.namespaces import Namespace
from tests.lab.ports import free_port

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 15.0
"""Far above the half second it may take, for machines that are busy otherwise."""
_DRAIN_SECONDS = 8.0
_DNS_PORT = 53
_METRICS_PORT = 9253


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the daemon's HTTP side."""

    status: int
    content_type: str
    text: str


def run_to_end(*arguments: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run `forwarder` with these arguments and wait for its end; `before`: a program that changes what it may do."""
    command = [*before, sys.executable, "-m", "forwarder", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=HANG, check=False)


class InDirectory:
    """A daemon with a directory of its own, for what it prints and for its control socket."""

    _directory: Path

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return (self._directory / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """What it has complained of so far."""
        return (self._directory / "stderr").read_text()

    @property
    def control(self) -> str:
        """The path of its control socket, where the configuration names no other."""
        return str(self._directory / "control.sock")


class Daemon(InDirectory):
    """`forwarder run` with this configuration (YAML text), or without a file and with these arguments.

    Addresses that the configuration leaves out become free ports of `hosts`; in a namespace, port 53 and the default port
    of the metrics. `before`: a program that changes what it may do.
    """

    _inherited: tuple[int, ...] = ()
    """Descriptors that the process has from its start."""

    def __init__(
        self,
        config: str | None = None,
        *,
        arguments: Sequence[str] = (),
        hosts: tuple[str, ...] = ("127.0.0.1",),
        namespace: Namespace | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self._namespace = namespace
        self._before = before
        self._arguments = list(arguments)
        port = free_port() if namespace is None else _DNS_PORT
        self.servers: list[Address] = [(host, port) for host in hosts]
        self._http: Address = ("127.0.0.1", free_port() if namespace is None else _METRICS_PORT)
        self._config = None if config is None else self._completed(yaml.safe_load(config) or {})
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> Address:
        """Where to ask: the first address it listens on."""
        return self.servers[0]

    @property
    def http(self) -> Address:
        """Where its pages are."""
        return self._http

    @property
    def url(self) -> str:
        """Its status page."""
        return f"http://{self._http[0]}:{self._http[1]}/"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        if self._process is None:
            raise RuntimeError("the daemon was not started: use it in a `with`")
        return self._process

    @property
    def config_file(self) -> str:
        """The path of its configuration, where it was given one."""
        return str(self._directory / "config.yaml")

    def rewrite(self, config: str) -> None:
        """Another configuration (YAML text) in the same file, with the same addresses where it leaves them out."""
        self._write(self._completed(yaml.safe_load(config) or {}))

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="forwarder-"))
        command = [*self._before, sys.executable, "-m", "forwarder", "run", *self._arguments]
        if self._config is not None:
            self._write(self._config)
            command += ["--config", self.config_file]
        if self._namespace is not None:
            command = self._namespace.command(*command)
        self._process = self._spawned(command)
        try:
            self._wait_until_answering()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            status = self.stop()
            complaints = self.stderr
            if kind is not None:
                sys.stderr.write(f"--- stdout of the daemon\n{self.stdout}--- stderr of the daemon\n{complaints}")
            else:
                assert status == 0, f"exit status {status} after SIGTERM; stderr: {complaints}"
                assert "Traceback" not in complaints, complaints
        finally:
            self._clear()

    def stop(self) -> int:
        """End it by SIGTERM, if it still runs; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_DRAIN_SECONDS)

    def workers(self) -> list[int]:
        """Process numbers of the supervisor's children."""
        pid = self.process.pid
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def worker(self) -> int:
        """The process number of the one worker."""
        (pid,) = self.workers()
        return pid

    def worker_resident(self) -> int:
        """Octets of memory the worker holds (RSS)."""
        pages = int(Path(f"/proc/{self.worker()}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def proportional(self) -> int:
        """Octets of memory that the supervisor and its workers account for together (PSS)."""
        texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (self.process.pid, *self.workers()))
        lines = (line.split() for text in texts for line in text.splitlines())
        return sum(int(words[1]) * 1024 for words in lines if words[0] == "Pss:")

    def worker_descriptors(self) -> int:
        """How many files and sockets the worker has open."""
        return sum(1 for _ in Path(f"/proc/{self.worker()}/fd").iterdir())

    def page(self, path: str, *, method: str = "GET") -> Page:
        """A page of the HTTP side."""
        with self._inside():
            connection = http.client.HTTPConnection(*self._http, timeout=HANG)
            try:
                connection.request(method, path)
                response = connection.getresponse()
                text = response.read().decode()
            finally:
                connection.close()
        return Page(response.status, response.getheader("content-type", ""), text)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels; 0 when there are none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.page("/metrics").text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _completed(self, config: dict[str, Any]) -> dict[str, Any]:
        addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.servers]
        host, port = self._http
        return config | {
            "listen": {"addresses": addresses} | config.get("listen", {}),
            "observe": {"http": f"{host}:{port}"} | config.get("observe", {}),
        }

    def _write(self, config: dict[str, Any]) -> None:
        """In place of the file, at once: whoever reads it finds the old one or the new one."""
        fresh = self._directory / "config.yaml.fresh"
        fresh.write_text(yaml.safe_dump(config | {"observe": {"control": self.control} | config["observe"]}))
        fresh.replace(self.config_file)

    def _wait_until_answering(self) -> None:
        """Over TCP, and class CHAOS: refused without asking anybody, also to clients that are not allowed."""
        probe = dns.message.make_query("id.server.", "TXT", "CH")
        host, port = self.server
        target = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon left with status {self.process.returncode}: {self.stderr}{self.stdout}")
            with suppress(OSError), self._inside():
                ask_tcp(target, probe)
                return
            time.sleep(0.02)
        raise RuntimeError(f"the daemon does not answer on {target}: {self.stderr}{self.stdout}")

    def _inside(self) -> AbstractContextManager[None]:
        return nullcontext() if self._namespace is None else self._namespace.inside()

    def _spawned(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """The process, in a session of its own; what it prints goes behind what was printed before."""
        with (self._directory / "stdout").open("ab") as out, (self._directory / "stderr").open("ab") as err:
            return subprocess.Popen(
                command, cwd=PROJECT, stdout=out, stderr=err, start_new_session=True, pass_fds=self._inherited
            )

    def _clear(self) -> None:
        """Whatever is left of it: the session it was started in has no process but its own."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
