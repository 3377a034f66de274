"""kill -9 of the supervisor: its workers serve on, for as long as a successor may take to come, and then leave no trace."""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.lab.clients import ask, query, rdatas
from tests.lab.instances import Instances
from tests.lab.loaded import ensure_nothing_lost, loaded_stage
from tests.lab.patience import wait_for

LEAD, ALONE, TAIL = 2.0, 8.0, 12.0
"""Seconds of load with the first supervisor, with none, with its successor."""
ORPHANED_FOR = 30.0
"""Seconds that workers without a supervisor serve on."""
SERVES_AT_LEAST = 20.0
TIME_WAIT = "06"
"""The state of a TCP connection that is over (tcp_states.h); it holds no port."""

MemoryFile = tuple[int, int]
"""Device and inode."""


def memory_files(pids: Iterable[int]) -> set[MemoryFile]:
    """The memory files (memfd_create) that these processes have open."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(link.readlink()).startswith("/memfd:forwarder"):
                        status = link.stat()
                        found.add((status.st_dev, status.st_ino))
    return found


def everybody() -> list[int]:
    """Every process of this machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def is_bound(port: int) -> bool:
    """Whether any socket of this network namespace has the port."""
    wanted = f":{port:04X}"
    for table in ("udp", "udp6", "tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] != TIME_WAIT:
                    return True
    return False


def test_a_successor_adopts_the_workers(tmp_path: Path) -> None:
    """Clients are answered with and without a supervisor; the next instance has the sockets and the answers."""
    with loaded_stage(tmp_path) as stage, Instances(stage.zones) as daemon:
        stage.warm(daemon.servers)
        with stage.load(daemon.servers, LEAD + ALONE + TAIL) as client:
            time.sleep(LEAD)
            orphans = daemon.kill_supervisor()
            time.sleep(ALONE)
            assert set(orphans) <= set(daemon.living()), "the worker left with its supervisor"
            daemon.start_again()
            wait_for(lambda: not set(orphans) & set(daemon.living()), "the workers of the one killed drained and left")
            record = client.record()
        assert stage.hits_asked_again() == 0, "answers were forgotten"
        assert daemon.metric("forwarder_receive_drops_total") == 0
        assert daemon.page("/ready").status == 200
        assert len(daemon.living()) == 2, "one supervisor and one worker are left"
    ensure_nothing_lost(record)


def test_without_a_successor_nothing_is_left(tmp_path: Path) -> None:
    """The worker serves on for 30 s; then no process, no socket, no file and no memory of it is there."""
    with loaded_stage(tmp_path) as stage, Instances(stage.zones) as daemon:
        assert rdatas(ask(daemon.server, query("h0000001.good.load.test"))) != []
        memories = memory_files(daemon.living())
        assert memories != set(), "there was nothing to leave behind"
        assert Path(daemon.control).exists()
        killed = time.monotonic()
        daemon.kill_supervisor()
        while time.monotonic() < killed + SERVES_AT_LEAST:
            assert rdatas(ask(daemon.server, query("h0000001.good.load.test"))) != []
            time.sleep(0.5)
        time.sleep(killed + ORPHANED_FOR - time.monotonic())
        wait_for(lambda: daemon.living() == [], "the workers left")
        assert not is_bound(daemon.server[1])
        assert not Path(daemon.control).exists()
        assert daemon.control not in Path("/proc/net/unix").read_text()
        assert memory_files(everybody()) & memories == set()
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as successor:
                successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
                successor.bind(daemon.server)


def test_the_counting_of_what_is_left_sees_it(tmp_path: Path) -> None:
    """While the daemon lives, each look finds what it looks for."""
    with loaded_stage(tmp_path) as stage, Instances(stage.zones) as daemon:
        assert is_bound(daemon.server[1])
        assert daemon.control in Path("/proc/net/unix").read_text()
        assert memory_files(everybody()) >= memory_files(daemon.living()) != set()
        assert daemon.process.pid in daemon.living()
        assert os.getpid() not in daemon.living()
