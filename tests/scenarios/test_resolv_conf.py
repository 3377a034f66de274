"""A resolv.conf file that changes while the daemon serves: its nameservers are asked from then on, and no query is lost.

Whatever is wrong with the file, those asked before are asked on: an upstream that nobody configured never is. The file
cannot name a port: two upstreams stand on port 53 of a network of their own.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.rcode
import pytest

from tests.lab.behaviours import answer, late
from tests.lab.clients import HANG, UdpClient, ask, extended_errors, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

FIRST, SECOND, OURS = "127.0.0.11", "127.0.0.12", "127.0.0.1"
BETWEEN = 0.01
"""Seconds between two queries of the steady client: 100 a second."""


class House:
    """A daemon that asks whom a file names, and two upstreams that may be named: each answers with its own address."""

    def __init__(self, host: Namespace, file: Path, daemon: Daemon, upstreams: dict[str, ScriptedUpstream]) -> None:
        self.host = host
        self.file = file
        self.daemon = daemon
        self.upstreams = upstreams
        self._names = 0

    def asks(self) -> str:
        """Who answers a name that was never asked before; empty when nobody does."""
        self._names += 1
        with self.host.inside():
            response = ask(self.daemon.server, query(f"n{self._names}.probe.test"))
        return " ".join(rdatas(response))

    def asks_at_last(self, address: str) -> None:
        """Wait until this upstream answers."""
        wait_for(lambda: self.asks() == address, f"{address} is asked from now on")

    def switches_to(self, address: str) -> None:
        """Wait until this upstream answers; then nobody else is asked any more."""
        self.asks_at_last(address)
        others = [upstream for upstream in self.upstreams.values() if upstream.host != address]
        before = [len(upstream.received) for upstream in others]
        assert [self.asks() for _ in range(5)] == [address] * 5
        assert [len(upstream.received) for upstream in others] == before

    def says(self, line: str) -> None:
        """Wait for this line on stderr."""
        wait_for(lambda: f"forwarder: {line}" in self.daemon.stderr.splitlines(), f"it says: {line}")

    def complains(self, beginning: str) -> None:
        """Wait for a line on stderr that begins so."""
        wait_for(lambda: f"forwarder: {beginning}" in self.daemon.stderr, f"it says: {beginning}")

    def arrived(self, host: str) -> int:
        """How many queries reached it, probes for loops included."""
        return len(self.upstreams[host].received) + len(self.upstreams[host].probes)

    def queries(self, address: str) -> float:
        """How many the metrics say it was sent."""
        return self.daemon.metric("forwarder_upstream_queries_total", upstream=f"{address}:53")

    def gauges(self) -> set[str]:
        """The upstreams of which the metrics say whether they are up."""
        lines = self.daemon.page("/metrics").text.splitlines()
        return {line.split('"')[1] for line in lines if line.startswith("forwarder_upstream_up{")}


@contextmanager
def house(folder: Path, text: str | None, *, transport: str = "udp") -> Iterator[House]:
    needs_namespaces()
    file = folder / "resolv.conf"
    if text is not None:
        file.write_text(text)
    with Network() as network:
        host = network.namespace("host")
        with host.inside():
            upstreams = {address: ScriptedUpstream(address, 53) for address in (FIRST, SECOND)}
        for address, upstream in upstreams.items():
            upstream.default = late(0.02, answer(f"@ 0 IN A {address}"))  # so that questions are in progress at any time
        zone = f"zones: [{{zone: ., upstreams: ['{file}'], transport: {transport}}}]"
        with upstreams[FIRST], upstreams[SECOND], Daemon(zone, hosts=(OURS,), namespace=host) as daemon:
            wait_for(lambda: daemon.page("/ready").status == 200, "it is ready")
            yield House(host, file, daemon, upstreams)


class SteadyClient:
    """Asks for names that nobody knows yet, at a steady rate, each once, until it is told to end."""

    def __init__(self, house: House) -> None:
        self.sent = 0
        self.rcodes: list[str] = []
        self._ending = threading.Event()
        with house.host.inside():
            self._client = UdpClient(house.daemon.server)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()
        self._client.__exit__(kind, error, traceback)

    def has_sent(self, more: int) -> None:
        """Wait until so many more are on their way."""
        enough = self.sent + more
        wait_for(lambda: self.sent >= enough, f"{more} more queries are on their way")

    def end(self) -> None:
        """Send no more, and wait for what is still to come."""
        self._ending.set()
        self._thread.join()
        while len(self.rcodes) < self.sent and self._receive(HANG):
            pass

    def _run(self) -> None:
        while not self._ending.wait(BETWEEN):
            self._client.send(query(f"n{self.sent}.steady.test"))
            self.sent += 1
            while self._receive(0.001):
                pass

    def _receive(self, seconds: float) -> bool:
        response = self._client.receive(seconds=seconds)
        if response is not None:
            self.rcodes.append(dns.rcode.to_text(response.rcode()))
        return response is not None


def by_rewriting(file: Path, text: str) -> None:
    """As a shell's `>` does."""
    file.write_text(text)


def by_renaming(file: Path, text: str) -> None:
    """As careful programs do."""
    file.with_name("fresh").write_text(text)
    file.with_name("fresh").replace(file)


def by_linking(file: Path, text: str) -> None:
    """As systemd-resolved and the kubelet do."""
    folder = file.with_name(f"v{sum(1 for _ in file.parent.iterdir())}")
    folder.mkdir()
    (folder / "resolv.conf").write_text(text)
    file.with_name("fresh").symlink_to(folder / "resolv.conf")
    file.with_name("fresh").replace(file)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_switched_under_load(tmp_path: Path, transport: str) -> None:
    """Every way in which files change, under a steady stream of queries: each is answered, none with a failure."""
    with house(tmp_path, f"nameserver {FIRST}\n", transport=transport) as at:
        with SteadyClient(at) as client:
            for change, address in ((by_rewriting, SECOND), (by_renaming, FIRST), (by_linking, SECOND), (by_linking, FIRST)):
                client.has_sent(20)
                change(at.file, f"nameserver {address}\n")
                at.says(f"zone . asks {address}:53 from now on ({at.file} changed)")
                at.asks_at_last(address)
            client.end()
        assert client.sent >= 80
        assert client.rcodes == ["NOERROR"] * client.sent
        assert len(at.daemon.stderr.splitlines()) == 4
        assert at.daemon.metric("forwarder_deadline_missed_total") == 0


def by_a_folder(file: Path) -> None:
    """As a container runtime does where the file to be mounted is missing."""
    file.unlink()
    file.mkdir()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "emptied": (lambda file: file.write_text(""), "names no nameserver"),
    "removed": (Path.unlink, "does not exist"),
    "names ourselves": (lambda file: file.write_text(f"nameserver {OURS}\n"), "names no nameserver but this daemon"),
    "a folder": (by_a_folder, "cannot be read (Is a directory)"),
}


def test_a_broken_file_keeps_those_asked_before(tmp_path: Path) -> None:
    """Said once, in one line with the mend; restored, nothing is said; mended otherwise, it is followed."""
    with house(tmp_path, f"nameserver {FIRST}\n") as at:
        for number, (breaking, sentence) in enumerate(BROKEN.values(), 1):
            breaking(at.file)
            at.complains(f"{at.file} {sentence}; upstreams stay as they were: ")
            assert at.asks() == FIRST
            if at.file.is_dir():
                at.file.rmdir()
            by_renaming(at.file, f"nameserver {FIRST}\n")
            assert at.asks() == FIRST
            assert len(at.daemon.stderr.splitlines()) == number
        assert not at.upstreams[SECOND].received
        at.file.write_text(f"nameserver {OURS}\nnameserver {SECOND}\n")
        at.says(f"{at.file} names {OURS}:53, which is this daemon: left out, queries would run in a circle")
        at.says(f"zone . asks {SECOND}:53 from now on ({at.file} changed)")
        at.switches_to(SECOND)


def test_a_file_that_comes_later(tmp_path: Path) -> None:
    """Missing at the start: a warning, and nobody is asked; the network comes up, and so do answers."""
    with house(tmp_path, None) as at:
        assert f"forwarder: zone .: {at.file} does not exist; write " in at.daemon.stderr
        with at.host.inside():
            response = ask(at.daemon.server, query("early.test", payload=1232))
        assert response.rcode() == dns.rcode.SERVFAIL
        assert [text for _, text in extended_errors(response)] == ["no upstream is configured for this name"]
        at.file.write_text(f"nameserver {SECOND}\n")
        at.switches_to(SECOND)
        assert not at.upstreams[FIRST].received


def test_a_worker_that_dies_in_between(tmp_path: Path) -> None:
    """Its successor asks whom the file names now, broken meanwhile or not."""
    with house(tmp_path, f"nameserver {FIRST}\n") as at:
        assert at.asks() == FIRST
        at.file.write_text(f"nameserver {SECOND}\n")
        at.switches_to(SECOND)
        for text in (f"nameserver {SECOND}\n", ""):
            at.file.write_text(text)
            if not text:
                at.complains(f"{at.file} names no nameserver; ")
            os.kill(at.daemon.worker(), signal.SIGKILL)
            at.switches_to(SECOND)


def test_figures_stay_what_they_are(tmp_path: Path) -> None:
    """An upstream that is asked no more keeps its counters, but nothing says that it is up; asked again, it counts on."""
    with house(tmp_path, f"nameserver {FIRST}\n") as at:
        assert at.asks() == FIRST
        assert at.gauges() == {f"{FIRST}:53"}
        at.file.write_text(f"nameserver {SECOND}\n")
        at.switches_to(SECOND)
        first, second = at.queries(FIRST), at.queries(SECOND)
        assert (first, second) == (at.arrived(FIRST), at.arrived(SECOND))
        assert at.gauges() == {f"{SECOND}:53"}
        at.file.write_text(f"nameserver {SECOND}\nnameserver {FIRST}\n")
        at.says(f"zone . asks {SECOND}:53, {FIRST}:53 from now on ({at.file} changed)")
        assert at.gauges() == {f"{FIRST}:53", f"{SECOND}:53"}
        at.file.write_text(f"nameserver {FIRST}\n")
        at.switches_to(FIRST)
        assert at.queries(FIRST) == at.arrived(FIRST) > first
        assert at.queries(SECOND) == at.arrived(SECOND) >= second
