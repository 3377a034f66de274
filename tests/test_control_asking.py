"""A command's side of the control socket: a response, or one sentence about what keeps the daemon from giving it."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from forwarder.control import asking, protocol
from forwarder.errors import ControlError
from tests.lab.conversation import one_conversation
from tests.lab.needs import needs_root

FLUSH = protocol.Flush(protocol.VERSION, "a.test.")
SECONDS = 20


def assert_set(is_set: bool) -> None:  # noqa: FBT001 - it is what an event says
    assert is_set


def answering(octets: bytes) -> Callable[[socket.socket], None]:
    def converse(connection: socket.socket) -> None:
        assert protocol.read_request(connection.recv(protocol.MAX_REQUEST)) == FLUSH
        connection.send(octets)

    return converse


def test_the_first_place_where_a_daemon_listens(tmp_path: Path) -> None:
    dead, path = tmp_path / "dead", tmp_path / "alive"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gone:
        gone.bind(str(dead))
    with one_conversation(path, answering(protocol.written(protocol.Flushed(3, 0)))):
        assert asking.ask([str(tmp_path / "none"), str(dead), str(path)], FLUSH) == protocol.Flushed(3, 0)


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (protocol.written(protocol.Refused("it will not")), "^it will not$"),
        (b"220 mail.example ESMTP", "no forwarder of this version"),
    ],
)
def test_what_is_no_success(tmp_path: Path, octets: bytes, said: str) -> None:
    path = tmp_path / "socket"
    with one_conversation(path, answering(octets)), pytest.raises(ControlError, match=said):
        asking.ask([str(path)], FLUSH)


def test_a_daemon_that_ends_before_it_answers(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        one_conversation(path, lambda connection: connection.close()),
        pytest.raises(ControlError, match="went away before it answered"),
    ):
        asking.ask([str(path)], FLUSH)


def test_a_daemon_that_hangs(tmp_path: Path) -> None:
    path, is_over = tmp_path / "socket", threading.Event()
    with one_conversation(path, lambda _: assert_set(is_over.wait(SECONDS))):
        with asking.connected([str(path)], 0.1) as connection, pytest.raises(ControlError, match="did not answer within"):
            asking.answer_to(connection, FLUSH)
        is_over.set()


def test_one_conversation_for_several_questions(tmp_path: Path) -> None:
    def converse(connection: socket.socket) -> None:
        for entries in (1, 2):
            assert protocol.read_request(connection.recv(protocol.MAX_REQUEST)) == FLUSH
            connection.send(protocol.written(protocol.Flushed(entries, 0)))

    path = tmp_path / "socket"
    with one_conversation(path, converse), asking.connected([str(path)]) as connection:
        found = [asking.answer_to(connection, FLUSH) for _ in range(2)]
    assert found == [protocol.Flushed(1, 0), protocol.Flushed(2, 0)]


class TestDescriptors:
    """What follows a response: all of it, or a sentence."""

    def test_as_many_as_are_said_to_come_and_no_program_inherits_them(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("test")
        os.write(memory, b"something")
        with ours, theirs:
            for count in (2, 1):
                socket.send_fds(theirs, [b"descriptors"], [memory] * count)
            os.close(memory)
            found = asking.descriptors(ours, 3)
        assert [os.pread(descriptor, 9, 0) for descriptor in found] == [b"something"] * 3
        assert not any(map(os.get_inheritable, found))
        for descriptor in found:
            os.close(descriptor)

    def test_none_at_all_is_not_waited_for(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            assert asking.descriptors(ours, 0) == []

    def test_fewer_are_a_sentence_and_closed(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names alone
        with ours:
            with theirs:
                socket.send_fds(theirs, [b"descriptors"], [memory := os.memfd_create("test")])
                os.close(memory)
            with pytest.raises(ControlError, match=r"handed 1 of 2 descriptors over: .* \(ulimit -n\)"):
                asking.descriptors(ours, 2)
        assert len(os.listdir("/proc/self/fd")) == before - 2  # noqa: PTH208 - as above

    def test_a_daemon_that_hangs_before_it_gave_all(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0.05)
        with ours, theirs, pytest.raises(ControlError, match="went away before it had handed everything over"):
            asking.descriptors(ours, 1)


def test_nobody_there(tmp_path: Path) -> None:
    paths = [str(tmp_path / "one"), str(tmp_path / "two")]
    with pytest.raises(ControlError, match=r"no daemon listens at .*/one or .*/two: is it running\?"):
        asking.ask(paths, FLUSH)


def test_a_path_that_no_socket_can_have() -> None:
    with pytest.raises(ControlError, match="cannot be asked: AF_UNIX path too long"):
        asking.ask(["/" + "x" * 200], FLUSH)


def test_not_permitted_says_more_than_absent(tmp_path: Path) -> None:
    needs_root()
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o600)
        script = (
            "import os, sys; from forwarder.control import asking, protocol; from forwarder.errors import ControlError\n"
            "os.chdir(sys.argv[1]); os.setuid(65534)\n"
            "try: asking.ask(['socket', 'none'], protocol.Flush(1, 'a'))\nexcept ControlError as e: print(e)"
        )
        command = [sys.executable, "-c", script, str(tmp_path)]
        root = Path(__file__).parent.parent
        ended = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=SECONDS, env={"PYTHONPATH": str(root)}
        )
    assert ended.stdout == "not permitted to ask the daemon at socket: only root and the user it runs as may\n"


def test_an_answer_to_something_else_is_an_error() -> None:
    assert asking.of_kind(protocol.Flushed, protocol.Flushed(3, 0)).entries == 3
    with pytest.raises(ControlError, match="no forwarder of this version"):
        asking.of_kind(protocol.Reloaded, protocol.Flushed(3, 0))
