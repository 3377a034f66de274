"""Servers that do not prove to be who they should, and handshakes that end badly: nothing is asked there, and what is said."""

import logging
import socket
import ssl
import struct
import threading
from collections.abc import Iterator

import pytest

from forwarder.upstream.connection import LOOK_AGAIN
from forwarder.upstream.network import address_for
from forwarder.upstream.servers import Failed
from forwarder.upstream.tls import QUIET_SECONDS, ServerIdentity, context_for
from tests.lab.authority import NAME, Authority
from tests.lab.tls_peer import TlsPeer
from tests.test_upstream_network import HANG, framed, open_descriptors, query_for
from tests.test_upstream_tls import Stage, answer_all


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Nobody trusts it."""
    return Authority(tmp_path_factory.mktemp("another"))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING):
        yield caplog


class TestRefusals:
    """A server that does not prove to be who it should is asked nothing."""

    @pytest.mark.parametrize(
        ("kind", "mend"),
        [
            ("another name", "its certificate is not for dns.example.test: write a name behind @ that stands in"),
            ("expired", "its certificate has expired: renew it there"),
            ("not valid yet", "its certificate is not valid yet: set the clock"),
            ("unknown authority", "nobody trusted here vouches for its certificate"),
        ],
    )
    def test_a_wrong_certificate(
        self, authority: Authority, another: Authority, said: pytest.LogCaptureFixture, kind: str, mend: str
    ) -> None:
        contexts = {
            "another name": authority.server("dns.example.net"),
            "expired": authority.server(valid_for=-1),
            "not valid yet": authority.server(valid_for=100),
            "unknown authority": another.server(),
        }
        with TlsPeer(contexts[kind], answer_all) as peer, Stage(peer.address, authority) as stage:
            assert [stage.refused() for _ in range(3)] == [Failed.CERTIFICATE] * 3
            (line,) = said.messages
            assert line.startswith(f"upstream {peer.address.text}@{NAME} is not used: {mend}")
            assert stage.connections == 0
        assert peer.secured == []  # no handshake was ended, and no query came before its end

    def test_one_that_signed_itself(self, authority: Authority, another: Authority) -> None:
        """Trusted when its own certificate is what the operator trusts, else not."""
        key, chain = another.server_files()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        own = ssl.PEM_cert_to_DER_cert(chain.read_text())
        with TlsPeer(context, answer_all) as peer:
            with Stage(peer.address, authority) as stage:
                assert stage.refused() is Failed.CERTIFICATE
            with Stage(peer.address, authority, trusted=own) as stage:
                stage.answered()

    def test_a_server_of_an_old_version(self, authority: Authority, said: pytest.LogCaptureFixture) -> None:
        context = authority.server()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with TlsPeer(context, answer_all) as peer, Stage(peer.address, authority) as stage:
            assert stage.refused() is Failed.NETWORK
            assert peer.secured == []
        assert "no TLS came about" in said.messages[0]

    def test_a_server_without_tls(self, authority: Authority, said: pytest.LogCaptureFixture) -> None:
        def talk_plainly(connection: socket.socket) -> None:
            connection.recv(65535)
            connection.sendall(framed(bytes(100)))
            connection.recv(1)

        with TlsPeer(authority.server(), answer_all, greet=talk_plainly) as peer, Stage(peer.address, authority) as stage:
            assert [stage.refused(), stage.refused()] == [Failed.NETWORK] * 2
        (line,) = said.messages
        assert "does it serve DNS over TLS" in line

    def test_the_name_in_the_subject_is_not_enough(self, authority: Authority) -> None:
        """RFC 8310 section 8.1: subjectAltName alone counts."""
        context = authority.server("hostmaster@example.test", common_name=NAME)
        with TlsPeer(context, answer_all) as peer, Stage(peer.address, authority) as stage:
            assert stage.refused() is Failed.CERTIFICATE

    def test_what_is_no_certificate_is_an_error(self) -> None:
        with pytest.raises(ssl.SSLError):
            context_for(b"none")


def error_for(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


class TestComplaints:
    def test_said_again_when_it_was_well_meanwhile(self, authority: Authority, said: pytest.LogCaptureFixture) -> None:
        wrong = error_for("WRONG")
        with TlsPeer(authority.server(), answer_all) as peer, Stage(peer.address, authority) as stage:
            stage.identity.failed(wrong, 100.0)
            stage.identity.failed(wrong, 1000.0)
            assert len(said.messages) == 1
            stage.answered()
            stage.identity.failed(wrong, 2000.0)
            assert len(said.messages) == 2

    def test_something_else_is_said_but_not_at_once(self, authority: Authority, said: pytest.LogCaptureFixture) -> None:
        """One name, two servers, each wrong in its own way."""
        identity = ServerIdentity(context_for(authority.der), address_for("192.0.2.1", 853), NAME)
        for number in range(100):
            identity.failed(error_for(f"WAY_{number % 2}"), 100.0)
        assert len(said.messages) == 1
        identity.failed(error_for("WAY_1"), 100.0 + QUIET_SECONDS)
        assert "WAY_1" in said.messages[1]


class TestHandshakesThatEndBadly:
    def test_reset(self, authority: Authority, said: pytest.LogCaptureFixture) -> None:
        def reset(connection: socket.socket) -> None:
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        with TlsPeer(authority.server(), answer_all, greet=reset) as peer, Stage(peer.address, authority) as stage:
            assert stage.refused() is Failed.NETWORK
        assert not said.messages  # as a refused TCP connection is not: the counters have it

    def test_closed(self, authority: Authority) -> None:
        def close(connection: socket.socket) -> None:
            connection.recv(65535)
            connection.close()

        with TlsPeer(authority.server(), answer_all, greet=close) as peer, Stage(peer.address, authority) as stage:
            assert stage.refused() is Failed.NETWORK

    def test_silence_ends_when_the_query_does(self, authority: Authority) -> None:
        """And nothing of the query was on the wire: what came is a ClientHello."""
        heard: list[bytes] = []
        has_heard, is_over = threading.Event(), threading.Event()

        def listen(connection: socket.socket) -> None:
            heard.append(connection.recv(65535))
            has_heard.set()
            is_over.wait(HANG)

        with TlsPeer(authority.server(), answer_all, greet=listen) as peer, Stage(peer.address, authority) as stage:
            before = open_descriptors()
            asked = stage.ask(query_for("secret.example.com"), 0.4)
            stage.end_turn()
            stage.serve_until(has_heard)
            assert stage.is_quiet()  # it waits for the server, not for room to write
            stage.pass_time(0.5)
            assert asked.failed is Failed.TIMEOUT
            assert stage.connections == 1, "it may yet be answered"
            asked.abandon()
            stage.pass_time(LOOK_AGAIN)
            assert stage.connections == 0
            assert open_descriptors() <= before + 1  # the other side's
            assert heard[0][0] == 0x16  # a handshake record, RFC 8446 section 5.1
            assert b"secret" not in heard[0]
            is_over.set()
