"""A supervisor as a process, with a stand-in for the worker, its configuration in a file that the test rewrites.

Always holds: whatever the test does to it, the process is gone with the `with`; its workers follow it.
"""

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from forwarder import config as settings
from forwarder import workers
from forwarder.config import Config, Hosts, Listen, ObserveSettings, Zone
from tests.lab import stand_in
from tests.lab.clients import Address
from tests.lab.daemon import InDirectory
from tests.lab.ports import free_port

START = """
import pathlib, sys
import msgspec
from forwarder import config, errors, succession, supervisor, workers
from forwarder.observe import pages
async def broken(*_):
    raise RuntimeError("a defect")
if sys.argv[1] == "broken pages":
    pages.serve = broken
elif sys.argv[1] == "short link":
    workers.link_capacity = lambda: 100
file = pathlib.Path(sys.argv[2])
def read():
    try:
        return config.from_json(file.read_bytes())
    except msgspec.DecodeError as error:
        raise errors.ConfigError((errors.Problem(str(file), str(error)),))
sys.exit(supervisor.run(read(), succession.Source(read, sys.argv[2]), program=sys.argv[3:]))
"""
SECONDS = 20
NEVER_SERVES = (sys.executable, "-c", "import time; time.sleep(100)")


def eventually(true: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""
    until = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < until, "not within 20 s"
        time.sleep(0.01)


def listening(address: str) -> bool:
    try:
        socket.create_connection(settings.split_address(address), timeout=SECONDS).close()
    except (ConnectionRefusedError, ConnectionResetError):  # it ends, where it ends at once
        return False
    return True


def configured(*, files: tuple[str, ...] = (), upstreams: tuple[str, ...] = ("192.0.2.1:53",)) -> Config:
    return Config(
        zones=(Zone(zone=".", upstreams=upstreams),),
        listen=Listen(addresses=(f"127.0.0.1:{free_port()}",)),
        hosts=Hosts(records={"hello.test": ("192.0.2.7",)}, files=files),
        observe=ObserveSettings(http=f"127.0.0.1:{free_port()}"),
    )


class Running(InDirectory):
    """A supervisor that runs, seen from outside."""

    def __init__(self, config: Config, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.config = config
        self.process = process
        self._directory = directory

    @property
    def server(self) -> Address:
        """Where it listens."""
        return settings.split_address(self.config.listen.addresses[0])

    def ask(self, text: bytes = b"?") -> tuple[int, int]:
        """The stand-in's pid and its number of pinned records."""
        told = stand_in.ask(self.server, text)
        return told.pid, told.records

    def tell(self, text: bytes) -> None:
        stand_in.tell(self.server, text)

    def reload(self, config: Config, *, says: str = "configuration reloaded") -> None:
        """Another configuration in the same file, with the same control socket; SIGHUP, and wait for what it says."""
        written(self._directory, config)
        lines = self.stderr.count(says)
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.stderr.count(says) > lines)

    def health(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        return json.loads(self.page("/health")[1])

    def page(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*settings.split_address(self.config.observe.http), timeout=SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def written(directory: Path, config: Config) -> Path:
    """The file with this configuration, its control socket in the same directory."""
    observe = msgspec.structs.replace(config.observe, control=str(directory / "control.sock"))
    fresh, file = directory / "config.json.fresh", directory / "config.json"
    fresh.write_bytes(settings.to_json(msgspec.structs.replace(config, observe=observe)))
    return fresh.replace(file)


@contextlib.contextmanager
def running(
    config: Config, directory: Path, program: Sequence[str] = stand_in.PROGRAM, *, mode: str = "", stdout: int | None = None
) -> Iterator[Running]:
    file = written(directory, config)
    with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
        command = [sys.executable, "-c", START, mode, str(file), *program]
        given = out if stdout is None else stdout
        process = subprocess.Popen(command, stdout=given, stderr=err, env=workers.environment())
    try:
        eventually(lambda: listening(config.observe.http) or process.poll() is not None)
        yield Running(config, directory, process)
    finally:
        process.kill()
        process.wait()


def changed(config: Config, **settings: float) -> Config:
    """With other settings under `answering`."""
    return msgspec.structs.replace(config, answering=msgspec.structs.replace(config.answering, **settings))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_ended(pid: int) -> bool:
    """Whether a process is gone, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], SECONDS)[0])
    finally:
        os.close(descriptor)
