"""The pages over real HTTP: the right status, no method but GET, no client that can hold the others up."""

import asyncio
import contextlib
import http.client
import json
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import pytest

from forwarder.observe import counters, metrics, pages
from forwarder.observe.exposition import CONTENT_TYPE

SECONDS = 20


@dataclass
class ShownWorker:
    number: int = 0
    serving: bool = True
    restarts: int = 0
    pid: int | None = 4711
    state: str = "serving"
    last_end: str = ""


@dataclass
class Shown:
    """A daemon to look at."""

    slots: memoryview = field(default_factory=counters.private)
    rows: dict[str, bool] = field(default_factory=lambda: {"192.0.2.1:53": True})
    known: Sequence[ShownWorker] = field(default_factory=lambda: [ShownWorker()])
    ready: bool = True
    restarted: int = 0

    def counts(self) -> Sequence[int]:
        return self.slots

    def workers(self) -> Sequence[ShownWorker]:
        return self.known

    def figures(self) -> metrics.Figures:
        return metrics.Figures(workers_restarted=self.restarted, receive_drops=5, upstreams=self.rows)

    def is_ready(self) -> bool:
        return self.ready


Visit = Callable[[int], object]


def visited(shown: Shown, visit: Visit) -> None:
    """Serve the pages, let somebody visit them on their port from another thread, end."""

    async def inside() -> None:
        bound = socket.create_server(("127.0.0.1", 0))
        bound.setblocking(False)
        ending = asyncio.Event()
        serving = asyncio.create_task(pages.serve(bound, shown, ending))
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.to_thread(visit, bound.getsockname()[1])
        finally:
            ending.set()
            async with asyncio.timeout(SECONDS):
                await serving

    asyncio.run(inside())


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def asked(port: int, method: str, path: str, body: bytes | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def answer(shown: Shown, path: str, *, method: str = "GET", body: bytes | None = None) -> Answer:
    answers: list[Answer] = []
    visited(shown, lambda port: answers.append(asked(port, method, path, body)))
    return answers[0]


def test_metrics_are_those_of_the_collector() -> None:
    shown = Shown(known=[ShownWorker(restarts=2), ShownWorker(number=1)], restarted=3)
    shown.slots[counters.COALESCED] = 9
    got = answer(shown, "/metrics")
    assert got.status == 200
    assert got.headers["content-type"] == CONTENT_TYPE
    lines = got.body.decode().splitlines()
    assert "forwarder_coalesced_total 9" in lines
    assert "forwarder_workers_restarted_total 3" in lines
    assert "forwarder_receive_drops_total 5" in lines
    assert any(line.startswith('forwarder_upstream_up{upstream="192.0.2.1:53"}') for line in lines)


@pytest.mark.parametrize(
    ("workers", "status", "word"),
    [
        ([ShownWorker()], 200, "serving"),
        ([ShownWorker(serving=False, pid=None, restarts=3, state="ended", last_end="exit status 3")], 503, "not serving"),
        ([ShownWorker(restarts=1, last_end="signal 9 (SIGKILL)"), ShownWorker(number=1)], 200, "serving"),
        ([ShownWorker(serving=False, state="starting"), ShownWorker(number=1)], 503, "not serving"),
    ],
)
def test_health_is_whether_every_worker_serves_and_tells_of_each(workers: list[ShownWorker], status: int, word: str) -> None:
    got = answer(Shown(known=workers), "/health")
    described = [asdict(one) for one in workers]
    assert got.status == status
    assert got.headers["content-type"] == "application/json"
    assert json.loads(got.body) == {"status": word, "workers": described}


@pytest.mark.parametrize(("ready", "status", "word"), [(True, 200, "ready"), (False, 503, "not ready")])
def test_ready(*, ready: bool, status: int, word: str) -> None:
    got = answer(Shown(ready=ready), "/ready")
    assert (got.status, json.loads(got.body)) == (status, {"status": word})


@pytest.mark.parametrize("path", ["/metrics", "/health", "/ready"])
def test_only_get_and_head(path: str) -> None:
    def visit(port: int) -> None:
        head = asked(port, "HEAD", path)
        assert (head.status, head.body) == (200, b"")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            got = asked(port, method, path)
            assert got.status == 405
            assert set(got.headers["allow"].split(", ")) == {"GET", "HEAD"}

    visited(Shown(), visit)


@pytest.mark.parametrize("path", ["/", "/metrics/", "/nothing", "//metrics", "/..%2fmetrics", "/metrics%00"])
def test_any_other_path_is_not_found_and_nothing_redirects(path: str) -> None:
    got = answer(Shown(), path)
    assert got.status == 404
    assert "location" not in got.headers


@pytest.mark.parametrize("path", ["/metrics", "/nothing"])
def test_headers_of_every_response(path: str) -> None:
    headers = answer(Shown(), path).headers
    assert set(pages.HEADERS) <= headers.items()
    assert "server" not in headers


def test_a_large_body_is_not_read() -> None:
    def visit(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            client.sendall(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 4096)
            assert client.recv(64).startswith(b"HTTP/1.1 405 ")

    visited(Shown(), visit)


def test_an_endless_header_is_refused() -> None:
    def visit(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * pages.MAX_HEADER_SIZE)
            client.sendall(b"x" * 4096)
            assert client.recv(64).startswith(b"HTTP/1.1 4")

    visited(Shown(), visit)


def test_garbage_is_no_line_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    def visit(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            client.sendall(b"\x16\x03\x01\x00\xff\r\n\r\n")
            assert client.recv(64).startswith(b"HTTP/1.1 400 ")

    visited(Shown(), visit)
    assert capfd.readouterr() == ("", "")


def test_more_connections_than_allowed_are_turned_away() -> None:
    def visit(port: int) -> None:
        idle = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS) for _ in range(pages.MAX_CONNECTIONS)]
        assert asked(port, "GET", "/metrics").status == 503
        for connection in idle:
            connection.close()
        while asked(port, "GET", "/metrics").status != 200:
            pass

    visited(Shown(), visit)


def test_who_is_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_CONNECTION_SECONDS", 0.05)

    def visit(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(64) == b""

    visited(Shown(), visit)


def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    kept: list[socket.socket] = []
    visited(Shown(), lambda port: kept.append(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)))
    with kept[0] as connection:
        assert connection.recv(1) == b""


def test_signals_stay_who_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    during: list[object] = []

    def visit(port: int) -> None:
        asked(port, "GET", "/ready")
        during.extend(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP))

    visited(Shown(), visit)
    assert during == before
