"""`forwarder flush`, typed while the daemon runs: what it forgets, what it says, and that nothing brings it back."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import pytest

from forwarder.control import asking, protocol
from tests.lab.behaviours import answer
from tests.lab.clients import rdatas
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.needs import needs_program
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage, staged
from tests.lab.standstills import Standstills

OLD = answer("@ 300 IN A 192.0.2.1")
NEW = answer("@ 300 IN A 192.0.2.2")
WITHIN = 0.1
"""Seconds."""
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def flush(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("flush", *words, "--control", stage.daemon.control)


@contextmanager
def known(*names: str, settings: str = "") -> Iterator[Stage]:
    """A daemon that has answers to these names, which the upstream answers otherwise by now."""
    with staged(settings) as stage:
        stage.upstream.default = OLD
        for name in names:
            assert rdatas(stage.ask(name)) == ["192.0.2.1"]
        stage.upstream.default = NEW
        yield stage


def told(*messages: dns.message.Message) -> list[str]:
    return [address for message in messages for address in rdatas(message)]


@pytest.mark.parametrize(
    ("words", "went", "old"),
    [
        (("a.flush.test",), 1, {"b.a.flush.test", "c.other.test"}),
        (("--suffix", "FLUSH.test."), 2, {"c.other.test"}),
        (("--all",), 3, set()),
        (("nobody.asked",), 0, {"a.flush.test", "b.a.flush.test", "c.other.test"}),
    ],
)
def test_what_is_named_is_asked_for_again(words: tuple[str, ...], went: int, old: set[str]) -> None:
    names = ("a.flush.test", "b.a.flush.test", "c.other.test")
    with known(*names) as stage:
        ended = flush(stage, *words)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"entries forgotten: {went}\n", "")
        for name in names:
            assert told(stage.ask(name)) == ["192.0.2.1" if name in old else "192.0.2.2"]


def test_the_place_is_found_by_the_configuration_too(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    with known("a.test") as stage:
        config.write_text(f"zones: [{{zone: ., upstreams: [192.0.2.1]}}]\nobserve: {{control: {stage.daemon.control}}}")
        assert run_to_end("flush", "a.test", "--config", str(config)).stdout == "entries forgotten: 1\n"


def test_pinned_names_stay_and_it_says_so() -> None:
    with known(settings="hosts: {records: {a.test: ['192.0.2.7']}}") as stage:
        ended = flush(stage, "a.test")
        assert (ended.returncode, ended.stderr) == (0, "forwarder: pinned names stay as they are: 1 (`hosts`)\n")
        assert rdatas(stage.ask("a.test")) == ["192.0.2.7"]


@pytest.mark.parametrize("words", [("a..test",), ("--suffix", "a b"), ("",), (), ("a", "--all"), ("a", "b")])
def test_a_wrong_command_line_is_status_2_though_no_daemon_runs(words: tuple[str, ...], tmp_path: Path) -> None:
    ended = run_to_end("flush", *words, "--control", str(tmp_path / "none"))
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)


def test_no_daemon_is_status_1(tmp_path: Path) -> None:
    ended = run_to_end("flush", "a.test", "--control", str(tmp_path / "none"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"forwarder: no daemon listens at {tmp_path}/none: is it running?")


def test_another_user_is_not_permitted() -> None:
    needs_program("setpriv", package="util-linux")
    with known("a.test") as stage:
        os.chmod(Path(stage.daemon.control).parent, 0o755)  # noqa: PTH101, S103 - the file's own mode is what counts here
        ended = run_to_end("flush", "a.test", "--control", stage.daemon.control, before=AS_NOBODY)
        assert ended.returncode == 1
        assert "not permitted to ask the daemon" in ended.stderr
        assert rdatas(stage.ask("a.test")) == ["192.0.2.1"]


def test_a_worker_killed_just_then_does_not_bring_it_back(tmp_path: Path) -> None:
    """Its successor is not given a snapshot from before."""
    config = f"cache: {{snapshot: {tmp_path}/snapshot}}"
    with known("a.test", "b.test", settings=config):
        pass  # it is in the file now
    with staged(config) as stage:
        wait_for(lambda: "2 answers" in stage.daemon.stderr, "the answers of before")
        stage.upstream.default = NEW
        assert flush(stage, "a.test").returncode == 0
        os.kill(stage.daemon.worker(), signal.SIGKILL)
        assert rdatas(stage.ask("a.test")) == ["192.0.2.2"]
        wait_for(lambda: stage.daemon.stderr.count(") serving") == 1, "a successor that serves")
        assert rdatas(stage.ask("a.test")) == ["192.0.2.2"]


def test_nor_does_a_restart(tmp_path: Path) -> None:
    config = f"cache: {{snapshot: {tmp_path}/snapshot}}"
    with known("a.test", "b.test", settings=config):
        pass  # it is in the file now
    with staged(config) as stage:
        wait_for(lambda: "2 answers" in stage.daemon.stderr, "the answers of before")
        stage.upstream.default = NEW
        assert flush(stage, "a.test").stdout == "entries forgotten: 1\n"
    with staged(config) as stage:
        wait_for(lambda: "1 answers" in stage.daemon.stderr, "the answer that was not flushed")
        stage.upstream.default = NEW
        assert told(stage.ask("a.test"), stage.ask("b.test")) == ["192.0.2.2", "192.0.2.1"]


def test_the_socket_is_gone_with_the_daemon() -> None:
    with known("a.test") as stage:
        path = Path(stage.daemon.control)
        assert path.is_socket()
        stage.daemon.stop()
        assert not path.exists()


def test_a_second_daemon_with_the_same_path_serves_without_one() -> None:
    with known("a.test") as first, ScriptedUpstream() as upstream:
        upstream.default = NEW
        config = f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]\nobserve: {{control: {first.daemon.control}}}"
        with Daemon(config) as daemon:
            second = Stage(daemon, upstream)
            assert rdatas(second.ask("a.test")) == ["192.0.2.2"]
            (line,) = daemon.stderr.splitlines()
            assert line.startswith("forwarder: there is no control socket, DNS goes on without: ")
            assert f"{first.daemon.control} belongs to another daemon that runs: write another path" in line
        assert flush(first, "a.test").stdout == "entries forgotten: 1\n"
        assert rdatas(first.ask("a.test")) == ["192.0.2.2"]


def test_what_is_typed_by_hand_is_answered_in_words() -> None:
    with known("a.test") as stage, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(10)
        client.connect(stage.daemon.control)
        client.send(b'{"version": 9, "request": "dance"}')
        assert b"speaks version 1 of the control protocol, not 9" in client.recv(4096)
        client.send(b'{"version": 1, "request": "flush", "name": "a.test"}')
        assert client.recv(4096) == b'{"response":"flushed","entries":1,"pinned":0}'


def test_a_flush_takes_effect_in_all_workers_within_100_ms() -> None:
    """From the request to the next answer; an alias elsewhere that leads there, as in S6, is gone too, at the next query."""
    names = [f"pod-{number}.flush.test" for number in range(60)]
    aliases = [f"{number}.alias.test" for number in range(20)]
    with staged("listen: {workers: 3}") as stage:
        for address in ("192.0.2.1", "192.0.2.2"):
            for name in names:
                stage.upstream.on(name, answer(f"@ 300 IN A {address}"))
            for name in aliases:
                stage.upstream.on(name, answer("@ 300 IN CNAME moved.flush.test.", f"moved.flush.test. 300 IN A {address}"))
            assert {rdatas(stage.ask(name))[-1] for name in (*names, *aliases)} == {"192.0.2.1"}, "it is remembered"
        with Standstills() as machine:
            begun = time.monotonic()
            answered = asking.ask([stage.daemon.control], protocol.Flush(protocol.VERSION, "flush.test.", below=True))
            first = rdatas(stage.ask(names[0]))
            ended = time.monotonic()
            found = [rdatas(stage.ask(name))[-1] for name in (*names, *aliases)]
        assert answered == protocol.Flushed(len(names) + len(aliases), 0)
        assert {*first, *found} == {"192.0.2.2"}
        took = ended - begun - machine.between(begun, ended)
        assert took < WITHIN, f"{took} s"
