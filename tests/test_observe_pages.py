"""The pages over real HTTP: the right status, no method but GET, no client that can hold the others up."""

import contextlib
import json
import signal
import socket
from dataclasses import asdict

import pytest

from forwarder.observe import counters, pages
from forwarder.observe.exposition import CONTENT_TYPE
from tests.lab.figures import Daemon, SeenWorker
from tests.lab.pages import Served, Shown, answer, visited


def test_metrics_are_those_of_the_collector() -> None:
    shown = Shown(Daemon(workers=[SeenWorker(restarts=2), SeenWorker(number=1)]), restarted=3)
    shown.slots[counters.COALESCED] = 9
    got = answer(shown, "/metrics")
    assert got.status == 200
    assert got.headers["content-type"] == CONTENT_TYPE
    lines = got.body.decode().splitlines()
    assert "forwarder_coalesced_total 9.0" in lines
    assert "forwarder_workers_restarted_total 3.0" in lines
    assert "forwarder_receive_drops_total 5.0" in lines
    assert any(line.startswith('forwarder_upstream_up{upstream="192.0.2.1:53"}') for line in lines)


@pytest.mark.parametrize(
    ("workers", "status", "word"),
    [
        ([SeenWorker()], 200, "serving"),
        ([SeenWorker(serving=False, pid=None, restarts=3, state="ended", last_end="exit status 3")], 503, "not serving"),
        ([SeenWorker(restarts=1, last_end="signal 9 (SIGKILL)"), SeenWorker(number=1)], 200, "serving"),
        ([SeenWorker(serving=False, state="starting"), SeenWorker(number=1)], 503, "not serving"),
    ],
)
def test_health_is_whether_every_worker_serves_and_tells_of_each(workers: list[SeenWorker], status: int, word: str) -> None:
    got = answer(Shown(Daemon(workers=workers)), "/health")
    described = [asdict(one) for one in workers]
    assert got.status == status
    assert got.headers["content-type"] == "application/json"
    assert json.loads(got.body) == {"status": word, "workers": described}


@pytest.mark.parametrize(("ready", "status", "word"), [(True, 200, "ready"), (False, 503, "not ready")])
def test_ready(*, ready: bool, status: int, word: str) -> None:
    got = answer(Shown(ready=ready), "/ready")
    assert (got.status, json.loads(got.body)) == (status, {"status": word})


@pytest.mark.parametrize(
    "path", ["/metrics", "/health", "/ready", "/", "/page.js", "/api/overview", "/api/history", "/api/events"]
)
def test_only_get_and_head(path: str) -> None:
    def visit(served: Served) -> None:
        head = served.ask(path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            got = served.ask(path, method=method)
            assert got.status == 405
            assert set(got.headers["allow"].split(", ")) == {"GET", "HEAD"}

    visited(Shown(), visit)


@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/api",
        "/metrics/",
        "/nothing",
        "//metrics",
        "/..%2fmetrics",
        "/page/page.js",
        "/../pages.py",
        "/%2e%2e/pages.py",
        "/metrics%00",
    ],
)
def test_any_other_path_is_not_found_and_nothing_redirects(path: str) -> None:
    got = answer(Shown(), path)
    assert got.status == 404
    assert "location" not in got.headers


@pytest.mark.parametrize("path", ["/metrics", "/nothing", "/", "/api/overview", "/api/history"])
def test_headers_of_every_response(path: str) -> None:
    headers = answer(Shown(), path).headers
    assert set(pages.HEADERS) <= headers.items()
    assert "server" not in headers


def test_a_large_body_is_not_read() -> None:
    def visit(served: Served) -> None:
        with served.connected() as client:
            client.sendall(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 4096)
            assert client.recv(64).startswith(b"HTTP/1.1 405 ")

    visited(Shown(), visit)


def test_an_endless_header_is_refused() -> None:
    def visit(served: Served) -> None:
        with served.connected() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * pages.MAX_HEADER_SIZE)
            client.sendall(b"x" * 4096)
            assert client.recv(64).startswith(b"HTTP/1.1 4")

    visited(Shown(), visit)


def test_garbage_is_no_line_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    def visit(served: Served) -> None:
        with served.connected() as client:
            client.sendall(b"\x16\x03\x01\x00\xff\r\n\r\n")
            assert client.recv(64).startswith(b"HTTP/1.1 400 ")

    visited(Shown(), visit)
    assert capfd.readouterr() == ("", "")


def test_more_connections_than_allowed_are_turned_away() -> None:
    def visit(served: Served) -> None:
        idle = [served.connected() for _ in range(pages.MAX_CONNECTIONS)]
        assert served.ask("/metrics").status == 503
        for connection in idle:
            connection.close()
        while served.ask("/metrics").status != 200:
            pass

    visited(Shown(), visit)


def test_who_is_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_CONNECTION_SECONDS", 0.05)

    def visit(served: Served) -> None:
        with served.connected() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(64) == b""

    visited(Shown(), visit)


def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    kept: list[socket.socket] = []
    visited(Shown(), lambda served: kept.append(served.connected()))
    with kept[0] as connection:
        assert connection.recv(1) == b""


def test_signals_stay_who_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    during: list[object] = []

    def visit(served: Served) -> None:
        served.ask("/ready")
        during.extend(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP))

    visited(Shown(), visit)
    assert during == before
