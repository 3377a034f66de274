"""Fenced workers with all that the daemon has: TLS upstreams, several workers, snapshots, reloads, handovers, no supervisor.

Behind the fence no file can be opened; what a worker needs it was given before, and what it hands over goes through the control
socket. Once as root, and once as a user that may do nothing.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.authority import NAME, Authority
from tests.lab.behaviours import answer
from tests.lab.clients import ask, ask_tcp, query, rdatas
from tests.lab.instances import Instances
from tests.lab.needs import needs_root, needs_to_be_read_by_all
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.status import SETS, capabilities_in, field_in, status_of, uids_in

pytestmark = pytest.mark.side_by_side

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = 65534
USERS = ("", "user: nobody")
WORKERS = 2
NAMES = [f"name{number}.test" for number in range(20)]


@dataclass(frozen=True, slots=True)
class Stage:
    """A directory that everybody may enter, an upstream over TLS, and a configuration that has everything."""

    directory: Path
    upstream: ScriptedUpstream
    config: str

    @property
    def control(self) -> Path:
        return self.directory / "run" / "control.sock"

    def asked(self, daemon: Instances) -> int:
        """How many of the names the upstream was asked for, when each was asked for once here."""
        before = len(self.upstream.received)
        for name in NAMES:
            assert rdatas(ask(daemon.server, query(name))) == ["192.0.2.9"], daemon.stderr
        return len(self.upstream.received) - before


@pytest.fixture(params=USERS, ids=["root", "nobody"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with staged(request.param) as stage:
        yield stage


@contextmanager
def staged(user: str) -> Iterator[Stage]:
    """With this setting besides."""
    needs_root()
    needs_to_be_read_by_all(PROJECT)
    with ExitStack() as undo:
        directory = Path(tempfile.mkdtemp(prefix="forwarder-everything-"))
        undo.callback(shutil.rmtree, directory)
        authority = Authority(directory)
        snapshots = directory / "snapshot"
        snapshots.mkdir()
        os.chown(snapshots, NOBODY, NOBODY)
        for made in (directory, *directory.rglob("*")):
            made.chmod(0o755)
        upstream = ScriptedUpstream(tls=authority.server())
        upstream.default = answer("@ 3000 IN A 192.0.2.9")
        undo.enter_context(upstream)
        config = f"""
listen: {{workers: {WORKERS}}}
zones: [{{zone: ., upstreams: ['{upstream.address}@{NAME}'], transport: tls, ca_file: {authority.file}}}]
cache: {{snapshot: {snapshots}/cache}}
observe: {{control: {directory}/run/control.sock}}
{user}
"""
        yield Stage(directory, upstream, config)


@pytest.fixture
def daemon(stage: Stage) -> Iterator[Instances]:
    with serving(stage) as daemon:
        yield daemon


@contextmanager
def serving(stage: Stage) -> Iterator[Instances]:
    """A daemon that knows all the names."""
    with Instances(stage.config) as daemon:
        Path(daemon.config_file).parent.chmod(0o755)  # a reload reads it as the user
        assert stage.asked(daemon) == len(NAMES)
        yield daemon
        assert not {"fence", "Traceback"}.intersection(daemon.stderr.split())


def assert_fenced(stage: Stage, daemon: Instances) -> None:
    """All of its workers, of which each answers over TCP too and asks over TLS."""
    uid = NOBODY if "nobody" in stage.config else 0
    wait_for(lambda: len(daemon.workers()) == WORKERS, "the workers before have left")
    for pid in daemon.workers():
        status = status_of(pid)
        assert uids_in(status) == {uid}
        assert capabilities_in(status) == dict.fromkeys(SETS, 0)
        assert field_in(status, "NoNewPrivs") == "1"
    assert rdatas(ask_tcp(daemon.server, query(f"over-tcp{len(stage.upstream.received)}.test"))) == ["192.0.2.9"]


def test_reload_and_handover(stage: Stage, daemon: Instances) -> None:
    assert_fenced(stage, daemon)
    daemon.reload(stage.config + "hosts: {records: {now.test: ['192.0.2.1']}}\n")
    assert rdatas(ask(daemon.server, query("now.test"))) == ["192.0.2.1"], daemon.stderr
    assert stage.asked(daemon) == 0
    assert_fenced(stage, daemon)
    assert daemon.hand_over().status == 0, daemon.stderr
    assert stage.asked(daemon) == 0
    assert_fenced(stage, daemon)
    os.kill(daemon.workers()[0], 9)
    wait_for(lambda: "serving" in daemon.stderr.partition("took over")[2], "a successor of the worker")
    assert_fenced(stage, daemon)


def test_snapshot(stage: Stage, daemon: Instances) -> None:
    assert daemon.stop() == 0
    daemon.start_again()
    wait_for(lambda: f"{len(NAMES)} answers of" in daemon.stderr, "the snapshot")
    assert stage.asked(daemon) == 0
    assert_fenced(stage, daemon)


def test_workers_without_a_supervisor_hand_over(stage: Stage, daemon: Instances) -> None:
    orphans = daemon.kill_supervisor()
    assert stage.asked(daemon) == 0
    daemon.start_again()
    wait_for(lambda: not set(orphans) & set(daemon.living()), "the former ones have left")
    assert stage.asked(daemon) == 0
    assert_fenced(stage, daemon)
    assert stage.control.exists()


def test_workers_without_a_supervisor_leave_no_socket_behind() -> None:
    """After 30 s, which both wait together; the directory goes with it where they are permitted to remove it."""
    with ExitStack() as undo:
        stages = [undo.enter_context(staged(user)) for user in USERS]
        daemons = [undo.enter_context(serving(stage)) for stage in stages]
        for daemon in daemons:
            daemon.kill_supervisor()
            wait_for(lambda: daemon.stderr.count("the supervisor is gone") == WORKERS, "they know")  # noqa: B023 - called here
        for _ in range(4):
            with suppress(AssertionError):
                wait_for(lambda: not any(daemon.living() for daemon in daemons), "they have left")
                break
        assert [daemon.living() for daemon in daemons] == [[], []]
        assert not any(stage.control.exists() for stage in stages), daemons[0].stderr + daemons[1].stderr
