"""What happens when somebody wrote something wrong: one clear message, the right exit status, never a traceback.

Exit status 2: command line or configuration. 1: the configuration is right, but the address is taken.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab.clients import ask, extended_errors, query, rdatas
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.needs import needs_root
from tests.lab.patience import wait_for
from tests.lab.ports import bound_pair, free_port
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage

pytestmark = pytest.mark.side_by_side

GOOD_ZONES = "zones: [{zone: ., upstreams: ['127.0.0.1:9']}]\n"

MISTAKES = {
    "not YAML": ("zones: [", ["line"]),
    "a tab": ("zones:\n\t- zone: .\n", ["line 2"]),
    "not a mapping": ("- zones\n", []),
    "unknown key": (GOOD_ZONES + "lisen: {}\n", ["lisen"]),
    "unknown key below": ("zones: [{zone: ., upstreams: ['127.0.0.1:9'], upstrems: []}]\n", ["zones[0]", "upstrems"]),
    "no unit": (GOOD_ZONES + "answering: {deadline: 1.8}\n", ["answering.deadline"]),
    "wrong unit": (GOOD_ZONES + "answering: {deadline: 2 fortnights}\n", ["answering.deadline", "fortnights"]),
    "size for a duration": (GOOD_ZONES + "cache: {max_ttl: 32MiB}\n", ["cache.max_ttl", "MiB"]),
    "too large": (GOOD_ZONES + "answering: {deadline: 1h}\n", ["answering.deadline"]),
    "wrong type": (GOOD_ZONES + "listen: {addresses: 127.0.0.1}\n", ["listen.addresses"]),
    "no address": (GOOD_ZONES + "listen: {addresses: ['localhost:53']}\n", ["listen.addresses[0]", "localhost"]),
    "no such port": (GOOD_ZONES + "listen: {addresses: ['127.0.0.1:99999']}\n", ["listen.addresses[0]", "99999"]),
    "no upstream in a zone": ("zones: [{zone: ., upstreams: []}]\n", ["zones[0].upstreams"]),
    "no zone": ("zones: []\n", ["zones"]),
    "nothing at all": ("", ["zones"]),
    "upstream by name": ("zones: [{zone: ., upstreams: [dns.example]}]\n", ["zones[0].upstreams[0]", "dns.example"]),
    "own address": (
        "listen: {addresses: ['127.0.0.1:5399']}\nzones: [{zone: ., upstreams: ['127.0.0.1:5399']}]\n",
        ["zones[0].upstreams[0]", "127.0.0.1:5399"],
    ),
    "zone twice": (
        "zones: [{zone: a.test, upstreams: ['127.0.0.1:9']}, {zone: A.test., upstreams: ['127.0.0.1:9']}]\n",
        ["zones[1].zone", "a.test"],
    ),
    "pinned to nonsense": (GOOD_ZONES + "hosts: {records: {a.test: [192.0.2.300]}}\n", ["hosts.records", "192.0.2.300"]),
    "hosts file missing": (GOOD_ZONES + "hosts: {files: [/nonexistent/hosts]}\n", ["/nonexistent/hosts"]),
    "not available yet": (
        "zones: [{zone: ., upstreams: ['127.0.0.1:9'], on_failure: nxdomain}]\n",
        ["zones[0].on_failure", "write it for the zones that need it"],
    ),
    "TLS without a name": (
        "zones: [{zone: ., upstreams: ['127.0.0.1'], transport: tls, ca_file: /nowhere}]\n",
        ["zones[0].upstreams[0]", "127.0.0.1@NAME"],
    ),
    "a name without TLS": (
        "zones: [{zone: ., upstreams: ['127.0.0.1@dns.test']}]\n",
        ["zones[0].upstreams[0]", "leave @dns.test out"],
    ),
    "resolv.conf for TLS": (
        "zones: [{zone: ., upstreams: [/etc/resolv.conf], transport: tls}]\n",
        ["zones[0].upstreams[0]", "ADDRESS@NAME"],
    ),
    "certificates without TLS": (
        "zones: [{zone: ., upstreams: ['127.0.0.1:9'], ca_file: /nowhere}]\n",
        ["zones[0].ca_file", "leave it out"],
    ),
    "certificates missing": (
        "zones: [{zone: ., upstreams: ['127.0.0.1@dns.test'], transport: tls, ca_file: /nonexistent/ca}]\n",
        ["zones[0].ca_file", "/nonexistent/ca", "cannot be read"],
    ),
}


def assert_one_clear_message(done: subprocess.CompletedProcess[str], status: int, words: list[str]) -> None:
    """On stderr, few lines, with the words that lead to the mistake."""
    assert done.returncode == status, done.stderr
    assert done.stderr.strip()
    assert len(done.stderr.strip().splitlines()) <= 6, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def without(capability: str) -> Sequence[str]:
    """The program that runs another as root with all capabilities but one (setpriv(1))."""
    return ("setpriv", f"--inh-caps=-{capability}", f"--bounding-set=-{capability}")


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", [("run", "--config"), ("check",)], ids=["run", "check"])
def test_a_mistake_in_the_file(tmp_path: Path, mistake: str, command: tuple[str, ...]) -> None:
    """`run` and `check` say the same, and where."""
    text, words = MISTAKES[mistake]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    done = run_to_end(*command, str(file))
    assert_one_clear_message(done, 2, words)
    assert "config.yaml" in done.stderr or "/nonexistent" in done.stderr


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Three mistakes, three lines: nobody mends a file one run at a time."""
    file = tmp_path / "config.yaml"
    file.write_text("zones: [{zone: ., upstreams: [nowhere]}]\nanswering: {deadline: 1.8}\ncahce: {}\n")
    done = run_to_end("check", str(file))
    assert_one_clear_message(done, 2, ["zones[0].upstreams[0]", "answering.deadline", "cahce"])


@pytest.mark.parametrize("path", ["/nonexistent/config.yaml", "/"])
def test_a_file_that_cannot_be_read(path: str) -> None:
    """It does not exist, or is a directory."""
    for command in (("run", "--config", path), ("check", path)):
        assert_one_clear_message(run_to_end(*command), 2, [path])


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Octets that are no UTF-8."""
    file = tmp_path / "config.yaml"
    file.write_bytes(b"zones: \xff\xfe\x00\n")
    assert_one_clear_message(run_to_end("check", str(file)), 2, [str(file)])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["--help"]),
        ("nonsense", ["nonsense"]),
        ("run --nonsense", ["--nonsense"]),
        ("check", ["FILE"]),
        ("run --listen nowhere --upstream 127.0.0.1:9", ["--listen", "nowhere"]),
        ("run --listen 127.0.0.1:99999 --upstream 127.0.0.1:9", ["--listen", "99999"]),
        ("run --upstream nowhere", ["--upstream", "nowhere"]),
        ("run --upstream 127.0.0.1:5300", ["127.0.0.1:5300"]),
    ],
)
def test_a_mistake_on_the_command_line(line: str, words: list[str]) -> None:
    """What is missing, or what is wrong with the value."""
    assert_one_clear_message(run_to_end(*line.split()), 2, words)


def test_help() -> None:
    """On one screen, both commands, exit status 0."""
    done = run_to_end("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) <= 50
    for word in ("run", "check", "--config", "--listen", "--upstream"):
        assert word in done.stdout


def test_check_prints_what_it_understood(tmp_path: Path) -> None:
    """The whole effective configuration, with units; it can be checked in turn and says the same."""
    file = tmp_path / "config.yaml"
    file.write_text(GOOD_ZONES + "answering: {deadline: 1500ms}\n")
    first = run_to_end("check", str(file))
    assert (first.returncode, first.stderr) == (0, "")
    assert "deadline: 1.5s" in first.stdout
    for key in ("listen:", "zones:", "hosts:", "cache:", "observe:", "max_negative_ttl: 30s", "memory: 32MiB"):
        assert key in first.stdout
    again = tmp_path / "again.yaml"
    again.write_text(first.stdout)
    second = run_to_end("check", str(again))
    assert (second.returncode, second.stdout) == (0, first.stdout)


@pytest.mark.parametrize("taken", ["udp", "tcp"])
def test_a_port_somebody_else_has(taken: str) -> None:
    """One line: the address, UDP or TCP; exit status 1."""
    datagrams, listener = bound_pair()
    port = datagrams.getsockname()[1]
    (listener if taken == "udp" else datagrams).close()
    with datagrams, listener:
        done = run_to_end("run", "--listen", f"127.0.0.1:{port}", "--upstream", "127.0.0.1:9")
    assert_one_clear_message(done, 1, [f"127.0.0.1:{port}", taken.upper()])


def test_a_port_that_another_instance_has() -> None:
    """SO_REUSEPORT must not hide it: two instances would share the queries by chance."""
    with Daemon(GOOD_ZONES) as daemon:
        port = daemon.server[1]
        done = run_to_end("run", "--listen", f"127.0.0.1:{port}", "--upstream", "127.0.0.1:9")
        assert_one_clear_message(done, 1, [f"127.0.0.1:{port}"])


def test_a_port_of_the_metrics_that_somebody_has(tmp_path: Path) -> None:
    """Said as clearly, exit status 1: a daemon nobody can watch is not what was asked for."""
    datagrams, listener = bound_pair()
    with datagrams, listener:
        http = f"127.0.0.1:{listener.getsockname()[1]}"
        file = tmp_path / "config.yaml"
        file.write_text(f"{GOOD_ZONES}listen: {{addresses: ['127.0.0.1:{free_port()}']}}\nobserve: {{http: '{http}'}}\n")
        assert_one_clear_message(run_to_end("run", "--config", str(file)), 1, [http])


def test_a_port_one_may_not_bind() -> None:
    """Port 53 without privilege: what to do about it."""
    needs_root()
    done = run_to_end("run", "--listen", "127.0.0.1:53", "--upstream", "127.0.0.1:9", before=without("net_bind_service"))
    assert_one_clear_message(done, 1, ["127.0.0.1:53"])


def test_a_receive_buffer_the_kernel_does_not_grant() -> None:
    """It serves with what it got, and says what that is and how to have more."""
    before = without("net_admin") if os.geteuid() == 0 else ()
    with Daemon(GOOD_ZONES + "listen: {receive_buffer: 256MiB}", before=before) as daemon:
        wait_for(lambda: "listen.receive_buffer" in daemon.stderr, "it says what it did not get")
        most = Path("/proc/sys/net/core/rmem_max").read_text().strip()
        assert f"grants {most} octets of {256 << 20}" in daemon.stderr
        assert "net.core.rmem_max" in daemon.stderr


@pytest.mark.parametrize("text", ["", "# nothing here\nsearch a.test\n"])
def test_no_nameserver_in_resolv_conf(tmp_path: Path, text: str) -> None:
    """A closed network, a laptop without cable: pinned names are served, and stderr says what is missing."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(text)
    pinned = "hosts: {records: {hello.forwarder.test: [192.0.2.1]}}"
    with Daemon(f"zones: [{{zone: ., upstreams: ['{resolv_conf}']}}]\n{pinned}") as daemon, ScriptedUpstream() as nobody:
        stage = Stage(daemon, nobody)
        assert rdatas(stage.ask("hello.forwarder.test")) == ["192.0.2.1"]
        response = stage.ask("other.forwarder.test", payload=1232)
        assert response.rcode().name in {"SERVFAIL", "REFUSED"}
        wait_for(lambda: str(resolv_conf) in daemon.stderr, "it says which file has no nameserver")
        assert "nameserver" in daemon.stderr


def test_a_resolv_conf_names_the_upstream(tmp_path: Path) -> None:
    """Its nameservers are asked on port 53, in their order; here one on loopback that refuses connections."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.77\n")
    with Daemon(f"zones: [{{zone: ., upstreams: ['{resolv_conf}']}}]") as daemon:
        wait_for(lambda: "127.0.0.77:53" in daemon.stdout, "it says whom it asks")
        ((_, reason),) = extended_errors(ask(daemon.server, query("a.forwarder.test", payload=1232)))
        assert reason == "cannot reach 127.0.0.77:53"
