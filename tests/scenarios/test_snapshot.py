"""The cache outlives the daemon: what was asked before is answered from memory after a restart, though the upstream be dead."""

import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dns.rcode
import pytest

from tests.lab.behaviours import TRUTH, answer, refusal, soa
from tests.lab.clients import rdatas
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage

pytestmark = pytest.mark.side_by_side

BRIEF = answer("@ 1 IN A 192.0.2.2")
DEAD = refusal("SERVFAIL")
"""An upstream that fails at once: whoever was answered well was answered from memory."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache.snapshot"


@contextmanager
def kept(upstream: ScriptedUpstream, file: Path, *, zone: str = "") -> Iterator[Stage]:
    """A daemon that keeps its cache in this file; each time another one, with ports of its own."""
    config = f"zones: [{{zone: ., upstreams: ['{upstream.address}']{zone}}}]\ncache: {{snapshot: {file}}}"
    with Daemon(config) as daemon:
        yield Stage(daemon, upstream)


def filled(upstream: ScriptedUpstream, file: Path) -> None:
    """A file that knows www.kept.test, and an upstream that does not any more."""
    with kept(upstream, file) as before:
        assert rdatas(before.ask("www.kept.test")) == ["192.0.2.1"]
    upstream.received.clear()
    upstream.on("www.kept.test", DEAD)


def has_said(stage: Stage, words: str, times: int = 1) -> bool:
    return stage.daemon.stderr.count(words) >= times


def test_restart_with_a_dead_upstream(upstream: ScriptedUpstream, file: Path) -> None:
    """Positive and negative answers are there, their TTLs counted down by what has passed; nobody was asked."""
    upstream.on("gone.restart.test", answer(authority=[soa("restart.test.", ttl=300, minimum=300)], rcode="NXDOMAIN"))
    with kept(upstream, file, zone=", max_negative_ttl: 1h") as before:
        assert rdatas(before.ask("www.restart.test")) == ["192.0.2.1"]
        assert before.ask("gone.restart.test").rcode() == dns.rcode.NXDOMAIN
        asked_at = time.monotonic()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [left.name for left in file.parent.iterdir()] == [file.name]
    time.sleep(max(0.0, asked_at + 2 - time.monotonic()))
    upstream.received.clear()
    upstream.on("*.restart.test", DEAD)
    upstream.on("gone.restart.test", DEAD)
    with kept(upstream, file, zone=", max_negative_ttl: 1h") as after:
        response = after.ask("WWW.restart.test")
        assert rdatas(response) == ["192.0.2.1"]
        assert 200 < response.answer[0].ttl <= 298
        denial = after.ask("gone.restart.test")
        assert denial.rcode() == dns.rcode.NXDOMAIN
        assert 200 < denial.authority[0].ttl <= 298
        assert upstream.received == []
        wait_for(lambda: has_said(after, "2 answers of"), "the line that says so")


def test_ended_meanwhile_is_asked_again(upstream: ScriptedUpstream, file: Path) -> None:
    """An answer whose TTL ended while nobody ran is not fresh."""
    upstream.on("www.brief.test", BRIEF)
    with kept(upstream, file) as before:
        assert rdatas(before.ask("www.brief.test")) == ["192.0.2.2"]
    upstream.on("www.brief.test", TRUTH)
    time.sleep(1.1)
    with kept(upstream, file) as after:
        assert rdatas(after.ask("www.brief.test")) == ["192.0.2.1"]


@pytest.mark.parametrize("damage", ["cut off", "changed", "foreign", "empty"])
def test_a_damaged_file_is_left_alone_until_there_is_a_better_one(upstream: ScriptedUpstream, file: Path, damage: str) -> None:
    """One line says so, DNS goes on, and the next stop puts a good one in its place."""
    filled(upstream, file)
    octets = file.read_bytes()
    file.write_bytes(
        {
            "cut off": octets[:-7],
            "changed": octets[:-1] + bytes((octets[-1] ^ 1,)),
            "foreign": b"nameserver 192.0.2.1\n",
            "empty": b"",
        }[damage]
    )
    damaged = file.read_bytes()
    upstream.on("www.kept.test", BRIEF)
    with kept(upstream, file) as stage:
        wait_for(partial(has_said, stage, "not used"), "it says what is wrong with the file")
        (line,) = [said for said in stage.daemon.stderr.splitlines() if "snapshot" in said]
        assert line.startswith(f"forwarder: cache.snapshot: {file} ")
        assert rdatas(stage.ask("www.kept.test")) == ["192.0.2.2"], "nothing of it was believed"
        assert rdatas(stage.ask("new.kept.test")) == ["192.0.2.1"]
        assert file.read_bytes() == damaged
    upstream.on("new.kept.test", DEAD)
    with kept(upstream, file) as after:
        assert rdatas(after.ask("new.kept.test")) == ["192.0.2.1"]


def test_killed_it_leaves_the_last_good_file(upstream: ScriptedUpstream, file: Path) -> None:
    """kill -9 of the daemon: what the file knew before is known to the next one."""
    filled(upstream, file)
    octets = file.read_bytes()
    with kept(upstream, file) as stage:
        assert rdatas(stage.ask("late.kept.test")) == ["192.0.2.1"]
        stage.daemon.process.kill()
        stage.daemon.process.wait()
        stage.daemon.process.returncode = 0  # killed by the scenario: no fault of the daemon's
    assert file.read_bytes() == octets
    with kept(upstream, file) as after:
        assert rdatas(after.ask("www.kept.test")) == ["192.0.2.1"]


def test_a_worker_that_takes_anothers_place_knows_what_the_file_knows(upstream: ScriptedUpstream, file: Path) -> None:
    filled(upstream, file)
    with kept(upstream, file) as stage:
        for times in (1, 2, 3):
            wait_for(partial(has_said, stage, "answers of", times), "the snapshot was read again")
            assert rdatas(stage.ask("www.kept.test")) == ["192.0.2.1"]
            os.kill(stage.daemon.worker(), signal.SIGKILL)
        wait_for(partial(has_said, stage, "answers of", 4), "the snapshot was read again")
    assert upstream.asked("www.kept.test") == []
    with kept(upstream, file) as after:
        assert rdatas(after.ask("www.kept.test")) == ["192.0.2.1"], "and it wrote that down again"


def test_stopped_at_once_it_loses_nothing(upstream: ScriptedUpstream, file: Path) -> None:
    """Started and stopped twice without a query between."""
    filled(upstream, file)
    for _ in range(2):
        with kept(upstream, file):
            pass
    with kept(upstream, file) as after:
        assert rdatas(after.ask("www.kept.test")) == ["192.0.2.1"]


def test_a_directory_that_is_not_there(upstream: ScriptedUpstream, file: Path, tmp_path: Path) -> None:
    """`check` says so, the daemon serves all the same and says at the end that nothing was kept."""
    nowhere = tmp_path / "nowhere" / "cache.snapshot"
    config = tmp_path / "config.yaml"
    config.write_text(f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]\ncache: {{snapshot: {nowhere}}}")
    checked = run_to_end("check", str(config))
    assert checked.returncode == 0
    assert checked.stderr.startswith(f"forwarder: cache.snapshot: {nowhere.parent} is no directory")
    with kept(upstream, nowhere) as stage:
        assert rdatas(stage.ask("www.nowhere.test")) == ["192.0.2.1"]
        assert has_said(stage, "is no directory")
        assert stage.daemon.stop() == 0
        assert has_said(stage, "stays as it was, a new one cannot be written: No such file or directory")
    assert not file.exists()
