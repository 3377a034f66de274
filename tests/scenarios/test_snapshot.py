"""The cache outlives the daemon: what was asked before is answered from memory after a restart, though the upstream be dead."""

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.rcode
import pytest

from tests.lab.behaviours import answer, refusal, soa
from tests.lab.clients import rdatas
from tests.lab.daemon import Daemon
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage

LONG = answer("@ 300 IN A 192.0.2.1")
BRIEF = answer("@ 1 IN A 192.0.2.2")
DEAD = refusal("SERVFAIL")
"""An upstream that fails at once: whoever was answered well was answered from memory."""


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as server:
        server.default = LONG
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache.snapshot"


@contextmanager
def kept(upstream: ScriptedUpstream, file: Path, *, zone: str = "") -> Iterator[Stage]:
    """A daemon that keeps its cache in this file; each time another one, with ports of its own."""
    config = f"zones: [{{zone: ., upstreams: ['{upstream.address}']{zone}}}]\ncache: {{snapshot: {file}}}"
    with Daemon(config) as daemon:
        yield Stage(daemon, upstream)


def is_known_again(stage: Stage) -> bool:
    return "are known again" in stage.daemon.stderr


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
        assert "2 answers of" in after.daemon.stderr
