"""The configuration is read again: what it says now is done, what was known stays known, and a bad one changes nothing."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dns.rcode
import pytest

from tests.lab.authority import NAME, Authority
from tests.lab.behaviours import TRUTH, answer, late, silent
from tests.lab.clients import HANG, UdpClient, ask, ask_tcp, query, rdatas
from tests.lab.instances import Instances, reload, told
from tests.lab.patience import wait_for
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

OTHER = answer("@ 300 IN A 192.0.2.2")
NAMES = [f"n{number}.known.test" for number in range(40)]


@pytest.fixture
def daemon(upstream: ScriptedUpstream) -> Iterator[Instances]:
    with Instances(zones(upstream)) as started:
        yield started


def zones(upstream: ScriptedUpstream, more: str = "") -> str:
    return f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}{more}]\n"


def reloaded(daemon: Instances, config: str) -> None:
    """By SIGHUP; the former worker, which answers what it has already read, is gone."""
    daemon.reload(config)
    wait_for(partial(has_workers, daemon, 1), "the former worker leaves")


def has_workers(daemon: Instances, count: int) -> bool:
    return len(daemon.workers()) == count


def sockets_of(pid: int) -> set[str]:
    """All that are bound by a process, as `ss` would tell them apart."""
    return {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()} & bound_inodes()


def bound_inodes() -> set[str]:
    """`socket:[4711]` of each UDP socket and TCP listener of this machine."""
    found = set()
    for table, state in (("udp", "07"), ("tcp", "0A")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                found.add(f"socket:[{fields[9]}]")
    return found


# --- what takes effect -----------------------------------------------------------------------------------------------


def test_what_it_says_now_is_done(daemon: Instances, upstream: ScriptedUpstream) -> None:
    """Another zone, timers, pinned names and memory; and what was known is not asked for again."""
    assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
    with ScriptedUpstream() as second:
        second.default = OTHER
        upstream.on("*.silent.test", silent)
        reloaded(
            daemon,
            zones(upstream, f", {{zone: other.test, upstreams: ['{second.address}'], max_ttl: 7s}}")
            + "hosts: {records: {pinned.test: ['192.0.2.77']}}\n"
            "answering: {deadline: 300ms, client_response_timer: 100ms}\n"
            "cache: {memory: 2MiB}\n",
        )
        response = ask(daemon.server, query("a.other.test"))
        assert (rdatas(response), response.answer[0].ttl) == (["192.0.2.2"], 7)
        assert told(daemon, "pinned.test") == ["192.0.2.77"]
        begun = time.monotonic()
        assert ask(daemon.server, query("a.silent.test")).rcode() == dns.rcode.SERVFAIL
        assert time.monotonic() - begun < 1.5, "the deadline is the one of before"
        upstream.received.clear()
        assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
        assert upstream.received == [], "what was known was asked for again"
        wait_for(lambda: len(daemon.workers()) == 1, "the former worker leaves")
        reloaded(daemon, zones(upstream))
        assert told(daemon, "b.other.test") == ["192.0.2.1"], "the zone is gone"
        assert told(daemon, "pinned.test") == ["192.0.2.1"], "the pin is gone"


def by_hangup(daemon: Instances, config: str) -> None:
    daemon.rewrite(config)
    daemon.process.send_signal(signal.SIGHUP)


def by_command(daemon: Instances, config: str) -> None:
    daemon.rewrite(config)
    ended = reload(daemon)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "configuration reloaded\n", "")


def by_swap(daemon: Instances, config: str) -> None:
    """As the kubelet does with a ConfigMap: the file is a link into a directory behind a link, which is replaced."""
    file = Path(daemon.config_file)
    place = file.parent
    for version in ("1", "2"):
        (place / version).mkdir()
    (place / "1" / file.name).write_text(file.read_text())
    (place / "data").symlink_to("1")
    (place / "link").symlink_to(f"data/{file.name}")
    (place / "link").replace(file)
    wait_for(lambda: daemon.stderr.count("configuration reloaded") == 1, "the file became a link")
    daemon.rewrite(config)
    file.replace(place / "2" / file.name)
    (place / "link").symlink_to(f"data/{file.name}")
    (place / "link").replace(file)
    (place / "swap").symlink_to("2")
    (place / "swap").replace(place / "data")


@pytest.mark.parametrize("way", [by_hangup, by_command, Instances.rewrite, by_swap])
def test_each_way_to_have_it_read(daemon: Instances, upstream: ScriptedUpstream, way: Callable[[Instances, str], None]) -> None:
    way(daemon, zones(upstream) + "hosts: {records: {pinned.test: ['192.0.2.77']}}\n")
    wait_for(lambda: told(daemon, "pinned.test") == ["192.0.2.77"], "the new configuration is served by")
    assert daemon.page("/ready").status == 200


def test_addresses_come_and_go(daemon: Instances, upstream: ScriptedUpstream) -> None:
    """One that stays never stops answering; one that is gone is free for others."""
    first, second = daemon.server, ("127.0.0.1", free_port())
    both = [f"{host}:{port}" for host, port in (first, second)]
    reloaded(daemon, f"listen: {{addresses: {both}}}\n{zones(upstream)}")
    for server in (first, second):
        assert rdatas(ask(server, query("a.test"))) == rdatas(ask_tcp(server, query("a.test"))) == ["192.0.2.1"]
    reloaded(daemon, f"listen: {{addresses: ['{both[1]}']}}\n{zones(upstream)}")
    assert rdatas(ask(second, query("a.test"))) == ["192.0.2.1"]
    wait_for(lambda: len(daemon.workers()) == 1, "the former worker leaves")

    def is_free() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            return again.connect_ex(first) == 0 and again.send(b"x") == 1 and again.getsockopt(socket.SOL_SOCKET, 4) != 0

    wait_for(is_free, "nobody listens there any more")
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(first, query("a.test"))


def test_more_workers_and_fewer_know_what_was_known(daemon: Instances, upstream: ScriptedUpstream) -> None:
    assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
    for count in (2, 1, 2):
        upstream.received.clear()
        daemon.reload(f"listen: {{workers: {count}}}\n{zones(upstream)}")
        assert [worker["serving"] for worker in daemon.shown_workers()] == [True] * count
        assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
        assert upstream.received == [], "what was known was asked for again"
        wait_for(partial(has_workers, daemon, count), "the former workers leave")


def test_counters_go_on_and_rows_keep_their_meaning(daemon: Instances, upstream: ScriptedUpstream) -> None:
    def counted(name: str, **labels: str) -> float:
        return daemon.metric(name, **labels)

    with ScriptedUpstream() as second:
        second.default = OTHER
        assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
        before = counted("forwarder_queries_total", type="A")
        asked = counted("forwarder_upstream_queries_total", upstream=upstream.address)
        assert asked >= len(NAMES)
        reloaded(daemon, zones(second))
        assert told(daemon, "a.second.test") == ["192.0.2.2"]
        assert counted("forwarder_queries_total", type="A") == before + 1
        assert counted("forwarder_upstream_queries_total", upstream=upstream.address) == asked
        assert counted("forwarder_upstream_queries_total", upstream=second.address) >= 1
        reloaded(daemon, zones(upstream))
        assert told(daemon, "a.first.test") == ["192.0.2.1"]
        assert counted("forwarder_queries_total", type="A") == before + 2
        assert counted("forwarder_upstream_queries_total", upstream=upstream.address) >= asked + 1
        assert counted("forwarder_workers_restarted_total") == 0


def test_certificates_are_read_again(tmp_path: Path) -> None:
    """The file has the same name and other content: an upstream that was not believed is."""
    (tmp_path / "right").mkdir()
    (tmp_path / "wrong").mkdir()
    right, wrong = Authority(tmp_path / "right"), Authority(tmp_path / "wrong")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(wrong.file.read_bytes())
    with ScriptedUpstream(tls=right.server()) as upstream:
        upstream.default = TRUTH
        config = f"zones: [{{zone: ., upstreams: ['{upstream.address}@{NAME}'], transport: tls, ca_file: {ca_file}}}]"
        with Instances(config) as daemon:
            assert ask(daemon.server, query("a.test")).rcode() == dns.rcode.SERVFAIL
            ca_file.write_bytes(right.file.read_bytes())
            reloaded(daemon, config)
            assert told(daemon, "b.test") == ["192.0.2.1"]


# --- what does not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("zones: [", "config.yaml"),
        ("zones: []", "zones"),
        ("zoness: {}", "zoness"),
        ("{zones}listen: {{addresses: ['127.0.0.1:1', '{taken}']}}", "already in use"),
        ("{zones}listen: {{addresses: ['{own}', '{taken}'], workers: 2}}", "already in use"),
        ("{zones}hosts: {{files: ['{hosts}']}}", "pin fewer names"),
        ("{zones}hosts: {{files: ['/nowhere/hosts']}}", "/nowhere/hosts"),
    ],
)
def test_one_that_cannot_be_served_changes_nothing(
    daemon: Instances, upstream: ScriptedUpstream, tmp_path: Path, config: str, said: str
) -> None:
    """It is said with its path, by the command and by the daemon; processes and sockets are those of before."""
    assert told(daemon, "a.test") == ["192.0.2.1"]
    hosts = tmp_path / "hosts"
    if "hosts}" in config:
        name = ".".join(["x" * 60] * 3)
        hosts.write_text("".join(f"192.0.{n >> 8 & 255}.{n & 255} h{n}.{name}\n" for n in range(20_000)))
    workers, sockets = daemon.workers(), sockets_of(daemon.process.pid)
    assert len(sockets) == 3, "UDP, TCP and the pages"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        places = {"taken": f"127.0.0.1:{stranger.getsockname()[1]}", "own": f"{daemon.server[0]}:{daemon.server[1]}"}
        text = config.format(zones=zones(upstream), hosts=hosts, **places) if "{zones}" in config else config
        Path(daemon.config_file).write_text(text)
        ended = reload(daemon)
        assert (ended.returncode, ended.stdout) == (1, "")
        lines = ended.stderr.splitlines()
        assert all(line.startswith("forwarder: ") for line in lines)
        assert any(said in line for line in lines)
        assert lines[-1] == "forwarder: configuration stays as it was"
        upstream.received.clear()
        assert told(daemon, "a.test") == ["192.0.2.1"]
        assert upstream.received == []
        assert daemon.workers() == workers
        assert sockets_of(daemon.process.pid) == sockets
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration stays as it was" in daemon.stderr, "the daemon says so too")
        assert said in daemon.stderr


def test_what_waits_for_another_start_is_said(daemon: Instances, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    observe = f"observe: {{http: '127.0.0.1:{free_port()}', control: {tmp_path}/control.sock}}\n"
    daemon.rewrite(f"{zones(upstream)}{observe}user: nobody\n")
    ended = reload(daemon)
    assert (ended.returncode, ended.stdout) == (0, "configuration reloaded\n")
    for setting in ("observe.http: ", "observe.control: ", "user: "):
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith(f"forwarder: {setting}")]
        assert "stays until the next start: restart" in line
        assert line in daemon.stderr.splitlines()
    assert daemon.page("/ready").status == 200
    assert reload(daemon).returncode == 0


# --- the end ---------------------------------------------------------------------------------------------------------


@contextmanager
def in_progress(workers: int) -> Iterator[tuple[Instances, list[UdpClient]]]:
    """A daemon with questions in progress that take as long as a question may."""
    with ScriptedUpstream() as upstream:
        upstream.default = late(1.0, TRUTH)
        with Instances(f"listen: {{workers: {workers}}}\n{zones(upstream)}") as daemon:
            clients = [UdpClient(daemon.server) for _ in range(8)]
            for number, client in enumerate(clients):
                client.send(query(f"q{number}.progress.test"))
            wait_for(lambda: len(upstream.received) >= len(clients), "all are in progress")
            yield daemon, clients
            for client in clients:
                client.__exit__(None, None, None)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("is_reloading", [False, True])
def test_sigterm_drains(workers: int, is_reloading: bool) -> None:  # noqa: FBT001 - a row of a table
    """Every question in progress is answered, also by workers that a reload sent away, and all is over in 3 s."""
    with in_progress(workers) as (daemon, clients):
        if is_reloading:
            daemon.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        begun = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        for client in clients:
            response = client.receive()
            assert response is not None
            assert rdatas(response) == ["192.0.2.1"]
        assert daemon.process.wait(HANG) == 0
        assert time.monotonic() - begun < 3.5
        assert daemon.living() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_sigterm_ends_it_at_once(workers: int) -> None:
    with in_progress(workers) as (daemon, _):
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not os.path.exists(daemon.control), "the first one has arrived")  # noqa: PTH110 - one look
        begun = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(HANG) == 0
        assert time.monotonic() - begun < 0.9
        wait_for(lambda: daemon.living() == [], "its workers are gone")
