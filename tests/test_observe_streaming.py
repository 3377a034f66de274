"""Responses in parts over real HTTP: a few at a time, none for who does not read, and none when the daemon ends."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from forwarder.observe import pages, streaming
from tests.lab.pages import Served, Shown, visited

EVENTS = b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@contextlib.contextmanager
def stream(served: Served, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """Somebody who looks on, from when the header of the response is there."""
    with served.connected() as client:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.sendall(EVENTS)
        assert client.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
        yield client


def until(client: socket.socket, wanted: bytes) -> bytes:
    """What comes, up to that or the end."""
    got = b""
    while wanted not in got and (octets := client.recv(65536)):
        got += octets
    return got


def long_winded() -> Shown:
    """A daemon that has more to say than the kernel keeps for who does not listen."""
    shown = Shown()
    shown.daemon.counted["x" * 1_000_000] = 1
    return shown


def test_more_streams_than_allowed_are_told_to_come_again() -> None:
    def visit(served: Served) -> None:
        with contextlib.ExitStack() as open_streams:
            for _ in range(streaming.MAX_STREAMS):
                open_streams.enter_context(stream(served))
            got = served.ask("/api/events")
            assert (got.status, got.headers["retry-after"]) == (503, str(streaming.RETRY_SECONDS))
            assert served.ask("/metrics").status == 200
        served.look()
        while served.ask("/api/events", method="HEAD").status != 200:
            pass

    visited(Shown(), visit)


def test_a_stream_outlives_other_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_CONNECTION_SECONDS", 0.05)

    def visit(served: Served) -> None:
        with stream(served) as client:
            served.look()
            until(client, b"data: ")
            time.sleep(0.2)
            served.look()
            assert b"data: " in until(client, b"data: ")

    visited(Shown(), visit)


def test_a_stream_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STREAM_SECONDS", 0.05)

    def visit(served: Served) -> None:
        with stream(served) as client:
            assert until(client, b"\r\n0\r\n\r\n").endswith(b"\r\n0\r\n\r\n")

    visited(Shown(), visit)


def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STALLED_SECONDS", 0.1)
    monkeypatch.setattr(streaming, "MAX_STREAMS", 1)

    def visit(served: Served) -> None:
        with stream(served, receive_buffer=4096):
            assert served.ask("/api/events", method="HEAD").status == 503
            while served.ask("/api/events", method="HEAD").status != 200:
                served.look()

    visited(long_winded(), visit)


def test_the_end_of_the_daemon_ends_streams_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    """Those that are read, and those that are not: nothing had to be cancelled."""
    with contextlib.ExitStack() as clients:

        def visit(served: Served) -> None:
            for receive_buffer in (None, 4096):
                clients.enter_context(stream(served, receive_buffer))
            for _ in range(10):
                served.look()

        visited(long_winded(), visit)
    assert capfd.readouterr() == ("", "")


def test_a_client_that_goes_makes_room() -> None:
    def visit(served: Served) -> None:
        for _ in range(3 * streaming.MAX_STREAMS):
            with contextlib.suppress(AssertionError), stream(served) as client:
                until(client, b"retry")
        while served.ask("/api/events", method="HEAD").status != 200:
            pass

    visited(Shown(), visit)


def test_head_tells_of_a_stream_without_one() -> None:
    def visit(served: Served) -> None:
        got = served.ask("/api/events", method="HEAD")
        assert (got.status, got.headers["content-type"], got.body) == (200, "text/event-stream", b"")
        assert json.loads(served.ask("/api/history").body) == []

    visited(Shown(), visit)
