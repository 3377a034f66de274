"""A unit of systemd, played: what the daemon is passed it uses, what it must not lose it has kept, and it says how it is."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

from forwarder import systemd
from tests.lab.clients import ask, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.ports import bound_pair, free_port
from tests.lab.service_manager import UNIT, PlayedSystemd
from tests.lab.steady import Steady

CONFIG = "zones: [{zone: ., upstreams: ['127.0.0.1:9']}]\nhosts: {records: {hello.test: ['192.0.2.1']}}\n"
HELLO = ("hello.test", "A")
RATE = 1000
SECONDS = 6


def is_answering(unit: PlayedSystemd) -> bool:
    return rdatas(ask(unit.server, query(*HELLO))) == ["192.0.2.1"]


def lost_over(unit: PlayedSystemd, *steps: str) -> int:
    """Queries without an answer while these happened, one and a half seconds apart."""
    with Steady(unit.server, [HELLO] * (RATE * SECONDS), RATE) as client:
        for step in steps:
            time.sleep(1.5)
            getattr(unit, step)()
        told = client.report()
    assert len(told) == RATE * SECONDS
    return sum(one.answers == 0 for one in told)


def workers(unit: PlayedSystemd) -> list[str]:
    pid = unit.main.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_restart_loses_no_query_to_sockets_that_are_kept() -> None:
    with PlayedSystemd(CONFIG) as unit:
        assert is_answering(unit)
        names = [systemd.KEPT + systemd.name_for(f"127.0.0.1:{unit.server[1]}", place) for place in range(2)]
        assert [kept for kept, _ in reversed(unit.store)] == [*names, systemd.KEPT + "http"]
        former = unit.main.pid
        assert lost_over(unit, "restart", "restart") == 0
        assert unit.main.pid != former
        assert len(unit.store) == 3
        assert unit.told.count(f"READY=1\nSTATUS=serving 127.0.0.1:{unit.server[1]}") == 3
        assert unit.told.count("STOPPING=1") == 2


def test_restart_loses_no_query_to_sockets_of_a_socket_unit() -> None:
    udp, tcp = bound_pair()
    with udp, tcp, PlayedSystemd(CONFIG, server=udp.getsockname(), listening=(udp, tcp)) as unit:
        assert lost_over(unit, "restart", "restart") == 0
        assert [kept for kept, _ in unit.store] == [systemd.KEPT + "http"]
        assert "passed" not in unit.stderr


def test_query_that_came_before_the_daemon_is_answered() -> None:
    udp, tcp = bound_pair()
    with udp, tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(udp.getsockname())
        client.settimeout(10)
        client.send(query(*HELLO).to_wire())
        with PlayedSystemd(CONFIG, server=udp.getsockname(), listening=(udp, tcp)):
            assert len(client.recv(512)) > 12


def test_killed_daemon_has_a_successor_that_takes_over_from_its_workers() -> None:
    with PlayedSystemd(CONFIG) as unit:
        former = unit.living()
        assert lost_over(unit, "kill", "kill") == 0
        assert unit.restarts == 2
        assert len(unit.store) == 3
        unit.wait_until(lambda: len(unit.living()) == len(former))
        assert not set(former) & set(unit.living()), "a worker outlived its supervisor"
        assert "took over from" in unit.stderr


def test_killed_daemon_with_sockets_of_a_socket_unit() -> None:
    udp, tcp = bound_pair()
    with udp, tcp, PlayedSystemd(CONFIG, server=udp.getsockname(), listening=(udp, tcp)) as unit:
        former = unit.living()
        assert lost_over(unit, "kill", "kill") == 0
        unit.wait_until(lambda: len(unit.living()) == len(former))
        assert not set(former) & set(unit.living()), "a worker outlived its supervisor"


def test_another_daemon_at_the_same_control_socket_stays(tmp_path: Path) -> None:
    """Nothing of what was passed is its own."""
    control = f"observe: {{control: {tmp_path}/control.sock}}\n"
    udp, tcp = bound_pair()
    with Daemon(CONFIG + control) as other, udp, tcp:
        with PlayedSystemd(CONFIG + control, server=udp.getsockname(), listening=(udp, tcp)) as unit:
            assert is_answering(unit)
            assert "belongs to another daemon that runs" in unit.stderr
        assert rdatas(ask(other.server, query(*HELLO))) == ["192.0.2.1"]
        assert other.process.poll() is None


def test_daemon_that_hangs_is_replaced() -> None:
    with PlayedSystemd(CONFIG, watchdog=2.0) as unit:
        unit.wait_until(lambda: unit.told.count("WATCHDOG=1") >= 3)
        assert unit.restarts == 0
        unit.main.send_signal(signal.SIGSTOP)
        assert is_answering(unit), "the workers do not hang"
        unit.wait_until(lambda: unit.restarts == 1)
        assert is_answering(unit)
        unit.wait_until(lambda: "took over from" in unit.stderr)


def test_workers_inherit_nothing_of_systemd() -> None:
    """But what it would hand over if we were killed."""
    udp, tcp = bound_pair()
    with udp, tcp, PlayedSystemd(CONFIG, watchdog=30.0, listening=(udp,)) as unit:
        (worker,) = workers(unit)
        environment = Path(f"/proc/{worker}/environ").read_text()
        assert "PYTHONSAFEPATH" in environment
        assert not any(name in environment for name in ("NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_"))
        held = {entry.stat().st_ino for entry in Path(f"/proc/{worker}/fd").iterdir()}
        http = next(descriptor for name, descriptor in unit.store if name == systemd.KEPT + "http")
        assert os.fstat(http).st_ino in held
        assert os.fstat(udp.fileno()).st_ino not in held, "no setting names it"


def test_socket_that_no_setting_names_is_complained_of() -> None:
    udp, tcp = bound_pair()
    with udp, tcp, PlayedSystemd(CONFIG, listening=(udp,)) as unit:
        place = f"127.0.0.1:{udp.getsockname()[1]} UDP"
        assert f"forwarder: {UNIT} passed {place}, where nothing answers: name it in listen.addresses" in unit.stderr
        assert is_answering(unit)


def test_socket_that_no_worker_reads_is_complained_of() -> None:
    """Of several at one address a worker reads all that are for datagrams, and listens on one."""
    address = ("127.0.0.1", free_port())
    with contextlib.ExitStack() as undo:
        passed = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_STREAM):
            passed.append(undo.enter_context(socket.socket(socket.AF_INET, kind)))
            passed[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            passed[-1].bind(address)
        with PlayedSystemd(CONFIG, server=address, listening=passed) as unit:
            (complaint,) = unit.stderr.splitlines()
            place = f"127.0.0.1:{address[1]} TCP"
            assert complaint.startswith(f"forwarder: {UNIT} passed {place} too often, and what reaches that socket is lost")
            assert all(is_answering(unit) for _ in range(20))


def test_address_that_is_named_no_more_is_kept_no_more() -> None:
    udp, tcp = bound_pair()
    tcp.close()
    with PlayedSystemd(CONFIG) as unit:
        unit.store.append((f"{systemd.KEPT}former", udp.detach()))
        unit.restart()
        unit.wait_until(lambda: f"{systemd.KEPT}former" not in [name for name, _ in unit.store])
        assert is_answering(unit)
        assert "passed" not in unit.stderr
