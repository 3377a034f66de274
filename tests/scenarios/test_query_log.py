"""The query log of a real daemon: what was asked stands there, escaped, as the configuration of the moment wants it."""

import json
import os
import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from forwarder.wire.names import name_from_text
from tests.lab.behaviours import answer, late, nxdomain, refusal
from tests.lab.clients import HANG, Address, ask, query, rdatas
from tests.lab.daemon import run_to_end
from tests.lab.instances import Instances
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage, staged

ONE = answer("@ 300 IN A 192.0.2.1")


def name_of(*labels: bytes) -> bytes:
    """A name in wire form."""
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


HOSTILE = (
    name_of(b"<script>alert(1)</script>"),
    name_of(b'"},{"a":"', b"test"),
    name_of(b"\0\1\7\x1b[31m\r\n\x7f", b"test"),
    name_of(b"\xff\xfe\xc3\x28", b"\xe2\x80\xae.dots.\\", b"test"),
    name_of(b"\n" * 63, b"\0" * 63, b'"' * 63, b"\xff" * 61),
)
"""Markup, JSON, control characters, what is no UTF-8, and 255 octets of each."""


class Lines:
    """The file of a query log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Every line; each is JSON and has no control character."""
        found = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            assert all(0x20 <= octet < 0x7F for octet in line), line
            found.append(json.loads(line))
        return found

    def about(self, name: str) -> list[dict[str, Any]]:
        """Those about this name."""
        return [line for line in self.read() if line["question"]["name"] == name]

    def has(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many lines about this name."""
        wait_for(lambda: self.path.exists() and len(self.about(name)) >= count, f"{count} lines about {name}")
        return self.about(name)


def settings(path: Path, mode: str = "all") -> str:
    return f"observe: {{query_log: {mode}, query_log_file: {path}}}"


def octets_asked(server: Address, question: bytes) -> bytes:
    """The response to a query with this question, over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(HANG)
        client.connect(server)
        client.send(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + question)
        return client.recv(4096)


def played(stage: Stage) -> None:
    """Names that are answered, denied, answered late, and that fail."""
    stage.upstream.default = ONE
    stage.upstream.on("gone.test.", nxdomain("test."))
    stage.upstream.on("fails.test.", refusal("SERVFAIL"))


def test_each_query_has_its_line_from_either_transport_and_any_source(tmp_path: Path) -> None:
    log = Lines(tmp_path / "log")
    with staged(settings(log.path)) as stage:
        played(stage)
        before = time.time()
        for _ in range(3):
            stage.ask("A.test.")
        stage.ask_tcp("a.test.", "TXT")
        stage.ask("gone.test.")
        stage.ask("fails.test.")
        first, second, third = log.has("A.test.", 3)
        assert [line["source"] for line in (first, second, third)] == ["upstream", "answers", "exact"]
        assert (first["client"], first["transport"], first["rcode"]) == ("127.0.0.1", "udp", "NOERROR")
        assert [(line["upstream"], line["attempts"]) for line in (first, second)] == [(stage.upstream.address, 1), ("", 0)]
        assert first["question"] == {"name": "A.test.", "type": "A", "class": "IN"}
        assert 0 < third["microseconds"] <= first["microseconds"] < 1e6 * (time.time() - before)
        assert third["time"].endswith("Z")
        assert log.has("a.test.")[0]["transport"] == "tcp"
        assert log.has("gone.test.")[0]["rcode"] == "NXDOMAIN"
        (failed,) = log.has("fails.test.")
        assert (failed["rcode"], failed["source"], failed["upstream"]) == ("SERVFAIL", "failure", stage.upstream.address)
        assert failed["attempts"] >= 1
        assert {line["stands_for"] for line in log.read()} == {1}
        assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
        assert stage.daemon.metric("forwarder_query_log_drops_total") == 0


def test_hostile_names_are_escaped_on_a_line_of_their_own(tmp_path: Path) -> None:
    log = Lines(tmp_path / "log")
    with staged(settings(log.path)) as stage:
        stage.upstream.default = ONE
        for name in HOSTILE:
            for _ in range(3):
                octets_asked(stage.server, name + b"\0\1\0\1")
        wait_for(lambda: log.path.exists() and len(log.read()) >= 3 * len(HOSTILE), "a line for each")
        lines = [line for line in log.read() if line["source"] != "policy"]
        assert [name_from_text(line["question"]["name"]) for line in lines] == [
            name.lower() for name in HOSTILE for _ in range(3)
        ]  # fmt: skip


@pytest.mark.parametrize(("mode", "names"), [("errors", {"fails.test."}), ("slow", {"fails.test.", "late.test."})])
def test_a_mode_leaves_out_what_is_not_for_it(tmp_path: Path, mode: str, names: set[str]) -> None:
    log = Lines(tmp_path / "log")
    with staged(settings(log.path, mode)) as stage:
        played(stage)
        stage.upstream.on("late.test.", late(0.2, ONE))
        for name in ("a.test.", "a.test.", "a.test.", "gone.test.", "late.test.", "fails.test."):
            stage.ask(name)
        for name in names:
            log.has(name)
    assert {line["question"]["name"] for line in log.read()} - {"id.server."} == names, "the end has written what there was"


def test_a_reload_turns_it_on_and_off_and_a_worker_that_died_is_followed_by_one_that_notes(tmp_path: Path) -> None:
    log = Lines(tmp_path / "log")
    with staged("observe: {top_names: false}") as stage:
        stage.upstream.default = ONE
        config = Path(stage.daemon.config_file).read_text()
        stage.ask("before.test.")
        stage.daemon.rewrite(config.replace("top_names: false", f"query_log: all\n  query_log_file: {log.path}"))
        assert run_to_end("reload", "--control", stage.daemon.control).returncode == 0
        stage.ask("on.test.")
        log.has("on.test.")
        worker = stage.daemon.worker()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: stage.daemon.workers() not in ([], [worker]), "another worker")
        stage.ask("another.test.")
        log.has("another.test.")
        stage.daemon.rewrite(config)
        assert run_to_end("reload", "--control", stage.daemon.control).returncode == 0
        stage.ask("off.test.")
    assert [line["question"]["name"] for line in log.read() if line["question"]["type"] == "A"] == ["on.test.", "another.test."]


def test_an_orphan_loses_its_notes_and_no_query_and_a_successor_writes_on(tmp_path: Path) -> None:
    log = Lines(tmp_path / "log")
    with ScriptedUpstream() as upstream:
        upstream.default = ONE
        config = f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]\n{settings(log.path)}"
        with Instances(config) as daemon:
            ask(daemon.server, query("first.test."))
            log.has("first.test.")
            daemon.kill_supervisor()
            assert rdatas(ask(daemon.server, query("orphan.test."))) == ["192.0.2.1"]
            daemon.start_again()

            def is_heard() -> bool:
                ask(daemon.server, query("second.test."))
                return bool(log.about("second.test."))

            wait_for(is_heard, "a line of the successor, once it has taken over")
            assert log.about("first.test.")


def test_stdout_is_where_it_goes_unless_a_file_is_named() -> None:
    with staged("observe: {query_log: all}") as stage:
        stage.upstream.default = ONE
        stage.ask("a.test.")
        wait_for(lambda: '"a.test."' in stage.daemon.stdout, "a line on stdout")
        (line,) = [line for line in stage.daemon.stdout.splitlines() if '"a.test."' in line]
        assert json.loads(line)["client"] == "127.0.0.1"


def test_stdout_that_nobody_reads_holds_up_no_query_and_no_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with staged(settings(path)) as stage:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            stage.upstream.default = ONE
            for _ in range(400):  # of which a pipe holds half
                assert rdatas(stage.ask(f"{'x' * 60}.test.")) == ["192.0.2.1"]
            assert stage.daemon.stop() == 0
        finally:
            os.close(reader)


def test_check_says_what_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    zones = "zones: [{zone: ., upstreams: [192.0.2.1]}]\n"
    config.write_text(zones + settings(tmp_path / "log", "off"))
    ended = run_to_end("check", str(config))
    assert ended.returncode == 2
    assert "observe.query_log_file: nothing is written there while observe.query_log is off" in ended.stderr
    config.write_text(zones + settings(tmp_path / "none" / "log", "errors"))
    ended = run_to_end("check", str(config))
    assert ended.returncode == 0
    assert f"observe.query_log_file: {tmp_path}/none is no directory: make it, or no query is logged" in ended.stderr
