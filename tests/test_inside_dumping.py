"""`forwarder dump` against a daemon that says what the test says: what is printed, and what is refused."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from forwarder import link
from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.inside import dumping
from tests.lab.conversation import one_conversation
from tests.test_cache_snapshot import cache_of, denial, positive, written

PINNED = link.written(link.Pinned([link.PinnedRecords(b"\3pin\4test\0", 1, 30, [b"\xc0\0\2\7"])]))
ONE = written(cache_of(("b.test.", positive("b.test.")), ("no.a.test.", denial("no.a.test."))))
OTHER = written(cache_of(("a.test.", positive("a.test."))))


def giving(*octets: bytes) -> Callable[[socket.socket], None]:
    """A daemon that gives these memories: the pinned names, then the answers."""

    def converse(connection: socket.socket) -> None:
        assert protocol.read_request(connection.recv(protocol.MAX_REQUEST)) == protocol.Dump(protocol.VERSION)
        connection.send(protocol.written(protocol.Dumped(len(octets[0]), [len(one) for one in octets[1:]])))
        memories = [os.memfd_create("test") for _ in octets]
        for memory, one in zip(memories, octets, strict=True):
            os.write(memory, one)
        socket.send_fds(connection, [b"descriptors"], memories)
        for memory in memories:
            os.close(memory)

    return converse


@pytest.fixture
def nice(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What it asks for, and does not get: the other tests are not to stand behind everybody."""
    asked: list[int] = []
    monkeypatch.setattr(os, "nice", asked.append)
    return asked


def dumped(path: Path, octets: Sequence[bytes], suffix: bytes = b"\0") -> bool:
    with one_conversation(path, giving(*octets)):
        return dumping.dump([str(path)], suffix, "1.0")


def test_all_workers_in_one_order(tmp_path: Path, nice: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert dumped(tmp_path / "socket", (PINNED, ONE, OTHER))
    out, err = capsys.readouterr()
    first, *lines = out.splitlines()
    assert first.endswith("answers remembered: 3, workers: 2")
    assert [line.split("\t")[0] for line in lines] == ["pin.test.", "a.test.", ";no.a.test.", ";test.", "b.test."]
    assert (err, nice) == ("", [dumping.NICENESS])


def test_at_or_below_a_suffix(tmp_path: Path, nice: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert dumped(tmp_path / "socket", (PINNED, ONE, OTHER), b"\1a\4test\0")
    owners = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert owners == ["a.test.", ";no.a.test.", ";test."]
    assert nice


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [
        ((PINNED, b"hello"), "is no snapshot of a cache: use the command that came with the daemon"),
        ((b"hello", ONE), "use the command that came with the daemon"),
        ((link.written(link.Open()), ONE), "no pinned names"),
        ((PINNED,), "no worker is there"),
    ],
)
def test_what_another_daemon_gives(octets: tuple[bytes, ...], complaint: str, tmp_path: Path, nice: list[int]) -> None:
    with pytest.raises(ControlError, match=complaint):
        dumped(tmp_path / "socket", octets)
    assert nice


def test_how_far_it_is(tmp_path: Path, nice: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stderr is a terminal and stdout is none; the line is clear at the end."""
    said: list[str] = []
    monkeypatch.setattr(dumping, "TOGETHER", 1)
    monkeypatch.setattr(dumping, "_say_how_far", said.append)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert dumped(tmp_path / "socket", (PINNED, ONE))
    assert said == ["0 of 2 answers read", "1 of 2 answers read", "", "0 of 2 answers written", "1 of 2 answers written", ""]
    assert nice
