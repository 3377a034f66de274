"""An upstream that is asked over TLS (`transport: tls`, RFC 7858): the right server is used, a wrong one never is.

Certificates come from an authority that the test made; the daemon is told of it by `ca_file`, or as the system's.
"""

import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.lab.authority import NAME, Authority
from tests.lab.behaviours import TRUTH, addresses, answer, close_mid_message, in_turn, late
from tests.lab.clients import UdpClient, ask, ask_tcp, extended_errors, framed, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream
from tests.lab.tls_peer import TlsPeer
from tests.lab.unbound import Unbound

IN_TIME = 3.0
"""Seconds: well below the 5 s that a client waits, well above the daemon's deadline of 1.8 s."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def upstream_with(context: ssl.SSLContext) -> ScriptedUpstream:
    upstream = ScriptedUpstream(tls=context)
    upstream.default = TRUTH
    return upstream


def zone(upstreams: Sequence[str], ca_file: Path | None, name: str = ".") -> str:
    certificates = "none" if ca_file is None else str(ca_file)
    return f"{{zone: {name}, upstreams: {list(upstreams)}, transport: tls, ca_file: {certificates}}}"


@contextmanager
def daemon_before(*upstreams: ScriptedUpstream, ca_file: Path) -> Iterator[Daemon]:
    with Daemon(f"zones: [{zone([f'{one.address}@{NAME}' for one in upstreams], ca_file)}]") as daemon:
        yield daemon


def answered(daemon: Daemon, name: str) -> list[str]:
    return rdatas(ask(daemon.server, query(name)))


def failed_in_time(daemon: Daemon, name: str) -> dns.message.Message:
    """The response to a query that must fail, before its client gives up."""
    began = time.monotonic()
    response = ask(daemon.server, query(name, payload=1232))
    assert time.monotonic() - began < IN_TIME
    assert response.rcode() == dns.rcode.SERVFAIL
    assert not response.answer
    return response


def complaints(daemon: Daemon) -> list[str]:
    return [line for line in daemon.stderr.splitlines() if "is not used: " in line]


class TestTheRightServer:
    def test_many_queries_few_connections(self, authority: Authority) -> None:
        """Pipelined, answered in any order, nothing over UDP; counted as TLS under the name as written."""
        with upstream_with(authority.server()) as upstream, daemon_before(upstream, ca_file=authority.file) as daemon:
            upstream.on("*.many.test", late(0.02, TRUTH))
            with UdpClient(daemon.server) as client:
                for number in range(200):
                    client.send(query(f"n{number}.many.test"))
                responses = [client.receive() for _ in range(200)]
            assert all(response is not None and rdatas(response) == ["192.0.2.1"] for response in responses)
            assert upstream.connections <= 16
            assert {received.transport for received in upstream.received} == {"tcp"}
            labels = {"upstream": f"{upstream.address}@{NAME}", "transport": "tls"}
            assert daemon.metric("forwarder_upstream_queries_total", **labels) >= 200  # and a probe for loops
            assert f". asks {upstream.address}@{NAME} over TLS" in daemon.stdout
            assert daemon.stderr == ""

    def test_an_answer_of_64_kib(self, authority: Authority) -> None:
        with upstream_with(authority.server()) as upstream, daemon_before(upstream, ca_file=authority.file) as daemon:
            upstream.on("huge.test", answer(*addresses(4080)))
            assert len(set(rdatas(ask_tcp(daemon.server, query("huge.test"))))) == 4080

    def test_connections_that_die(self, authority: Authority) -> None:
        """In the middle of a message, and all together: asked again on fresh ones."""
        with upstream_with(authority.server()) as upstream, daemon_before(upstream, ca_file=authority.file) as daemon:
            upstream.on("dies.test", in_turn(close_mid_message(TRUTH), TRUTH))
            assert answered(daemon, "dies.test") == ["192.0.2.1"]
            upstream.drop_connections()
            assert answered(daemon, "after.test") == ["192.0.2.1"]

    def test_a_new_worker_trusts_the_same(self, authority: Authority) -> None:
        with upstream_with(authority.server()) as upstream, daemon_before(upstream, ca_file=authority.file) as daemon:
            assert answered(daemon, "before.test") == ["192.0.2.1"]
            first = daemon.worker()
            os.kill(first, signal.SIGKILL)
            wait_for(lambda: "(pid" in daemon.stderr and ") serving" in daemon.stderr, "another worker")
            assert answered(daemon, "after.test") == ["192.0.2.1"]

    def test_the_systems_certificates(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        with (
            upstream_with(authority.server()) as upstream,
            Daemon(f"zones: [{zone([f'{upstream.address}@{NAME}'], None)}]") as one,
        ):
            assert answered(one, "system.test") == ["192.0.2.1"]

    def test_unbound(self, authority: Authority) -> None:
        """A server that people run, its own idea of TLS."""
        with (
            Unbound(authority.server_files(), ['"one.real.test. 60 IN A 192.0.2.7"']) as server,
            Daemon(f"zones: [{zone([f'{server.address}@{NAME}'], authority.file)}]") as daemon,
        ):
            assert answered(daemon, "one.real.test") == ["192.0.2.7"]
            assert ask(daemon.server, query("none.real.test")).rcode() == dns.rcode.NXDOMAIN


class TestAWrongServer:
    """SERVFAIL in time, one line that says why, a count; never an answer, and never a query to it."""

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("another name", "is not for dns.example.test"),
            ("expired", "has expired"),
            ("unknown authority", "nobody trusted here vouches for its certificate"),
        ],
    )
    def test_a_wrong_certificate(self, authority: Authority, tmp_path: Path, kind: str, words: str) -> None:
        context = {
            "another name": authority.server("dns.example.net"),
            "expired": authority.server(valid_for=-1),
            "unknown authority": Authority(tmp_path).server(),
        }[kind]
        with upstream_with(context) as upstream, daemon_before(upstream, ca_file=authority.file) as daemon:
            for number in range(3):
                response = failed_in_time(daemon, f"n{number}.wrong.test")
                assert extended_errors(response) == [(23, f"no valid certificate from {upstream.address}@{NAME}")]
            assert upstream.received == []
            (line,) = complaints(daemon)
            assert line.startswith(f"forwarder: upstream {upstream.address}@{NAME} is not used: ")
            assert words in line
            failures = daemon.metric("forwarder_upstream_failures_total", reason="certificate")
            assert failures == 3

    def test_it_is_used_as_soon_as_it_is_mended(self, authority: Authority) -> None:
        """Without a restart; said once."""
        port = free_port()
        with Daemon(f"zones: [{zone([f'127.0.0.1:{port}@{NAME}'], authority.file)}]") as daemon:
            with ScriptedUpstream(port=port, tls=authority.server(valid_for=-1)):
                failed_in_time(daemon, "mended.test")
            with ScriptedUpstream(port=port, tls=authority.server()) as mended:
                mended.default = TRUTH
                wait_for(lambda: answered(daemon, "mended.test") == ["192.0.2.1"], "an answer from the mended server")
            assert len(complaints(daemon)) == 1

    def test_the_next_upstream_is_used_meanwhile(self, authority: Authority) -> None:
        with (
            upstream_with(authority.server("dns.example.net")) as wrong,
            upstream_with(authority.server()) as right,
            daemon_before(wrong, right, ca_file=authority.file) as daemon,
        ):
            assert answered(daemon, "next.test") == ["192.0.2.1"]
            assert wrong.received == []

    def test_what_one_zone_trusts_another_does_not(self, authority: Authority, tmp_path: Path) -> None:
        """One server, two zones, each with its own `ca_file`."""
        other = Authority(tmp_path)
        with upstream_with(authority.server()) as upstream:
            address = [f"{upstream.address}@{NAME}"]
            zones = f"{zone(address, authority.file, 'good.test')}, {zone(address, other.file, 'bad.test')}"
            with Daemon(f"zones: [{zones}]") as daemon:
                assert answered(daemon, "a.good.test") == ["192.0.2.1"]
                failed_in_time(daemon, "a.bad.test")
                assert [received.name.lower() for received in upstream.received] == ["a.good.test."]


class TestHandshakesThatEndBadly:
    def test_a_server_that_never_ends_the_handshake(self, authority: Authority) -> None:
        """It takes connections and says nothing: the next upstream answers, in time."""
        with (
            ScriptedUpstream() as silent,  # its bare TCP side takes a ClientHello for the beginning of a long message
            upstream_with(authority.server()) as right,
            daemon_before(silent, right, ca_file=authority.file) as daemon,
        ):
            began = time.monotonic()
            assert answered(daemon, "silent.test") == ["192.0.2.1"]
            assert time.monotonic() - began < IN_TIME
            assert silent.connections >= 1
            assert complaints(daemon) == []

    def test_alone_it_is_a_failure_in_time(self, authority: Authority) -> None:
        with ScriptedUpstream() as silent, daemon_before(silent, ca_file=authority.file) as daemon:
            failed_in_time(daemon, "silent.test")
            assert daemon.metric("forwarder_upstream_failures_total", reason="timeout") >= 1
            wait_for(lambda: silent.open_connections == 0, "every connection to it closed")

    def test_reset_in_the_middle(self, authority: Authority) -> None:

        def reset(connection: socket.socket) -> None:
            connection.recv(10)  # what is left unread makes a reset of the close
            connection.close()

        with upstream_with(authority.server()) as right:
            resetting = TlsPeer(authority.server(), lambda _: None, greet=reset)
            with (
                resetting,
                Daemon(
                    f"zones: [{zone([f'{resetting.address.text}@{NAME}', f'{right.address}@{NAME}'], authority.file)}]"
                ) as daemon,
            ):
                assert answered(daemon, "reset.test") == ["192.0.2.1"]
                assert daemon.metric("forwarder_upstream_failures_total", reason="network") == 1

    def test_a_server_without_tls_is_said(self, authority: Authority) -> None:
        """It answers plainly, as a server at port 53 may."""

        def talk_plainly(connection: socket.socket) -> None:
            connection.recv(65535)
            connection.sendall(framed(bytes(12)))

        with (
            TlsPeer(authority.server(), lambda _: None, greet=talk_plainly) as peer,
            Daemon(f"zones: [{zone([f'{peer.address.text}@{NAME}'], authority.file)}]") as daemon,
        ):
            failed_in_time(daemon, "plain.test")
            (line,) = complaints(daemon)
            assert "does it serve DNS over TLS" in line
