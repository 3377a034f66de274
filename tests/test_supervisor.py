"""The parent as a process: what it prints, what it survives, how it ends; with a stand-in for the worker."""

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from forwarder import config as settings
from forwarder import link, supervisor, watching, workers
from forwarder.config import Config, Hosts, Listen, ObserveSettings, Zone
from forwarder.errors import ListenError
from tests.lab.ports import free_port
from tests.test_workers import PROGRAM

START = """
import sys
from forwarder import config, supervisor, workers
from forwarder.observe import pages
async def broken(*_):
    raise RuntimeError("a defect")
if sys.argv[1] == "broken pages":
    pages.serve = broken
elif sys.argv[1] == "short link":
    workers.link_capacity = lambda: 100
sys.exit(supervisor.run(config.from_json(sys.stdin.buffer.read()), program=sys.argv[2:]))
"""
SECONDS = 20
NEVER_SERVES = (sys.executable, "-c", "import socket, sys; socket.socket(fileno=int(sys.argv[-1])).recv(1 << 22); input()")


def eventually(true: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""
    until = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < until, "not within 20 s"
        time.sleep(0.01)


def listening(address: str) -> bool:
    try:
        socket.create_connection(settings.split_address(address), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


def configured(*, files: tuple[str, ...] = (), upstreams: tuple[str, ...] = ("192.0.2.1:53",)) -> Config:
    return Config(
        zones=(Zone(zone=".", upstreams=upstreams),),
        listen=Listen(addresses=(f"127.0.0.1:{free_port()}",)),
        hosts=Hosts(records={"hello.test": ("192.0.2.7",)}, files=files),
        observe=ObserveSettings(http=f"127.0.0.1:{free_port()}"),
    )


class Running:
    """A supervisor that runs, seen from outside."""

    def __init__(self, config: Config, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.config = config
        self.process = process
        self._directory = directory

    @property
    def stdout(self) -> str:
        return (self._directory / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self._directory / "stderr").read_text()

    def ask(self, text: bytes = b"?") -> tuple[int, int]:
        """The stand-in's pid and its number of pinned records."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(SECONDS)
            client.connect(settings.split_address(self.config.listen.addresses[0]))
            client.send(text)
            pid, records = client.recv(512).split()
        return int(pid), int(records)

    def tell(self, text: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(text, settings.split_address(self.config.listen.addresses[0]))

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


@contextlib.contextmanager
def running(
    config: Config, directory: Path, program: tuple[str, ...] = PROGRAM, *, mode: str = "", stdout: int | None = None
) -> Iterator[Running]:
    observe = msgspec.structs.replace(config.observe, control=str(directory / "control.sock"))
    config = msgspec.structs.replace(config, observe=observe)
    with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
        command = [sys.executable, "-c", START, mode, *program]
        given = out if stdout is None else stdout
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=given, stderr=err, env=workers.environment())
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(settings.to_json(config))
    try:
        eventually(lambda: listening(config.observe.http) or process.poll() is not None)
        yield Running(config, directory, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Running]:
    with running(configured(), tmp_path) as started:
        eventually(lambda: "serving" in started.stdout)
        yield started


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


class TestServing:
    def test_it_says_where_it_listens_whom_it_asks_and_what_to_try(self, daemon: Running) -> None:
        (address,) = daemon.config.listen.addresses
        port = address.rpartition(":")[2]
        assert daemon.stdout.splitlines() == [
            "forwarder is serving",
            f"  listens on  {address} (UDP and TCP)",
            "  . asks 192.0.2.1:53 over UDP",
            "  pinned      1 name",
            f"  metrics     http://{daemon.config.observe.http}/metrics",
            f"  try         dig @127.0.0.1 -p {port} hello.test",
        ]
        assert daemon.stderr == ""

    def test_the_worker_has_the_sockets_and_the_pinned_names(self, daemon: Running) -> None:
        pid, records = daemon.ask()
        assert pid != daemon.process.pid
        assert records >= 1

    def test_the_pages_show_the_worker_and_its_counters(self, daemon: Running) -> None:
        pid, _ = daemon.ask()
        assert daemon.page("/ready") == (200, '{"status":"ready"}')
        status, text = daemon.page("/health")
        assert status == 200
        assert json.loads(text)["workers"] == [{"number": 0, "pid": pid, "serving": True, "restarts": 0}]
        _, text = daemon.page("/metrics")
        assert "forwarder_coalesced_total 1.0" in text.splitlines()
        assert "forwarder_workers_restarted_total 0.0" in text.splitlines()
        assert 'forwarder_upstream_up{upstream="192.0.2.1:53"}' in text

    def test_a_worker_that_dies_is_replaced_and_no_query_is_lost(self, daemon: Running) -> None:
        first, _ = daemon.ask()
        daemon.tell(b"die")
        second, _ = daemon.ask()
        assert second != first
        eventually(lambda: f"worker 0 (pid {second}) serving" in daemon.stderr)
        assert daemon.stderr.splitlines() == [
            f"forwarder: worker 0 (pid {first}) ended unasked, exit status 3; starting another one at once",
            f"forwarder: worker 0 (pid {second}) serving",
        ]
        assert "forwarder_workers_restarted_total 1.0" in daemon.page("/metrics")[1].splitlines()
        assert daemon.stdout.count("is serving") == 1

    def test_defect_of_the_pages_leaves_dns_alone(self, tmp_path: Path) -> None:
        with running(configured(), tmp_path, mode="broken pages") as daemon:
            daemon.ask()
            eventually(lambda: "the pages for metrics and health ended, DNS goes on: RuntimeError" in daemon.stderr)
            daemon.ask()
            assert daemon.end() == 0

    def test_nobody_reads_stdout(self, tmp_path: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        with running(configured(), tmp_path, stdout=writing) as daemon:
            os.close(writing)
            daemon.ask()
            assert daemon.end() == 0
            assert daemon.stderr == ""

    def test_no_nameserver_is_said_and_serving_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / "resolv.conf").touch()
        with running(configured(upstreams=(str(tmp_path / "resolv.conf"),)), tmp_path) as daemon:
            daemon.ask()
            eventually(lambda: "serving" in daemon.stdout)
            assert f"  . asks nobody (from {tmp_path}/resolv.conf)" in daemon.stdout.splitlines()
            assert daemon.stderr.startswith(f"forwarder: zone .: {tmp_path}/resolv.conf names no nameserver; write ")

    def test_a_worker_that_never_serves_is_seen_by_the_probes(self, tmp_path: Path) -> None:
        with running(configured(), tmp_path, NEVER_SERVES) as daemon:
            assert daemon.page("/health")[0] == 503
            assert daemon.page("/ready") == (503, '{"status":"not ready"}')
            assert daemon.stdout == ""

    def test_a_worker_that_cannot_start_is_status_1(self, tmp_path: Path) -> None:
        with running(configured(), tmp_path, (sys.executable, "-c", "raise SystemExit(9)")) as daemon:
            assert daemon.process.wait(SECONDS) == 1
            assert daemon.stdout == ""
            assert daemon.stderr.splitlines()[-1].endswith("exit status 9; none of 5 ever served, giving up")


class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_drains_the_worker_and_is_status_0(self, daemon: Running, number: signal.Signals) -> None:
        pid, _ = daemon.ask()
        assert daemon.end(number) == 0
        assert has_ended(pid)
        assert daemon.stderr == ""

    def test_a_worker_that_does_not_leave_is_killed(self, daemon: Running) -> None:
        pid, _ = daemon.ask(b"ignore drain")
        assert daemon.end() == 0
        assert has_ended(pid)
        assert daemon.stderr == "forwarder: worker 0 did not end within 2.8 s: killed\n"

    def test_a_second_signal_does_not_wait(self, daemon: Running) -> None:
        pid, _ = daemon.ask(b"ignore drain")
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: not listening(daemon.config.observe.http))  # the first one has arrived
        assert daemon.end() == 0
        assert has_ended(pid)
        assert daemon.stderr == ""

    def test_sighup_is_answered_and_survived(self, daemon: Running) -> None:
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: daemon.stderr != "")
        assert daemon.stderr == "forwarder: reload is not available in this version: restart to read the configuration again\n"
        daemon.ask()

    def test_the_worker_follows_a_supervisor_that_is_killed(self, daemon: Running) -> None:
        pid, _ = daemon.ask()
        daemon.end(signal.SIGKILL)
        assert has_ended(pid)

    def test_sockets_are_free_afterwards(self, daemon: Running, tmp_path: Path) -> None:
        daemon.page("/ready")
        daemon.end()
        with running(daemon.config, tmp_path) as again:
            again.ask()
            assert again.page("/health")[0] == 200


class TestHostsFiles:
    def test_a_change_reaches_the_worker_and_a_broken_file_changes_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "hosts"
        file.write_text("192.0.2.8 eight.test\n")
        with running(configured(files=(str(file),)), tmp_path) as daemon:
            _, before = daemon.ask()
            file.write_text("192.0.2.8 eight.test\n192.0.2.9 nine.test\n")
            eventually(lambda: daemon.ask()[1] > before)
            _, after = daemon.ask()
            file.write_text("999.0.2.9 nine.test\n")
            eventually(lambda: "pinned names stay as they were" in daemon.stderr)
            lines = daemon.stderr.splitlines()
            assert lines[0] == f"forwarder: {file} changed"
            assert lines[1] == f"forwarder: hosts files read: {after} pinned records"
            assert lines[3].startswith(f"forwarder: {file}:1: ")
            daemon.tell(b"die")
            assert daemon.ask()[1] == after  # a new worker begins with what was last good


class TestResolvConf:
    def test_a_change_reaches_the_worker_and_the_figures(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 192.0.2.1\n")
        with running(configured(upstreams=(str(file),)), tmp_path) as daemon:
            eventually(lambda: "serving" in daemon.stdout)
            file.write_text("nameserver 192.0.2.2\n")
            marked = 'forwarder_mismatched_responses_total{upstream="192.0.2.2:53"} 1.0'
            eventually(lambda: marked in daemon.page("/metrics")[1].splitlines())
            assert daemon.stderr == f"forwarder: zone . asks 192.0.2.2:53 from now on ({file} changed)\n"
            lines = daemon.page("/metrics")[1].splitlines()
            assert 'forwarder_mismatched_responses_total{upstream="192.0.2.1:53"} 0.0' in lines
            gauges = [line.partition(" ")[0] for line in lines if line.startswith("forwarder_upstream_up{")]
            assert gauges == ['forwarder_upstream_up{upstream="192.0.2.2:53"}']


class TestBeforeAnythingRuns:
    def test_a_port_in_use_is_a_listen_error(self) -> None:
        config = configured()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(settings.split_address(config.listen.addresses[0]))
            with pytest.raises(ListenError, match="already in use"):
                supervisor.run(config)

    def test_the_port_of_the_pages_in_use_is_one_too_and_frees_the_others(self) -> None:
        config = configured()
        with (
            socket.create_server(settings.split_address(config.observe.http)),
            pytest.raises(ListenError, match=r"observe\.http"),
        ):
            supervisor.run(config)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(settings.split_address(config.listen.addresses[0]))

    def test_more_names_than_the_link_takes_is_a_problem_with_the_mend(self, tmp_path: Path) -> None:
        with running(configured(), tmp_path, mode="short link") as daemon:
            assert daemon.process.wait(SECONDS) == 1
            assert re.search(r"ConfigError: hosts: .*100 at most: .*net\.core\.wmem_max", daemon.stderr)


class TestSummary:
    def summary(self, config: Config) -> list[str]:
        return list(supervisor.summary(config, watching.asked(config).upstreams, link.Pinned([])))

    def test_each_zone_says_whom_it_asks_and_how(self, tmp_path: Path) -> None:
        (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.2\n")
        zones = (
            Zone(zone="cluster.local", upstreams=("10.96.0.10:53",), transport="tcp"),
            Zone(zone=".", upstreams=(str(tmp_path / "resolv.conf"), "192.0.2.3:53")),
            Zone(zone="b", upstreams=("192.0.2.4:853@dns.example",), transport="tls"),
        )
        lines = self.summary(Config(zones=zones))
        assert "  cluster.local asks 10.96.0.10:53 over TCP" in lines
        assert f"  . asks 192.0.2.2:53, 192.0.2.3:53 over UDP (from {tmp_path}/resolv.conf)" in lines
        assert "  b asks 192.0.2.4:853@dns.example over TLS" in lines
        assert not any("pinned" in line for line in lines)

    @pytest.mark.parametrize(
        ("address", "line"),
        [
            ("127.0.0.1:5300", "dig @127.0.0.1 -p 5300 example.com"),
            ("169.254.20.10:53", "dig @169.254.20.10 example.com"),
            ("0.0.0.0:53", "dig @127.0.0.1 example.com"),
            ("[::]:5300", "dig @::1 -p 5300 example.com"),
        ],
    )
    def test_a_line_to_try_that_works(self, address: str, line: str) -> None:
        zones = (Zone(zone=".", upstreams=("192.0.2.1:53",)),)
        assert supervisor.dig_line(Config(zones=zones, listen=Listen(addresses=(address,)))) == line
