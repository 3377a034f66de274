"""What a successor is given over the control socket, and what it makes of it: all of it, or nothing at all."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from forwarder import handover, link
from forwarder.control import protocol
from forwarder.control.listening import Conversation
from forwarder.errors import ControlError
from forwarder.observe import counters
from tests.lab.generations import open_descriptors

TAKEOVER = protocol.Takeover(protocol.VERSION, protocol.HANDOVER_VERSION)
ROWS = ["192.0.2.1:53", "192.0.2.2:53"]


class Former:
    """What an instance has to hand over."""

    def __init__(self, held: ExitStack, directory: Path, counted: int = 5) -> None:
        self.udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        self.control = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        self.path = directory / "control.sock"
        self.control.bind(str(self.path))
        self.control.listen()
        self.past, self.counting, self.memory = (os.memfd_create("test") for _ in range(3))
        for descriptor in (self.past, self.counting, self.memory):
            held.callback(os.close, descriptor)
        os.write(self.memory, b"answers, and more that is none")
        for descriptor in (self.past, self.counting):
            os.ftruncate(descriptor, counters.SIZE * 8)
        self._slots = counters.mapped(self.counting)
        self._slots[counters.COALESCED] = counted

    def estate(self, workers: int = 1) -> link.Estate:
        return link.Estate(
            sockets=[self.udp.fileno()],
            past=self.past,
            control=self.control.fileno(),
            control_path=str(self.path),
            made_directory=True,
            workers=workers,
        )

    def give(self, connection: socket.socket, *, workers: int = 1, layout: str = counters.LAYOUT) -> protocol.Estate:
        """The response, and what goes with it."""
        conversation = Conversation(connection)
        parts = [link.Part(self.memory, len(b"answers"))]
        given = handover.given(conversation, self.estate(workers), parts, [self.counting], ROWS)
        given = msgspec.structs.replace(given, layout=layout)
        connection.send(protocol.written(given))
        socket.send_fds(connection, [b"descriptors"], list(conversation.descriptors))
        return given


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def former(held: ExitStack, tmp_path: Path) -> Former:
    return Former(held, tmp_path)


@pytest.fixture
def ends(held: ExitStack) -> tuple[socket.socket, socket.socket]:
    """The successor's end of a conversation, and the former's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    held.enter_context(theirs)
    ours.settimeout(1)
    return ours, theirs


def bound_to(descriptor: int) -> object:
    with socket.socket(fileno=os.dup(descriptor)) as one:
        return one.getsockname()


class TestTaking:
    def test_each_thing_for_what_it_is(self, former: Former, ends: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = ends
        former.give(theirs)
        legacy = handover.Legacy()
        assert legacy.take(ours) == 1
        assert protocol.read_request(theirs.recv(protocol.MAX_REQUEST)) == TAKEOVER
        assert [bound_to(one) for one in legacy.sockets] == [former.udp.getsockname()]
        assert [os.pread(part.memory, part.size, 0) for part in legacy.memories] == [b"answers"]
        assert [slots[counters.COALESCED] for slots in legacy.counters] == [0, 5]
        assert (legacy.rows, legacy.pids, legacy.made_directory) == (ROWS, [os.getpid()], True)
        control = legacy.take_control()
        assert control is not None
        assert control.getsockname() == str(former.path)
        assert legacy.take_control() is None, "it is the caller's"
        control.close()
        legacy.close()

    def test_what_the_former_counts_on_is_seen(self, former: Former, ends: tuple[socket.socket, socket.socket]) -> None:
        former.give(ends[1])
        legacy = handover.Legacy()
        legacy.take(ends[0])
        counters.mapped(former.counting)[counters.COALESCED] += 1
        assert legacy.counters[1][counters.COALESCED] == 6
        legacy.close()

    def test_counters_of_another_layout_are_left(self, former: Former, ends: tuple[socket.socket, socket.socket]) -> None:
        former.give(ends[1], layout="of another age")
        legacy = handover.Legacy()
        legacy.take(ends[0])
        assert (legacy.counters, legacy.rows) == ([], [])
        assert len(legacy.memories) == len(legacy.sockets) == 1
        legacy.close()

    def test_of_several_without_a_supervisor_what_they_share_counts_once(
        self, held: ExitStack, former: Former, tmp_path: Path
    ) -> None:
        (tmp_path / "second").mkdir()
        second = Former(held, tmp_path / "second", counted=7)
        legacy = handover.Legacy()
        for one in (former, second):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            held.enter_context(theirs)
            one.give(theirs, workers=2)
            assert legacy.take(ours) == 2
        assert [slots[counters.COALESCED] for slots in legacy.counters] == [0, 5, 7]
        assert len(legacy.memories) == 2
        control = legacy.take_control()
        assert control is not None
        assert control.getsockname() == str(former.path)
        control.close()
        legacy.close()

    @pytest.mark.parametrize(
        ("said", "sentence"),
        [
            (protocol.Refused("it is not to be had"), "^it is not to be had$"),
            (protocol.Flushed(1, 0), "hands nothing over"),
            (None, "went away before it answered"),
        ],
    )
    def test_another_answer_is_a_sentence(
        self, ends: tuple[socket.socket, socket.socket], said: protocol.Response | None, sentence: str
    ) -> None:
        ours, theirs = ends
        if said is not None:
            theirs.send(protocol.written(said))
        else:
            theirs.close()
        legacy = handover.Legacy()
        with pytest.raises(ControlError, match=sentence):
            legacy.take(ours)
        legacy.close()

    def test_nothing_stays_open(self, former: Former) -> None:
        before = open_descriptors()
        for is_whole in (True, False):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            legacy = handover.Legacy()
            with theirs:
                if is_whole:
                    former.give(theirs)
                    legacy.take(ours)
                else:
                    theirs.send(protocol.written(protocol.Estate(7, 2, False, False, [], counters.LAYOUT, 0, [], 1)))
                    socket.send_fds(theirs, [b"descriptors"], [former.memory])
                    theirs.shutdown(socket.SHUT_RDWR)
                    with pytest.raises(ControlError):
                        legacy.take(ours)
            legacy.close()
        assert open_descriptors() == before


class TestRelease:
    def test_the_connection_tells_when_the_former_has_left(
        self, former: Former, ends: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = ends
        former.give(theirs)
        legacy = handover.Legacy()
        legacy.take(ours)
        theirs.recv(protocol.MAX_REQUEST)
        theirs.send(protocol.written(protocol.Released()))
        (connection,) = legacy.release()
        assert protocol.read_request(theirs.recv(protocol.MAX_REQUEST)) == protocol.Release(protocol.VERSION)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        theirs.close()
        assert connection.recv(1) == b""
        legacy.close()

    def test_one_that_is_gone_is_a_sentence(self, former: Former, ends: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = ends
        former.give(theirs)
        legacy = handover.Legacy()
        legacy.take(ours)
        theirs.close()
        with pytest.raises(ControlError, match="went away before it answered"):
            legacy.release()
        legacy.close()


@contextmanager
def asked(former: Former, conversations: Sequence[int]) -> Iterator[None]:
    """Somebody who says in each conversation how many are to be asked; then nobody is there any more."""

    def serve() -> None:
        for workers in conversations:
            connection = open_ones.enter_context(former.control.accept()[0])
            connection.recv(protocol.MAX_REQUEST)
            former.give(connection, workers=workers)

    thread = threading.Thread(target=serve)
    with ExitStack() as open_ones:
        thread.start()
        yield
        thread.join()


class TestPaths:
    @pytest.mark.parametrize(("conversations", "counted"), [([1], [0, 5]), ([2, 2], [0, 5, 5])])
    def test_as_many_are_asked_as_there_are(self, former: Former, conversations: list[int], counted: list[int]) -> None:
        with asked(former, conversations):
            legacy = handover.taken_from([str(former.path)])
            assert [slots[counters.COALESCED] for slots in legacy.counters] == counted
            legacy.close()

    def test_one_of_several_that_died_is_not_waited_for_long(self, former: Former, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handover, "FURTHER_SECONDS", 0.1)
        with asked(former, [2]):
            legacy = handover.taken_from([str(former.path)])
            assert len(legacy.pids) == 1
            legacy.close()

    def test_nobody_there(self, tmp_path: Path) -> None:
        with pytest.raises(ControlError, match=f"no daemon listens at {tmp_path}/none"):
            handover.taken_from([f"{tmp_path}/none"])


@pytest.mark.parametrize("version", [protocol.HANDOVER_VERSION - 1, protocol.HANDOVER_VERSION + 1])
def test_another_age_is_told_what_to_do(version: int) -> None:
    handover.ensure_understood(TAKEOVER)
    with pytest.raises(ControlError, match=f"hands over in version {protocol.HANDOVER_VERSION}, not {version}: stop it, then"):
        handover.ensure_understood(protocol.Takeover(protocol.VERSION, version))
