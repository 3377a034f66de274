"""What systemd passes and what it is told, against a real socket that plays its part; never a wait, never an exception."""

import array
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forwarder import systemd

PROJECT = Path(__file__).parent.parent
DESCRIPTORS = 253
"""SCM_MAX_FD: so many fit into one message."""

STARTED = """
import os, sys
from forwarder import systemd
environment = os.environ
environment["LISTEN_PID"] = environment["WATCHDOG_PID"] = str(os.getpid()) if sys.argv[1] == "ours" else "1"
os.dup2(int(sys.argv[2]), 3), os.dup2(int(sys.argv[2]), 5)
service = systemd.Service.from_environment(environment)
print([(one.descriptor, one.name, one.is_kept, one.is_socket, os.get_inheritable(one.descriptor)) for one in service.passed])
print(service.watchdog_interval, [name for name in environment if name.startswith(("LISTEN", "NOTIFY", "WATCHDOG"))])
"""
SORTED = """
import os, socket
from forwarder import systemd
passed = socket.socket()
for number in range(3, 9):
    os.dup2(passed.fileno(), number)
os.environ["LISTEN_PID"] = str(os.getpid())
print(*(one.name for one in systemd.Service.from_environment(os.environ).passed))
"""


class Played:
    """systemd's end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Every message that waits."""
        return [text for text, _ in iter(self.message, None)]

    def message(self) -> tuple[str, list[int]] | None:
        """The next one with its descriptors, or None."""
        try:
            data, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * DESCRIPTORS))
        except BlockingIOError:
            return None
        descriptors = array.array("i")
        for _, _, octets in control:
            descriptors.frombytes(octets)
        return data.decode(), list(descriptors)


@pytest.fixture
def played() -> Iterator[Played]:
    with tempfile.TemporaryDirectory() as short:  # an AF_UNIX path has 108 octets
        played = Played(f"{short}/notify")
        yield played
        played.socket.close()


def service_of(played: Played) -> systemd.Service:
    return systemd.Service.from_environment({"NOTIFY_SOCKET": str(played.socket.getsockname())})


@pytest.fixture
def service(played: Played) -> Iterator[systemd.Service]:
    with contextlib.closing(service_of(played)) as service:
        yield service


def started(whose: str, environment: dict[str, str]) -> tuple[str, str]:
    """What a process finds that systemd started with descriptors 3 and 5."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passed:
        run = subprocess.run(
            [sys.executable, "-c", STARTED, whose, str(passed.fileno())],
            env={**os.environ, **environment},
            pass_fds=(passed.fileno(),),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    first, second = run.stdout.splitlines()
    return first, second


def test_states_are_told_as_sd_notify_writes_them(played: Played, service: systemd.Service) -> None:
    before = time.monotonic_ns() // 1000
    assert service.ready("serving 127.0.0.1:53")
    assert service.reloading()
    assert service.ready()
    assert service.status("two lines\nare one")
    assert service.alive()
    assert service.main_process_is(4711)
    assert service.stopping()
    ready, reloading, *others = played.heard()
    assert ready == "READY=1\nSTATUS=serving 127.0.0.1:53"
    first, _, microseconds = reloading.partition("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert before <= int(microseconds) <= time.monotonic_ns() // 1000
    assert others == ["READY=1", "STATUS=two lines are one", "WATCHDOG=1", "MAINPID=4711", "STOPPING=1"]


def test_abstract_socket() -> None:
    name = f"forwarder-test-{os.getpid()}"
    played = Played(f"\0{name}")
    with contextlib.closing(systemd.Service.from_environment({"NOTIFY_SOCKET": f"@{name}"})) as service, played.socket:
        assert service.ready()
        assert played.heard() == ["READY=1"]


def test_sockets_are_kept_under_a_name_and_forgotten_by_it(played: Played, service: systemd.Service) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket() as two:
        assert service.keep("127.0.0.1_53", [one.fileno(), two.fileno()])
        message = played.message()
        assert message is not None
        text, descriptors = message
        kept = [os.fstat(descriptor).st_ino for descriptor in descriptors]
        assert kept == [os.fstat(one.fileno()).st_ino, os.fstat(two.fileno()).st_ino]
        assert text == "FDSTORE=1\nFDPOLL=0\nFDNAME=kept-127.0.0.1_53"
        for descriptor in descriptors:
            os.close(descriptor)
    assert service.forget("127.0.0.1_53")
    assert played.heard() == ["FDSTOREREMOVE=1\nFDNAME=kept-127.0.0.1_53"]


def test_nothing_to_keep_is_not_said(played: Played, service: systemd.Service) -> None:
    assert service.keep("nothing", [])
    assert played.heard() == []


def test_what_a_socket_unit_passed_is_not_kept_besides(played: Played) -> None:
    with socket.socket() as of_unit, socket.socket() as own:
        passed = systemd.Passed(of_unit.fileno(), "forwarder.socket", is_kept=False)
        service = systemd.Service(str(played.socket.getsockname()), None, [passed])
        again = of_unit.dup()
        with again, contextlib.closing(service):
            assert service.keep("http", [of_unit.fileno(), again.fileno(), own.fileno()])
        message = played.message()
        assert message is not None
        (descriptor,) = message[1]
        assert os.fstat(descriptor).st_ino == os.fstat(own.fileno()).st_ino
        os.close(descriptor)


def test_nobody_listens_any_more(played: Played, service: systemd.Service) -> None:
    played.socket.close()
    with socket.socket() as one:
        assert not service.keep("one", [one.fileno()])
    assert not service.ready()
    assert not service.alive()


def test_full_queue_is_not_waited_for_and_the_state_is_told_later(played: Played, service: systemd.Service) -> None:
    for _ in range(10_000):
        if not service.status("filling"):
            break
    assert not service.ready("serving")
    assert not service.alive()
    assert "READY=1\nSTATUS=serving" not in played.heard()
    assert service.alive()
    assert service.alive()
    assert played.heard() == ["READY=1\nSTATUS=serving\nWATCHDOG=1", "WATCHDOG=1"]


def test_a_later_state_is_not_undone_by_one_that_was_owed(played: Played, service: systemd.Service) -> None:
    while service.status("filling"):
        pass
    assert not service.ready()
    played.heard()
    assert service.stopping()
    assert service.alive()
    assert played.heard() == ["STOPPING=1", "WATCHDOG=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "@"}])
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    service = systemd.Service.from_environment(environment)
    assert not service.ready()
    assert not service.alive()
    assert service.passed == ()
    assert service.watchdog_interval is None
    service.close()
    assert not service.stopping()
    service.close()


def test_what_was_passed_is_taken_once_and_stays_with_us() -> None:
    said = {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "forwarder.socket:gone:kept-http", "WATCHDOG_USEC": "10000000"}
    passed, rest = started("ours", {**said, "NOTIFY_SOCKET": "/nowhere"})
    assert passed == "[(3, 'forwarder.socket', False, True, False), (5, 'http', True, True, False)]"
    assert rest == "5.0 []"


def test_names_that_are_missing() -> None:
    passed, _ = started("ours", {"LISTEN_FDS": "3"})
    assert passed == "[(3, 'unknown', False, True, False), (5, 'unknown', False, True, False)]"


def test_what_was_meant_for_another_process_is_left_alone() -> None:
    passed, rest = started("another's", {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c", "WATCHDOG_USEC": "10000000"})
    assert (passed, rest) == ("[]", "None []")


@pytest.mark.parametrize("text", ["", "many", "-1", "1" * 30, "²"])
def test_figures_that_are_none(text: str) -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": text, "WATCHDOG_USEC": text}
    service = systemd.Service.from_environment(environment)
    assert (service.passed, service.watchdog_interval, environment) == ((), None, {})


def test_watchdog_for_whoever_reads_it() -> None:
    assert systemd.Service.from_environment({"WATCHDOG_USEC": "3000000"}).watchdog_interval == 1.5
    assert systemd.Service.from_environment({"WATCHDOG_USEC": "0"}).watchdog_interval is None


def test_memory_file_is_no_socket() -> None:
    descriptor = os.memfd_create("test")
    assert not systemd.Passed(descriptor, "snapshot", is_kept=True).is_socket
    os.close(descriptor)


def test_name_for_an_address_has_no_colon() -> None:
    assert systemd.name_for("[fd00::10]:53", 7) == "[fd00__10]_53-07"


def test_what_was_kept_comes_back_in_our_order_behind_what_a_unit_passed() -> None:
    """systemd keeps a list at whose head it puts what is new."""
    names = [f"{systemd.KEPT}{systemd.name_for('a:53', place)}" for place in (10, 2, 1, 0)]
    said = {"LISTEN_FDS": "6", "LISTEN_FDNAMES": ":".join((*names[:2], "z.socket", *names[2:], "a.socket"))}
    (passed,) = subprocess.run(
        [sys.executable, "-c", SORTED],
        env={**os.environ, **said},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.splitlines()
    assert passed == "z.socket a.socket a_53-00 a_53-01 a_53-02 a_53-10"
