"""The daemon started as root: whose it is afterwards, what its processes may do, and that everything still works.

A namespace of its own gives it port 53. Each process carries a probe that the daemon knows nothing of: told by a signal, it
tries what it should not be able to do, and writes to stderr how that ended.
"""

import json
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.behaviours import answer
from tests.lab.clients import ask, ask_tcp, query, rdatas
from tests.lab.daemon import PROJECT, Daemon, run_to_end
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_root, needs_to_be_read_by_all
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.status import NET_BIND_SERVICE, SETS, capabilities_in, field_in, status_of, uids_in

pytestmark = pytest.mark.side_by_side

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
DAC_OVERRIDE, NET_ADMIN = 1 << 1, 1 << 12
NOTHING = dict.fromkeys(SETS, 0)
PROBE = """
import errno, json, os, signal, socket

def outcome(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def tell(*_):
    found = {
        "read": outcome(open, "/etc/passwd"),
        "write": outcome(open, os.environ["PROBED"] + "/snapshot/probe", "w"),
        "listen": outcome(socket.socket().bind, ("127.0.0.1", 0)),
        "signal": outcome(os.kill, os.getppid(), 0),
        "connect": outcome(socket.socket().connect, ("127.0.0.1", 53)),
    }
    os.write(2, f"probe {os.getpid()} {json.dumps(found)}\\n".encode())

signal.signal(signal.SIGUSR1, tell)
"""
FENCED = {"read": "EACCES", "write": "EACCES", "listen": "EACCES", "signal": "EPERM", "connect": "done"}


class House:
    """A daemon that became nobody, on port 53 of its namespace, with a snapshot, a hosts file and a scripted upstream."""

    def __init__(self, namespace: Namespace, directory: Path, upstream: ScriptedUpstream) -> None:
        self.namespace = namespace
        self.directory = directory
        self.upstream = upstream
        self.control = directory / "run" / "control.sock"
        self.snapshot = directory / "snapshot" / "cache.snapshot"
        self.hosts = directory / "hosts"
        self.hosts.write_text("192.0.2.1 first.test\n")
        self.snapshot.parent.mkdir()
        os.chown(self.snapshot.parent, NOBODY, NOBODY)
        (directory / "probe").mkdir()
        (directory / "probe" / "sitecustomize.py").write_text(PROBE)
        for made in directory.rglob("*"):
            made.chmod(0o755)

    def daemon(self, user: str = "user: nobody") -> Daemon:
        config = f"""
zones: [{{zone: ., upstreams: ['{self.upstream.address}']}}]
hosts: {{files: [{self.hosts}]}}
cache: {{snapshot: {self.snapshot}}}
observe: {{control: {self.control}}}
{user}
"""
        environment = ("env", f"PYTHONPATH={self.directory}/probe", f"PROBED={self.directory}")
        return Daemon(config, namespace=self.namespace, before=environment)

    def ask(self, name: str) -> list[str]:
        over_udp, over_tcp = self.ask_twice(name)
        assert over_udp == over_tcp
        return over_udp

    def ask_twice(self, name: str) -> tuple[list[str], list[str]]:
        """Over UDP, then over TCP."""
        with self.namespace.inside():
            return rdatas(ask(("127.0.0.1", 53), query(name))), rdatas(ask_tcp(("127.0.0.1", 53), query(name)))

    def flush(self, *before: str) -> str:
        ended = run_to_end("flush", "--all", "--control", str(self.control), before=before)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.fixture
def house() -> Iterator[House]:
    """In a directory that everybody may enter: that of pytest is root's alone."""
    needs_namespaces()
    needs_to_be_read_by_all(PROJECT, Path(sys.executable))
    with ExitStack() as undo:
        directory = Path(tempfile.mkdtemp(prefix="forwarder-house-"))
        undo.callback(shutil.rmtree, directory)
        directory.chmod(0o755)
        namespace = undo.enter_context(Network()).namespace("house")
        with namespace.inside():
            upstream = ScriptedUpstream()
        upstream.default = answer("@ 300 IN A 192.0.2.9")
        undo.enter_context(upstream)
        yield House(namespace, directory, upstream)


def probed(daemon: Daemon, pid: int) -> dict[str, str]:
    """What this process can do."""
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: f"probe {pid} " in daemon.stderr and daemon.stderr.endswith("\n"), "the probe's report")
    report = next(line for line in daemon.stderr.splitlines() if line.startswith(f"probe {pid} "))
    found: dict[str, str] = json.loads(report.split(maxsplit=2)[2])
    return found


def socket_owners(pid: int) -> set[int]:
    """Whose the UDP sockets of a process's namespace are that are bound to port 53."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]]
    return {int(words[7]) for words in lines if words[1].endswith(":0035")}


def assert_fenced(daemon: Daemon, uid: int) -> None:
    """The worker is nobody's danger."""
    status = status_of(daemon.worker())
    assert uids_in(status) == {uid}
    assert capabilities_in(status) == NOTHING
    assert field_in(status, "NoNewPrivs") == "1"
    assert probed(daemon, daemon.worker()) == FENCED


def test_both_processes_are_the_users_and_may_do_next_to_nothing(house: House) -> None:
    with house.daemon() as daemon:
        supervisor = status_of(daemon.process.pid)
        assert uids_in(supervisor) == {NOBODY}
        assert field_in(supervisor, "Groups") == str(NOBODY)
        assert capabilities_in(supervisor) == NOTHING | {"CapPrm": NET_BIND_SERVICE, "CapEff": NET_BIND_SERVICE}
        assert socket_owners(daemon.process.pid) == {NOBODY}, "sockets of a later day share the address with them"
        assert_fenced(daemon, NOBODY)
        assert probed(daemon, daemon.process.pid)["read"] == "done", "the probe sees what is allowed"
        assert house.ask("first.test") == ["192.0.2.1"]
        assert house.ask("asked.test") == ["192.0.2.9"]
        assert "receive_buffer" not in daemon.stderr, "CAP_NET_ADMIN was there while binding"
    assert list(house.control.parent.iterdir()) == []


def test_a_worker_that_takes_the_place_of_a_dead_one_is_fenced_too(house: House) -> None:
    with house.daemon() as daemon:
        first = daemon.worker()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: daemon.workers() not in ([], [first]) and "serving" in daemon.stderr, "another worker")
        assert_fenced(daemon, NOBODY)
        assert house.ask("asked.test") == ["192.0.2.9"]


def test_files_are_followed_and_the_control_socket_answers_the_user_and_root(house: House) -> None:
    with house.daemon() as daemon:
        house.hosts.write_text("192.0.2.2 second.test\n")
        wait_for(lambda: "are pinned from now on" in daemon.stderr, "the new hosts file")
        wait_for(lambda: house.ask_twice("second.test") == (["192.0.2.2"], ["192.0.2.2"]), "the new name")
        found = house.control.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (NOBODY, 0o600)
        assert house.control.parent.stat().st_uid == NOBODY
        for before in ((), AS_NOBODY):
            assert house.ask("asked.test") == ["192.0.2.9"]
            assert house.flush(*before) == "entries forgotten: 1\n"


def test_the_snapshot_is_the_users(house: House) -> None:
    with house.daemon():
        assert house.ask("kept.test") == ["192.0.2.9"]
    assert house.snapshot.stat().st_uid == NOBODY
    house.upstream.received.clear()
    with house.daemon() as daemon:
        wait_for(lambda: "1 answers of" in daemon.stderr, "the snapshot")
        assert house.ask("kept.test") == ["192.0.2.9"]
        assert house.upstream.received == []


def test_root_without_a_user_stays_root_and_its_worker_is_fenced(house: House) -> None:
    kept = NET_BIND_SERVICE | DAC_OVERRIDE | NET_ADMIN
    with house.daemon("") as daemon:
        supervisor = status_of(daemon.process.pid)
        assert uids_in(supervisor) == {0}
        assert capabilities_in(supervisor) == NOTHING | {"CapPrm": kept, "CapEff": kept}
        assert_fenced(daemon, 0)
        assert house.ask("asked.test") == ["192.0.2.9"]
    assert house.snapshot.stat().st_uid == 0, "written, though the directory is another's"
    assert not house.control.parent.exists()


@pytest.mark.parametrize(
    ("user", "before", "sentence"),
    [
        ("no-such-user", (), "user: this host has no user no-such-user: make it"),
        ("daemon", AS_NOBODY, f"user: only root can become daemon, and this is uid {NOBODY}: start it as root"),
    ],
)
def test_a_user_that_cannot_be_had_is_said_with_the_mend(user: str, before: tuple[str, ...], sentence: str) -> None:
    needs_root()
    needs_to_be_read_by_all(PROJECT, Path(sys.executable))
    with tempfile.TemporaryDirectory(prefix="forwarder-house-") as directory:
        Path(directory).chmod(0o755)
        config = Path(directory) / "config.yaml"
        config.write_text(f"zones: [{{zone: ., upstreams: [192.0.2.53]}}]\nuser: {user}\n")
        ended = run_to_end("run", "--config", str(config), before=before)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"forwarder: {sentence}")
    assert len(ended.stderr.splitlines()) == 1
