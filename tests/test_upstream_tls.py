"""TLS upstreams against real TLS servers of the standard library: what is trusted, what is said, what flows."""

import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType

import pytest

from forwarder.config import Word, server_name
from forwarder.config_file.values import value_for
from forwarder.upstream.network import Address, address_for
from forwarder.upstream.servers import Failed
from forwarder.upstream.stream import CHUNK, IDLE_TIMEOUT, STUCK, StreamUpstream
from forwarder.upstream.tls import ServerIdentity, context_for
from forwarder.wire.message import Query
from tests.lab.authority import NAME, Authority
from tests.lab.collector import garbage_after
from tests.lab.tls_peer import TlsPeer, receive
from tests.test_upstream_network import (
    ADDRESS,
    HANG,
    Asked,
    Scene,
    framed,
    query_for,
    question_of,
    response_to,
)

UNTIL = 1.8


def answer_all(connection: ssl.SSLSocket) -> None:
    """Each query as it comes, a record for each response."""
    while True:
        connection.sendall(framed(response_to(receive(connection))))


class Stage(Scene):
    """A scene with an upstream that trusts one authority, and expects one name."""

    def __init__(self, address: Address, authority: Authority, *, trusted: bytes | None = None) -> None:
        """`trusted`: this certificate in place of the authority's."""
        super().__init__()
        self.identity = ServerIdentity(context_for(trusted or authority.der), address, NAME)
        self.upstream = StreamUpstream(address, self.network, self.tally, wants_ad=False, identity=self.identity)

    def ask(self, query: Query | None = None, seconds: float = UNTIL) -> Asked:
        return Asked(self.upstream.exchange(query or query_for(), self.now + seconds))

    def answered(self, count: int = 1) -> list[Asked]:
        """So many queries, all answered."""
        asked = [self.ask() for _ in range(count)]
        self.end_turn()
        self.serve_until_over(*asked)
        assert {one.address for one in asked} == {ADDRESS}
        return asked

    def serve_until(self, happened: threading.Event) -> None:
        """Turns of the loop until something has happened on the other side."""
        until = time.monotonic() + HANG
        while not happened.wait(0.001):
            assert time.monotonic() < until, "the other side waits for something"
            if not self.is_quiet():
                self.serve()

    def refused(self) -> Failed:
        """Why a query is not answered."""
        asked = self.ask()
        self.end_turn()
        self.serve_until_over(asked)
        return asked.failed

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.upstream.close()
        self.pass_time(10)
        super().__exit__(kind, error, traceback)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def limited(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.maximum_version = version
    return context


class TestAnswers:
    def test_a_query_is_answered_and_counted_as_tls(self, authority: Authority) -> None:
        with TlsPeer(authority.server(), answer_all) as peer, Stage(peer.address, authority) as stage:
            stage.answered()
            assert (stage.queries_sent("tls"), stage.queries_sent("tcp"), stage.connections) == (1, 0, 1)
            assert peer.asked_for == [NAME]
            assert stage.upstream.name == f"{peer.address.text}@{NAME}"

    def test_many_queries_one_connection(self, authority: Authority) -> None:
        with TlsPeer(authority.server(), answer_all) as peer, Stage(peer.address, authority) as stage:
            for _ in range(10):
                stage.answered(20)
            assert peer.dialled == 1

    def test_all_records_that_came_are_read_at_once(self, authority: Authority) -> None:
        """Nothing that was decrypted stays behind: no further octet comes that would wake us for it."""
        has_queries, may_answer = threading.Event(), threading.Event()

        def answer_together(connection: ssl.SSLSocket) -> None:
            queries = [receive(connection) for _ in range(20)]
            has_queries.set()
            assert may_answer.wait(HANG)
            for query in queries:
                connection.sendall(framed(response_to(query)))
            with suppress(OSError):
                connection.recv(1)

        with TlsPeer(authority.server(), answer_together) as peer, Stage(peer.address, authority) as stage:
            asked = [stage.ask() for _ in range(20)]
            stage.end_turn()
            stage.serve_until(has_queries)
            may_answer.set()
            stage.serve_until_over(*asked)
            assert {one.address for one in asked} == {ADDRESS}

    def test_a_response_of_64_kib(self, authority: Authority) -> None:
        """Four records and more, in as many pieces as TCP likes."""
        addresses = [struct.pack("!I", 0x0A000000 + number) for number in range(4000)]

        def answer_at_length(connection: ssl.SSLSocket) -> None:
            connection.sendall(framed(response_to(receive(connection), addresses)))
            with suppress(OSError):
                connection.recv(1)

        with TlsPeer(authority.server(), answer_at_length) as peer, Stage(peer.address, authority) as stage:
            asked = stage.ask()
            stage.serve_until_over(asked)
            assert len(asked.response.message) > 64_000

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_the_next_connection_takes_the_session_up_again(self, authority: Authority, version: ssl.TLSVersion) -> None:
        context = limited(authority.server(), version)
        with TlsPeer(context, answer_all) as peer, Stage(peer.address, authority) as stage:
            stage.answered()
            stage.now += IDLE_TIMEOUT + 1
            stage.network.turn.begin()
            stage.answered()
            name = version.name.replace("TLSv1_", "TLSv1.")
            assert peer.secured == [(name, False), (name, True)]

    def test_a_server_that_reads_slowly_gets_every_octet(self, authority: Authority) -> None:
        """Records that the kernel does not take are sent later, once, and in order."""
        may_read = threading.Event()
        found: list[bytes] = []

        def read_late(connection: ssl.SSLSocket) -> None:
            queries = [receive(connection)]
            connection.sendall(framed(response_to(queries[0])))
            assert may_read.wait(HANG)
            found.extend(receive(connection) for _ in range(500))
            connection.sendall(b"".join(framed(response_to(query)) for query in found))
            with suppress(OSError):
                connection.recv(1)

        with TlsPeer(authority.server(), read_late) as peer, Stage(peer.address, authority) as stage:
            stage.answered()
            (connection,) = stage.upstream._connections  # noqa: SLF001 - only a small buffer fills with so few queries
            connection._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # noqa: SLF001 - the same
            long = query_for(".".join(["x" * 60] * 4))
            asked = []
            for number in range(500):
                asked.append(Asked(connection.send(long, stage.now + UNTIL, wants_ad=False, edns=True)))
                if number % 10 == 9:
                    stage.end_turn()
            assert connection.unsent > 0
            may_read.set()
            stage.serve_until_over(*asked)
            assert {one.address for one in asked} == {ADDRESS}
            assert ({question_of(query) for query in found}, len({query[:2] for query in found})) == ({long.question}, 500)


def test_a_handshake_far_away_is_waited_for(authority: Authority) -> None:
    """Each of its steps is a sign of life: queries that come meanwhile dial no connections of their own."""
    may_go_on = threading.Event()

    def wait(_connection: socket.socket) -> None:
        assert may_go_on.wait(HANG)

    with TlsPeer(authority.server(), answer_all, greet=wait) as peer, Stage(peer.address, authority) as stage:
        asked = [stage.ask() for _ in range(CHUNK)]  # they share one choice of connection; the next is another
        stage.now += STUCK * 0.9
        stage.serve()
        stage.now += STUCK * 0.6
        stage.network.turn.begin()
        asked.append(stage.ask())
        assert stage.connections == 1
        may_go_on.set()
        stage.serve_until_over(*asked)
        assert [one.address for one in asked] == [ADDRESS] * (CHUNK + 1)


class TestEnds:
    def test_a_server_that_takes_leave_is_not_asked_there_again(self, authority: Authority) -> None:
        """close_notify, and TCP stays open (RFC 8446 section 6.1)."""

        def answer_and_leave(connection: ssl.SSLSocket) -> None:
            connection.sendall(framed(response_to(receive(connection))))
            with suppress(OSError):
                connection.unwrap()

        with TlsPeer(authority.server(), answer_and_leave) as peer, Stage(peer.address, authority) as stage:
            for number in range(3):
                stage.answered()
                while stage.connections:
                    stage.serve()
                assert peer.dialled == number + 1

    def test_lost_with_a_query_outstanding(self, authority: Authority) -> None:
        def answer_one_and_leave(connection: ssl.SSLSocket) -> None:
            connection.sendall(framed(response_to(receive(connection))))
            receive(connection)
            connection.close()

        with TlsPeer(authority.server(), answer_one_and_leave) as peer, Stage(peer.address, authority) as stage:
            stage.answered()
            assert stage.refused() is Failed.LOST

    def test_octets_that_are_no_records(self, authority: Authority) -> None:
        def talk_nonsense(connection: ssl.SSLSocket) -> None:
            receive(connection)
            with socket.socket(fileno=connection.detach()) as bare:
                bare.sendall(bytes(100))
                bare.recv(1)

        with TlsPeer(authority.server(), talk_nonsense) as peer, Stage(peer.address, authority) as stage:
            assert stage.refused() is Failed.NETWORK

    def test_nothing_is_left_for_the_collector(self, authority: Authority) -> None:
        with TlsPeer(authority.server(), answer_all) as peer, Stage(peer.address, authority) as stage:

            def dial_and_ask() -> None:
                stage.answered(3)
                stage.now += IDLE_TIMEOUT + 1
                stage.network.turn.begin()

            assert garbage_after(dial_and_ask, 20) == 0


@pytest.mark.parametrize("name", ["dns", "a_b.example", "xn--bcher-kva.example", "x" * 63, ".".join(["x" * 62] * 4), "-a.1"])
def test_every_name_that_a_configuration_takes_can_be_proved(authority: Authority, name: str) -> None:
    upstream = value_for(Word.UPSTREAM, f"192.0.2.1@{name}")
    assert isinstance(upstream, str)
    identity = ServerIdentity(context_for(authority.der), address_for("192.0.2.1", 853), server_name(upstream))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        identity.tls(incoming, outgoing).do_handshake()
    assert name.encode() in outgoing.read()
