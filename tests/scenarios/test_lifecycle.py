"""Living and dying: a worker that is killed, a supervisor that is told to stop, files that change.

The sockets belong to the supervisor: a datagram that arrives while there is no worker waits for the next one.
"""

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import dns.rcode
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.behaviours import TRUTH, answer, late
from tests.lab.clients import HANG, TcpClient, UdpClient, ask, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.namespaces import Network
from tests.lab.needs import needs_namespaces
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage, staged

pytestmark = pytest.mark.side_by_side


def is_gone(pid: int) -> bool:
    """Whether the process is no more, or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_worker_is_replaced() -> None:
    """With kill -9: the query that arrives meanwhile is answered by the successor, without being sent again."""
    with staged() as stage, UdpClient(stage.server) as client:
        stage.upstream.on("*.killed.test", TRUTH)
        assert rdatas(stage.ask("before.killed.test")) == ["192.0.2.1"]
        queries_before = stage.daemon.metric("forwarder_queries_total", type="A")
        for count in (1, 2, 3):
            worker = stage.daemon.worker()
            os.kill(worker, signal.SIGKILL)
            wait_for(partial(is_gone, worker), "the worker is gone")
            client.send(query(f"n{count}.killed.test"))
            response = client.receive()
            assert response is not None, "the datagram was lost with the worker"
            assert rdatas(response) == ["192.0.2.1"]
            assert stage.daemon.worker() != worker
            assert stage.daemon.metric("forwarder_workers_restarted_total") == count
        assert rdatas(stage.ask_tcp("stream.killed.test")) == ["192.0.2.1"]
        assert stage.daemon.page("/health").status == 200
        assert stage.daemon.metric("forwarder_queries_total", type="A") == queries_before + 4, "counters survive the worker"


def test_stop_drains() -> None:
    """SIGTERM while a query is in progress: it is answered, over UDP and TCP, then exit 0; nothing is left behind."""
    with staged() as stage, UdpClient(stage.server) as client, TcpClient(stage.server) as stream:
        stage.upstream.default = late(0.3, TRUTH)
        client.send(query("datagram.drain.test"))
        stream.send(query("stream.drain.test"))
        wait_for(lambda: len(stage.upstream.received) == 2, "both questions are in progress")
        worker = stage.daemon.worker()
        stage.daemon.process.send_signal(signal.SIGTERM)
        for response in (client.receive(), stream.receive()):
            assert response is not None
            assert rdatas(response) == ["192.0.2.1"]
        assert stage.daemon.process.wait(HANG) == 0
        assert is_gone(worker)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_stop_when_idle(sent: signal.Signals) -> None:
    """Exit 0, quietly."""
    with staged() as stage:
        worker = stage.daemon.worker()
        stage.daemon.process.send_signal(sent)
        assert stage.daemon.process.wait(HANG) == 0
        assert stage.daemon.stderr == ""
        assert is_gone(worker)


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """A hosts file with one name."""
    file = tmp_path / "hosts"
    file.write_text("192.0.2.1 one.hosts.test uno.hosts.test\n")
    return file


def test_a_hosts_file_that_changes(hosts: Path) -> None:
    """Replaced, rewritten, broken: the good ones are taken over, the broken one is reported and the old kept."""
    with staged(f"hosts: {{files: ['{hosts}']}}") as stage:
        stage.upstream.default = answer(rcode="NXDOMAIN")

        def told(name: str, qtype: str = "A") -> list[str]:
            return rdatas(stage.ask(name, qtype))

        assert told("uno.hosts.test") == ["192.0.2.1"]
        assert told("1.2.0.192.in-addr.arpa", "PTR") == ["one.hosts.test."]
        fresh = hosts.with_name("fresh")
        fresh.write_text("192.0.2.2 one.hosts.test\n2001:db8::2 one.hosts.test\n")
        fresh.replace(hosts)
        wait_for(lambda: told("one.hosts.test") == ["192.0.2.2"], "the replaced file is taken over")
        assert told("one.hosts.test", "AAAA") == ["2001:db8::2"]
        assert stage.ask("uno.hosts.test").rcode() == dns.rcode.NXDOMAIN
        hosts.write_text("192.0.2.3 one.hosts.test\n")
        wait_for(lambda: told("one.hosts.test") == ["192.0.2.3"], "the rewritten file is taken over")
        hosts.write_text("192.0.2.300 one.hosts.test\n")
        wait_for(lambda: str(hosts) in stage.daemon.stderr, "the broken file is reported")
        assert told("one.hosts.test") == ["192.0.2.3"]
        hosts.unlink()
        time.sleep(1.5)  # longer than the file is left unwatched
        assert told("one.hosts.test") == ["192.0.2.3"]
        worker = stage.daemon.worker()
        os.kill(worker, signal.SIGKILL)
        assert told("one.hosts.test") == ["192.0.2.3"], "the successor is told the same"


def test_a_hosts_file_behind_a_link(tmp_path: Path) -> None:
    """As a ConfigMap is mounted: the directory behind the link is swapped."""
    for version in ("1", "2"):
        (tmp_path / f"v{version}").mkdir()
        (tmp_path / f"v{version}" / "hosts").write_text(f"192.0.2.{version} map.hosts.test\n")
    data = tmp_path / "data"
    data.symlink_to("v1")
    with staged(f"hosts: {{files: ['{data}/hosts']}}") as stage:
        assert rdatas(stage.ask("map.hosts.test")) == ["192.0.2.1"]
        swapped = tmp_path / "swapped"
        swapped.symlink_to("v2")
        swapped.replace(data)
        wait_for(lambda: rdatas(stage.ask("map.hosts.test")) == ["192.0.2.2"], "the swap is seen")


# --- pages -----------------------------------------------------------------------------------------------------------


def test_health_and_readiness(stage: Stage) -> None:
    """For probes: 200, JSON, GET only."""
    for path in ("/health", "/ready"):
        page = stage.daemon.page(path)
        assert page.status == 200
        assert page.content_type.startswith("application/json")
        assert isinstance(json.loads(page.text), dict)
        assert stage.daemon.page(path, method="POST").status == 405
    assert stage.daemon.page("/nothing").status == 404


def test_metrics_count_what_happened(stage: Stage) -> None:
    """One query fetched, then one from memory: the figures move by just that."""

    def answered(source: str) -> float:
        return stage.daemon.metric("forwarder_responses_total", rcode="NOERROR", source=source)

    stage.upstream.on("counted.metrics.test", TRUTH)
    before = {source: answered(source) for source in ("upstream", "answers", "exact")}
    queries = stage.daemon.metric("forwarder_queries_total", transport="udp", family="ipv4", type="A")
    asked = stage.daemon.metric("forwarder_upstream_queries_total", upstream=stage.upstream.address)
    entries = stage.daemon.metric("forwarder_cache_entries", kind="positive")
    for _ in range(3):
        assert rdatas(stage.ask("counted.metrics.test")) == ["192.0.2.1"]
    after = {source: answered(source) for source in before}
    assert after["upstream"] == before["upstream"] + 1
    assert after["answers"] + after["exact"] == before["answers"] + before["exact"] + 2
    assert stage.daemon.metric("forwarder_queries_total", transport="udp", family="ipv4", type="A") == queries + 3
    assert stage.daemon.metric("forwarder_upstream_queries_total", upstream=stage.upstream.address) == asked + 1
    wait_for(lambda: stage.daemon.metric("forwarder_cache_entries", kind="positive") == entries + 1, "the gauge follows")
    assert stage.daemon.metric("forwarder_deadline_missed_total") == 0


def test_metrics_are_named_as_written_down(stage: Stage) -> None:
    """The families that dashboards rely on are there from the start, each with a help text."""
    families = {family.name: family for family in text_string_to_metric_families(stage.daemon.page("/metrics").text)}
    expected = {
        "forwarder_queries", "forwarder_responses", "forwarder_response_seconds", "forwarder_cache_entries",
        "forwarder_cache_bytes", "forwarder_cache_evictions", "forwarder_coalesced", "forwarder_upstream_queries",
        "forwarder_upstream_failures", "forwarder_upstream_seconds", "forwarder_mismatched_responses",
        "forwarder_deadline_missed", "forwarder_workers_restarted", "forwarder_receive_drops",
        "forwarder_refused_clients", "forwarder_build_info",
    }  # fmt: skip
    assert expected <= set(families)
    assert all(families[name].documentation for name in expected)


def test_what_it_prints_on_start(stage: Stage) -> None:
    """Where it listens, whom it asks, where to watch it, and a dig line to try."""
    wait_for(lambda: "dig " in stage.daemon.stdout, "a dig line to try")
    printed = stage.daemon.stdout
    host, port = stage.server
    for words in (f"{host}:{port}", stage.upstream.address, stage.daemon.url, f"dig @{host} -p {port}"):
        assert words in printed
    assert stage.daemon.stderr == ""


def test_listen_and_upstream_on_the_command_line() -> None:
    """Without a file: everything else has its default, the metrics on 127.0.0.1:9253 included."""
    needs_namespaces()
    with Network() as network:
        host = network.namespace("host")
        with host.inside():
            upstream = ScriptedUpstream()
        upstream.default = TRUTH
        arguments = ["--listen", "127.0.0.1:53", "--upstream", upstream.address]
        with upstream, Daemon(arguments=arguments, namespace=host) as daemon:
            with host.inside():
                assert rdatas(ask(daemon.server, query("plain.arguments.test"))) == ["192.0.2.1"]
            assert daemon.page("/ready").status == 200
