"""One instance takes the place of another: nothing is lost when it does, and nothing changes when it cannot."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from forwarder import handover
from forwarder.control import asking, protocol
from forwarder.errors import ControlError
from tests.lab.behaviours import TRUTH, late
from tests.lab.clients import HANG, TcpClient, UdpClient, query, rdatas
from tests.lab.conversation import one_conversation
from tests.lab.daemon import PROJECT, run_to_end
from tests.lab.instances import Instances, reload, told
from tests.lab.needs import needs_root
from tests.lab.patience import wait_for
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

NAMES = [f"n{number}.known.test" for number in range(20)]
NOBODY = 65534
TAKER = """
import sys
from forwarder import handover
legacy = handover.taken_from([sys.argv[1]])
print("taken", flush=True)
sys.stdin.read()
"""
"""A successor that never comes to serve."""
ASKER = """
import os, socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.chdir(sys.argv[1])
os.setresuid(*[int(sys.argv[2])] * 3)
client.connect("control.sock")
client.send(sys.argv[3].encode())
print(client.recv(65536).decode())
"""


@pytest.fixture
def daemon(upstream: ScriptedUpstream) -> Iterator[Instances]:
    with Instances(config_for(upstream)) as started:
        yield started


def config_for(upstream: ScriptedUpstream, workers: int = 1) -> str:
    return f"listen: {{workers: {workers}}}\nzones: [{{zone: ., upstreams: ['{upstream.address}']}}]\n"


def flush(daemon: Instances, name: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("flush", name, "--control", daemon.control)


def ensure_untouched(daemon: Instances, workers: list[int]) -> None:
    """It serves as if nobody had come: answers, flushes and reloads."""
    assert told(daemon, "a.test") == ["192.0.2.1"]
    assert daemon.workers() == workers
    assert flush(daemon, "a.test").stdout == "entries forgotten: 1\n"
    assert reload(daemon).returncode == 0
    assert told(daemon, "a.test") == ["192.0.2.1"]


# --- it does ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "before", "after"), [(("--takeover",), 1, 1), ((), 1, 2), (("--takeover",), 2, 1)])
def test_all_is_handed_over(upstream: ScriptedUpstream, arguments: tuple[str, ...], before: int, after: int) -> None:
    """Asked for by --takeover, or by itself where the addresses are an instance's of ours; other counts of workers too."""
    with Instances(config_for(upstream, before)) as daemon:
        assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
        queries = daemon.metric("forwarder_queries_total", type="A")
        asked = daemon.metric("forwarder_upstream_queries_total", upstream=upstream.address)
        daemon.rewrite(config_for(upstream, after))
        upstream.received.clear()
        process, former = daemon.process, daemon.process.pid
        daemon.start_again(*arguments)
        assert process.wait(HANG) == 0
        wait_for(lambda: f"took over from pid {former}" in daemon.stderr, "it says from whom")
        assert "a successor took over: leaving" in daemon.stderr
        assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
        assert upstream.received == [], "what was known was asked for again"
        assert daemon.metric("forwarder_queries_total", type="A") == queries + len(NAMES)
        now = daemon.metric("forwarder_upstream_queries_total", upstream=upstream.address)
        assert asked <= now <= asked + after, "each new worker looks once whether there is a loop"
        assert len(daemon.shown_workers()) == after
        assert flush(daemon, NAMES[0]).stdout == "entries forgotten: 1\n"
        assert reload(daemon).stdout == "configuration reloaded\n"
        assert len(daemon.living()) <= 2 * after + 1
        assert daemon.hand_over().status == 0, "and again"
        assert [told(daemon, name) for name in NAMES[1:]] == [["192.0.2.1"]] * (len(NAMES) - 1)
    assert not Path(daemon.control).exists()


def test_who_is_being_answered_is_answered(daemon: Instances, upstream: ScriptedUpstream) -> None:
    """Questions in progress over UDP and TCP, and a connection on which nothing is asked at the moment."""
    with TcpClient(daemon.server) as idle, TcpClient(daemon.server) as stream, UdpClient(daemon.server) as client:
        idle.send(query("before.test"))
        assert idle.receive() is not None
        upstream.default = late(1.2, TRUTH)
        client.send(query("datagram.test"))
        stream.send(query("stream.test"))
        wait_for(lambda: len(upstream.received) == 3, "all are in progress")
        ended = daemon.hand_over()
        for response in (client.receive(), stream.receive()):
            assert response is not None
            assert rdatas(response) == ["192.0.2.1"]
        assert idle.is_closed_by_server()
        assert ended.status == 0


# --- it does not -----------------------------------------------------------------------------------------------------


def test_an_address_that_a_stranger_has(daemon: Instances) -> None:
    """Ours hands over what it has, which does not help: the usual sentence, and it serves on."""
    workers = daemon.workers()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        ended = run_to_end("run", "--config", daemon.config_file, "--listen", address)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith(f"forwarder: {address} UDP: already in use")
        ended = run_to_end("run", "--takeover", "--config", daemon.config_file, "--listen", address)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith(f"forwarder: {address} UDP: already in use")
    ensure_untouched(daemon, workers)


def test_a_successor_that_is_killed_before_it_serves(daemon: Instances) -> None:
    workers = daemon.workers()
    assert told(daemon, "a.test") == ["192.0.2.1"]
    for _ in range(2):
        taker = subprocess.Popen(
            [sys.executable, "-c", TAKER, daemon.control], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with taker:
            assert taker.stdout is not None
            assert taker.stdout.readline() == b"taken\n"
            taker.send_signal(signal.SIGKILL)
    ensure_untouched(daemon, workers)
    assert daemon.hand_over().status == 0


def test_a_successor_that_cannot_serve(daemon: Instances) -> None:
    """Its pages' address is a stranger's: it says so and ends, and the former has everything."""
    workers = daemon.workers()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        text = Path(daemon.config_file).read_text()
        other = Path(daemon.config_file).with_name("other.yaml")
        host, port = stranger.getsockname()
        other.write_text(re.sub(r"http: \S+", f"http: {host}:{port}", text))
        ended = run_to_end("run", "--takeover", "--config", str(other))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "observe.http" in ended.stderr
    ensure_untouched(daemon, workers)


def test_whatever_else_is_wanted_meanwhile_waits(daemon: Instances) -> None:
    """A flush while a successor takes over is done when that has gone."""
    assert told(daemon, "a.test") == ["192.0.2.1"]
    legacy = handover.taken_from([daemon.control])
    flushed: list[str] = []
    flushing = threading.Thread(target=lambda: flushed.append(flush(daemon, "a.test").stdout))
    flushing.start()
    flushing.join(1.0)
    assert flushed == [], "it was done while answers were in two hands"
    assert told(daemon, "a.test") == ["192.0.2.1"]
    legacy.close()
    flushing.join(HANG)
    assert flushed == ["entries forgotten: 1\n"]


def test_two_successors_at_once(daemon: Instances) -> None:
    """One wins. The other says why it did not, or comes after it."""
    assert told(daemon, "a.test") == ["192.0.2.1"]
    command = [sys.executable, "-m", "forwarder", "run", "--takeover", "--config", daemon.config_file]
    rivals = [
        subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        assert daemon.process.wait(HANG) == 0
        wait_for(lambda: any(rival.poll() is not None for rival in rivals), "one of them ends")
        assert told(daemon, "a.test") == ["192.0.2.1"]
        (loser,) = (rival for rival in rivals if rival.poll() is not None)
        (winner,) = (rival for rival in rivals if rival.poll() is None)
        _, complaints = loser.communicate()
        assert "Traceback" not in complaints
        reason = "a successor took over: leaving" if loser.returncode == 0 else "forwarder: the daemon went away"
        assert reason in complaints
        assert flush(daemon, "a.test").stdout == "entries forgotten: 1\n"
        winner.send_signal(signal.SIGTERM)
        winner.communicate(timeout=HANG)
        assert winner.returncode == 0
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()


# --- another version, another user -----------------------------------------------------------------------------------


def test_an_asker_of_another_age_is_told(daemon: Instances) -> None:
    workers = daemon.workers()
    other = protocol.HANDOVER_VERSION + 1
    with pytest.raises(ControlError, match=f"hands over in version {other - 1}, not {other}: stop it, then start the other"):
        asking.ask([daemon.control], protocol.Takeover(protocol.VERSION, other))
    ensure_untouched(daemon, workers)


def of_another_age(connection: socket.socket) -> None:
    """What a daemon says that hands over otherwise than we do."""
    request = protocol.read_request(connection.recv(protocol.MAX_REQUEST))
    assert request == protocol.Takeover(protocol.VERSION, protocol.HANDOVER_VERSION)
    connection.send(protocol.written(protocol.Refused("this daemon hands over in version 2, not 1: stop it")))


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_a_daemon_of_another_age_is_left_alone(tmp_path: Path, is_asked_for: bool) -> None:  # noqa: FBT001 - a row of a table
    config = tmp_path / "config.yaml"
    with (
        one_conversation(tmp_path / "control.sock", of_another_age),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        theirs.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{theirs.getsockname()[1]}"
        observe = f"observe: {{http: '127.0.0.1:{free_port()}', control: {tmp_path}/control.sock}}"
        config.write_text(f"zones: [{{zone: ., upstreams: [192.0.2.1]}}]\nlisten: {{addresses: ['{address}']}}\n{observe}\n")
        ended = run_to_end("run", *(("--takeover",) if is_asked_for else ()), "--config", str(config))
    assert (ended.returncode, ended.stdout) == (1, "")
    lines = ended.stderr.splitlines()
    assert "this daemon hands over in version 2, not 1: stop it" in lines[0]
    assert is_asked_for or lines[1].startswith(f"forwarder: {address} UDP: already in use")


def test_another_user_gets_nothing(daemon: Instances) -> None:
    """Though the file and the way to it be open to all; root may."""
    needs_root()
    workers, control = daemon.workers(), Path(daemon.control)
    control.chmod(0o777)
    control.parent.chmod(0o755)
    takeover = protocol.written(protocol.Takeover(protocol.VERSION, protocol.HANDOVER_VERSION)).decode()
    for uid, kind in ((NOBODY, protocol.Refused), (0, protocol.Estate)):
        program = [sys.executable, "-c", ASKER, str(control.parent), str(uid), takeover]
        ended = subprocess.run(program, capture_output=True, check=True, timeout=HANG)
        response = protocol.read_response(ended.stdout)
        assert isinstance(response, kind)
        if isinstance(response, protocol.Refused):
            assert response.reason.startswith("only root and the user this daemon runs as")
    ensure_untouched(daemon, workers)


# --- without a supervisor --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_whose_supervisor_was_killed_are_adopted(upstream: ScriptedUpstream, workers: int) -> None:
    """With all that each of them knew and counted; meanwhile they say what to do."""
    with Instances(config_for(upstream, workers)) as daemon:
        assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
        queries = daemon.metric("forwarder_queries_total", type="A")
        asked = daemon.metric("forwarder_upstream_queries_total", upstream=upstream.address)
        orphans = daemon.kill_supervisor()
        assert len(orphans) == workers
        wait_for(lambda: daemon.stderr.count("the supervisor is gone") == workers, "each of them knows")
        assert told(daemon, NAMES[0]) == ["192.0.2.1"]
        ended = flush(daemon, NAMES[0])
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "lost its supervisor: start it again (forwarder run), which takes over" in ended.stderr
        upstream.received.clear()
        daemon.start_again()
        wait_for(lambda: not set(orphans) & set(daemon.living()), "they leave")
        assert [told(daemon, name) for name in NAMES] == [["192.0.2.1"]] * len(NAMES)
        assert upstream.received == [], "what was known was asked for again"
        assert daemon.metric("forwarder_queries_total", type="A") == queries + 1 + len(NAMES)
        now = daemon.metric("forwarder_upstream_queries_total", upstream=upstream.address)
        assert asked <= now <= asked + workers, "each new worker looks once whether there is a loop"
        assert "took over from pid" in daemon.stderr
        assert flush(daemon, NAMES[0]).stdout == "entries forgotten: 1\n"
    assert not os.path.exists(daemon.control)  # noqa: PTH110 - one look
