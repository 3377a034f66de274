"""The parent as a process: what it prints, what it survives, how it ends; with a stand-in for the worker."""

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from forwarder import config as settings
from forwarder import supervisor, workers
from forwarder.control import asking, protocol
from forwarder.errors import ControlError, ListenError
from forwarder.succession import Source
from tests.lab import stand_in
from tests.lab.ports import free_port
from tests.lab.supervised import (
    NEVER_SERVES,
    SECONDS,
    Running,
    changed,
    children,
    configured,
    eventually,
    has_ended,
    running,
    written,
)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Running]:
    with running(configured(), tmp_path) as started:
        eventually(lambda: "serving" in started.stdout)
        yield started


class TestServing:
    def test_it_says_where_it_listens_whom_it_asks_and_what_to_try(self, daemon: Running) -> None:
        (address,) = daemon.config.listen.addresses
        port = address.rpartition(":")[2]
        assert daemon.stdout.splitlines() == [
            "forwarder is serving",
            f"  listens on  {address} (UDP and TCP)",
            "  . asks 192.0.2.1:53 over UDP",
            "  pinned      1 name",
            f"  watch it    http://{daemon.config.observe.http}/",
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
        shown = {"number": 0, "pid": pid, "serving": True, "state": "serving", "restarts": 0, "last_end": ""}
        assert json.loads(text) == {"status": "serving", "workers": [shown]}
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
            f"forwarder: worker 0 (pid {first}) ended unasked, exit status 3; starting another one at once. {workers.REPORT}",
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

    def test_a_worker_that_dies_again_and_again_is_shown_with_its_end(self, daemon: Running) -> None:
        deadly = Path(daemon.control).with_name(stand_in.DEADLY)
        deadly.touch()
        daemon.tell(b"die")
        eventually(lambda: daemon.health()["workers"][0]["restarts"] >= 3)
        eventually(lambda: daemon.health()["workers"][0]["state"] == "waits to be started again")
        status, text = daemon.page("/health")
        assert (status, json.loads(text)["status"]) == (503, "not serving")
        (shown,) = json.loads(text)["workers"]
        assert (shown["serving"], shown["last_end"]) == (False, "exit status 4")
        deadly.unlink()
        daemon.ask()
        eventually(lambda: daemon.page("/health")[0] == 200)
        (shown,) = daemon.health()["workers"]
        assert (shown["state"], shown["last_end"]) == ("serving", "exit status 4")

    def test_a_worker_that_cannot_start_is_status_1(self, tmp_path: Path) -> None:
        with running(configured(), tmp_path, (sys.executable, "-c", "raise SystemExit(9)")) as daemon:
            assert daemon.process.wait(SECONDS) == 1
            assert daemon.stdout == ""
            assert daemon.stderr.splitlines()[-1].endswith("exit status 9; none of 5 ever served, giving up. " + workers.REPORT)


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
        eventually(lambda: not Path(daemon.control).exists())  # the first one has arrived
        assert daemon.end() == 0
        assert has_ended(pid)
        assert daemon.stderr == ""

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


class TestReload:
    def test_another_configuration_is_another_worker_with_the_answers_of_the_former(self, daemon: Running) -> None:
        first = stand_in.ask(daemon.server)
        assert (first.restored, first.deadline) == ([], 1.8)
        daemon.reload(changed(daemon.config, deadline=1.5))
        eventually(lambda: has_ended(first.pid))
        second = stand_in.ask(daemon.server)
        assert (second.restored, second.deadline) == (["of worker 0"], 1.5)
        assert daemon.stderr == "forwarder: configuration reloaded\n"
        assert daemon.health()["workers"][0]["pid"] == second.pid
        lines = daemon.page("/metrics")[1].splitlines()
        assert "forwarder_coalesced_total 2.0" in lines, "what the former counted stays"
        assert "forwarder_workers_restarted_total 0.0" in lines, "nobody died"
        assert daemon.end() == 0

    @pytest.mark.parametrize(("text", "said"), [(b"{", "data was truncated"), (b"{}", "missing required field `zones`")])
    def test_what_cannot_be_read_changes_nothing(self, daemon: Running, text: bytes, said: str) -> None:
        pid, _ = daemon.ask()
        (Path(daemon.control).parent / "config.json").write_bytes(text)
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "stays as it was" in daemon.stderr)
        first, second = daemon.stderr.splitlines()
        assert first.startswith(f"forwarder: {Path(daemon.control).parent}/config.json: ")
        assert said in first
        assert second == "forwarder: configuration stays as it was"
        assert daemon.ask()[0] == pid

    def test_a_worker_that_cannot_serve_by_it_leaves_the_former_serving(self, daemon: Running) -> None:
        pid, _ = daemon.ask()
        daemon.reload(changed(daemon.config, max_in_progress=stand_in.DIES), says="stays as it was")
        assert daemon.stderr.splitlines()[-2:] == [
            "forwarder: the workers of the new configuration did not come to serve, those before serve on",
            "forwarder: configuration stays as it was",
        ]
        assert daemon.ask()[0] == pid
        assert daemon.health()["workers"][0]["pid"] == pid
        daemon.reload(changed(daemon.config, deadline=1.5))
        eventually(lambda: stand_in.ask(daemon.server).deadline == 1.5)
        assert daemon.end() == 0

    def test_a_signal_in_the_middle_of_one_ends_it(self, daemon: Running) -> None:
        pid, _ = daemon.ask()
        written(Path(daemon.control).parent, changed(daemon.config, max_in_progress=stand_in.HANGS))
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(children(daemon.process.pid)) == 2)
        both = children(daemon.process.pid)
        begun = time.monotonic()
        assert daemon.end() == 0
        assert time.monotonic() < begun + 5.0, "the reload was waited for"
        assert daemon.stderr.splitlines() == [
            "forwarder: the end came first",
            "forwarder: configuration stays as it was",
        ]
        assert all(map(has_ended, {pid, *both}))

    def test_what_needs_another_start_is_said(self, daemon: Running) -> None:
        before, now = daemon.config.observe.http, f"127.0.0.1:{free_port()}"
        observe = msgspec.structs.replace(daemon.config.observe, http=now)
        daemon.reload(msgspec.structs.replace(daemon.config, observe=observe, user="nobody"))
        lines = daemon.stderr.splitlines()
        assert f"forwarder: observe.http: {before} stays until the next start: restart, or forwarder run --takeover" in lines
        assert f"forwarder: user: uid {os.geteuid()} stays until the next start: restart" in lines
        assert daemon.page("/ready")[0] == 200


class TestAsked:
    """At the control socket."""

    def test_a_flush_is_passed_on(self, daemon: Running) -> None:
        flushed = asking.ask([daemon.control], protocol.Flush(protocol.VERSION, "hello.test"))
        assert flushed == protocol.Flushed(entries=1, pinned=1)

    def test_a_reload_tells_what_it_says(self, daemon: Running) -> None:
        asked = protocol.Reload(protocol.VERSION)
        assert asking.ask([daemon.control], asked) == protocol.Reloaded([])
        written(Path(daemon.control).parent, changed(daemon.config, max_in_progress=stand_in.DIES))
        with pytest.raises(ControlError, match=r"(?s)did not come to serve.*stays as it was"):
            asking.ask([daemon.control], asked)

    def test_a_release_without_a_takeover_is_refused(self, daemon: Running) -> None:
        with pytest.raises(ControlError, match="nothing was handed over in this conversation"):
            asking.ask([daemon.control], protocol.Release(protocol.VERSION))
        daemon.ask()
        assert daemon.process.poll() is None


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
            lines = [line for line in daemon.stderr.splitlines() if "upstream" not in line]  # the stand-in asks nobody
            assert lines[0] == f"forwarder: {file} changed: {after} records are pinned from now on"
            assert lines[1].startswith(f"forwarder: {file}:1: ")
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
                supervisor.run(config, Source(lambda: config))

    def test_the_port_of_the_pages_in_use_is_one_too_and_frees_the_others(self) -> None:
        config = configured()
        with (
            socket.create_server(settings.split_address(config.observe.http)),
            pytest.raises(ListenError, match=r"observe\.http"),
        ):
            supervisor.run(config, Source(lambda: config))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(settings.split_address(config.listen.addresses[0]))

    def test_more_names_than_the_link_takes_is_a_problem_with_the_mend(self, tmp_path: Path) -> None:
        with running(configured(), tmp_path, mode="short link") as daemon:
            assert daemon.process.wait(SECONDS) == 1
            assert re.search(r"ConfigError: hosts: .*100 at most: .*net\.core\.wmem_max", daemon.stderr)
