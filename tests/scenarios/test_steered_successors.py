"""Two workers, and whatever comes after them on the same sockets: a name meets the worker that the steering says, for good.

The kernel counts the sockets of an address in the order in which they were bound. Whoever has them later, a reload, another
instance, a unit that is restarted, must give them to workers in that order: else each would remember what others are asked.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from forwarder.steering import worker_for
from forwarder.wire.names import name_from_text
from tests.lab.behaviours import answer
from tests.lab.clients import HANG, Address, ask, query, rdatas
from tests.lab.instances import Instances
from tests.lab.patience import wait_for
from tests.lab.ports import bound_pair, free_port
from tests.lab.scripted import ScriptedUpstream
from tests.lab.service_manager import UNIT, PlayedSystemd

WORKERS = 4
NAMES = [f"name{number}.steered.test" for number in range(64)]
LISTENING_FOR = 0.3
"""Seconds for those who can answer while one of them is stopped."""


@dataclass(frozen=True, slots=True)
class Stage:
    """An upstream that answers every name, and a configuration with several workers that ask it."""

    upstream: ScriptedUpstream
    config: str

    def ask_all(self, server: Address) -> int:
        """How many of the names the upstream was asked for, when each was asked for once here."""
        before = len(self.upstream.received)
        for name in NAMES:
            assert rdatas(ask(server, query(name))) == ["192.0.2.9"]
        return len(self.upstream.received) - before


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ScriptedUpstream() as upstream:
        upstream.default = answer("@ 3000 IN A 192.0.2.9")
        config = f"""
listen: {{workers: {WORKERS}}}
zones: [{{zone: ., upstreams: ['{upstream.address}']}}]
cache: {{snapshot: {tmp_path}/cache.snapshot}}
"""
        yield Stage(upstream, config)


def silent_without(server: Address, worker: int) -> set[str]:
    """The names that nobody answers while this process is stopped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(server)
        client.settimeout(LISTENING_FOR)
        os.kill(worker, signal.SIGSTOP)
        try:
            for number, name in enumerate(NAMES):
                client.send(number.to_bytes(2, "big") + query(name).to_wire()[2:])
            found = set(NAMES)
            until = time.monotonic() + LISTENING_FOR
            while time.monotonic() < until:
                try:
                    found.discard(NAMES[int.from_bytes(client.recv(512)[:2], "big")])
                except TimeoutError:
                    break
        finally:
            os.kill(worker, signal.SIGCONT)
    return found


def assert_steered(server: Address, workers: Sequence[int]) -> None:
    """Each of these processes has the names that are its own."""
    for number, pid in enumerate(workers):
        own = {name for name in NAMES if worker_for(name_from_text(name), WORKERS) == number}
        assert silent_without(server, pid) == own, f"worker {number}"


def numbered(daemon: Instances) -> list[int]:
    """Process numbers of the workers that serve, by their number."""
    wait_for(lambda: len(daemon.workers()) == WORKERS, "the workers before have left")
    return [one["pid"] for one in daemon.shown_workers()]


def workers_of(unit: PlayedSystemd) -> list[int]:
    """The same: a unit's were started in their order, and none died."""
    pid = unit.main.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_reload_and_handover(stage: Stage) -> None:
    with Instances(stage.config) as daemon:
        assert stage.ask_all(daemon.server) == len(NAMES)
        assert_steered(daemon.server, numbered(daemon))
        daemon.reload(stage.config + "hosts: {records: {now.test: ['192.0.2.1']}}\n")
        assert stage.ask_all(daemon.server) == 0
        assert_steered(daemon.server, numbered(daemon))
        for _ in range(2):
            assert daemon.hand_over().status == 0
            assert stage.ask_all(daemon.server) == 0
            assert_steered(daemon.server, numbered(daemon))


def test_handover_to_more_workers(stage: Stage) -> None:
    with Instances(stage.config.replace(f"workers: {WORKERS}", "workers: 1")) as daemon:
        former = daemon.process
        daemon.rewrite(stage.config)
        daemon.start_again("--takeover")
        assert former.wait(HANG) == 0
        assert_steered(daemon.server, numbered(daemon))


def test_restart_with_sockets_that_were_kept(stage: Stage) -> None:
    """systemd passes them in an order of its own."""
    with PlayedSystemd(stage.config) as unit:
        assert stage.ask_all(unit.server) == len(NAMES)
        for _ in range(2):
            assert unit.restart() == 0
            assert_steered(unit.server, workers_of(unit))
            assert stage.ask_all(unit.server) == 0
        assert len(unit.store) == WORKERS + 2


def test_restart_with_sockets_of_a_socket_unit(stage: Stage) -> None:
    address = ("127.0.0.1", free_port())
    udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(WORKERS)]
    for one in udp:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
    with PlayedSystemd(stage.config, server=address, listening=udp) as unit:
        assert stage.ask_all(unit.server) == len(NAMES)
        for _ in range(2):
            assert unit.restart() == 0
            assert_steered(unit.server, workers_of(unit))
            assert stage.ask_all(unit.server) == 0
        assert UNIT not in unit.stderr
    for one in udp:
        one.close()


def test_one_socket_of_a_socket_unit_for_all_workers(stage: Stage) -> None:
    """Another user bound it alone: workers read it together, which is said, and every query is answered."""
    udp, tcp = bound_pair()
    with udp, tcp, PlayedSystemd(stage.config, server=udp.getsockname(), listening=(udp, tcp)) as unit:
        assert stage.ask_all(unit.server) >= len(NAMES) // 2
        assert stage.ask_all(unit.server) < len(NAMES)
        place = f"127.0.0.1:{unit.server[1]} UDP"
        assert f"{place}: 1 of {WORKERS} sockets could be bound: workers read them together" in unit.stderr
