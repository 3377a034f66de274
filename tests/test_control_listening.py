"""The daemon's side of the control socket: its place in the file system, and who is answered there."""

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder.control import listening, protocol
from forwarder.control.listening import Listening, taken_place
from forwarder.errors import ControlError
from tests.lab.needs import needs_root

SECONDS = 20
FLUSH = protocol.Flush(protocol.VERSION, "a.test.")
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forwarder" / "control.sock"


def left_by_a_dead_daemon(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))


class TestPlace:
    def test_directory_and_socket_are_made_for_us_alone_and_taken_away_again(self, path: Path) -> None:
        place = taken_place([str(path)])
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        place.leave()
        assert not path.parent.exists()

    def test_a_directory_that_was_there_stays(self, path: Path) -> None:
        path.parent.mkdir()
        taken_place([str(path)]).leave()
        assert list(path.parent.iterdir()) == []

    def test_one_for_another_user_is_made_its_own(self, path: Path) -> None:
        needs_root()
        listening.ensure_directory(str(path), NOBODY, NOBODY)
        found = path.parent.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o700, NOBODY, NOBODY)

    def test_one_that_was_there_is_given_away_only_where_it_is_the_systems(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needs_root()
        path.parent.mkdir()
        listening.ensure_directory(str(path), NOBODY, NOBODY)
        assert path.parent.stat().st_uid == os.geteuid()
        monkeypatch.setattr(protocol, "SYSTEM_PATH", str(path))
        listening.ensure_directory(str(path), NOBODY, NOBODY)
        assert path.parent.stat().st_uid == NOBODY

    def test_a_link_in_its_place_is_not_followed(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        needs_root()
        (tmp_path / "precious").mkdir()
        path.parent.symlink_to(tmp_path / "precious")
        monkeypatch.setattr(protocol, "SYSTEM_PATH", str(path))
        listening.ensure_directory(str(path), NOBODY, NOBODY)
        assert (tmp_path / "precious").stat().st_uid == os.geteuid()

    def test_where_none_can_be_made_nothing_happens(self) -> None:
        listening.ensure_directory("/proc/nowhere/control.sock", NOBODY, NOBODY)

    def test_the_last_to_leave_may_remove_what_we_made(self, path: Path) -> None:
        made = taken_place([str(path)])
        assert made.removable == (str(path.parent), str(path.parent.parent))
        made.leave()
        path.parent.mkdir()
        found = taken_place([str(path)])
        assert found.removable == (str(path.parent), "")
        found.leave()

    def test_that_of_a_dead_daemon_is_taken_over(self, path: Path) -> None:
        left_by_a_dead_daemon(path)
        place = taken_place([str(path)])
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.connect(str(path))
        place.leave()

    def test_that_of_a_living_one_is_left_alone(self, path: Path) -> None:
        place = taken_place([str(path)])
        with pytest.raises(ControlError, match="belongs to another daemon that runs: write another path"):
            taken_place([str(path), str(path.with_name("second"))])
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.connect(str(path))
        place.leave()

    def test_one_that_is_too_busy_to_accept_lives(self, path: Path) -> None:
        place = taken_place([str(path)])
        with contextlib.ExitStack() as held:
            for _ in range(listening.MAX_CONVERSATIONS + 1):
                visitor = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                visitor.setblocking(False)
                visitor.connect(str(path))
            with pytest.raises(ControlError, match="another daemon that runs"):
                taken_place([str(path)])
        place.leave()

    def test_what_is_no_socket_is_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("precious")
        with pytest.raises(ControlError, match=r"cannot be had \(it is no socket\)"):
            taken_place([str(path)])
        assert path.read_text() == "precious"

    def test_the_next_place_where_the_first_cannot_be_had(self, path: Path) -> None:
        place = taken_place(["/proc/forwarder/control.sock", str(path)])
        assert place.path == path
        place.leave()

    @pytest.mark.parametrize("made", ["/proc/forwarder/control.sock", "/nowhere/at/all", f"/proc/{'x' * 120}"])
    def test_none_is_one_line_with_the_mend(self, made: str) -> None:
        with pytest.raises(ControlError, match=r"cannot be had .*: write another path under observe\.control") as refused:
            taken_place([made])
        assert len(str(refused.value).splitlines()) == 1

    def test_not_where_others_may_put_a_socket_in_its_place(self, path: Path) -> None:
        path.parent.mkdir()
        path.parent.chmod(0o777)
        with pytest.raises(ControlError, match="others can write to its directory"):
            taken_place([str(path)])
        path.parent.chmod(0o1777)
        taken_place([str(path)]).leave()

    def test_what_somebody_put_in_our_place_is_not_taken_away(self, path: Path) -> None:
        place = taken_place([str(path)])
        path.unlink()
        second = taken_place([str(path)])
        place.leave()
        assert path.exists()
        second.leave()


def conversing(path: Path, scene: Callable[[socket.socket], Awaitable[None]]) -> list[str]:
    """Play a scene with a client that is connected; what was said beside."""
    said: list[str] = []

    async def answer(request: protocol.Request) -> protocol.Response:
        if request.name == "no.":
            raise ControlError("it will not")
        if request.name == "defect.":
            raise RuntimeError("a defect")
        return protocol.Flushed(len(request.name), 0)

    async def played() -> None:
        ending = asyncio.Event()
        served = asyncio.create_task(Listening(taken_place([str(path)]), answer, said.append).serve(ending))
        async with asyncio.timeout(SECONDS):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.setblocking(False)
                client.connect(str(path))
                await scene(client)
            ending.set()
            await served

    asyncio.run(played())
    assert not path.exists()
    return said


async def asked(client: socket.socket, data: bytes) -> protocol.Response | None:
    """What is answered; None when the conversation is over instead."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, data)
    heard = await loop.sock_recv(client, protocol.MAX_RESPONSE)
    return protocol.read_response(heard) if heard else None


class TestConversation:
    def test_one_request_after_the_other(self, path: Path) -> None:
        async def scene(client: socket.socket) -> None:
            for name in ("a.", "ab."):
                data = protocol.written(protocol.Flush(protocol.VERSION, name))
                assert await asked(client, data) == protocol.Flushed(len(name), 0)

        assert conversing(path, scene) == []

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"hello", "no request such as"),
            (b"x" * (protocol.MAX_REQUEST + 1), "4096 octets at most"),
            (b"x" * 100_000, "4096 octets at most"),
            (protocol.written(protocol.Flush(protocol.VERSION, "no.")), "it will not"),
        ],
    )
    def test_a_refusal_does_not_end_it(self, path: Path, data: bytes, said: str) -> None:
        async def scene(client: socket.socket) -> None:
            refused = await asked(client, data)
            assert isinstance(refused, protocol.Refused)
            assert said in refused.reason
            assert isinstance(await asked(client, protocol.written(FLUSH)), protocol.Flushed)

        assert conversing(path, scene) == []

    def test_a_defect_ends_the_conversation_and_is_told(self, path: Path) -> None:
        async def scene(client: socket.socket) -> None:
            assert await asked(client, protocol.written(protocol.Flush(protocol.VERSION, "defect."))) is None
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
                other.setblocking(False)
                other.connect(str(path))
                assert isinstance(await asked(other, protocol.written(FLUSH)), protocol.Flushed)

        (line,) = conversing(path, scene)
        assert "please report this: RuntimeError('a defect')" in line

    def test_who_says_nothing_is_not_waited_for(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "SILENCE_SECONDS", 0.05)

        async def scene(client: socket.socket) -> None:
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

        assert conversing(path, scene) == []

    def test_more_than_may_converse_have_to_wait(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "MAX_CONVERSATIONS", 1)

        async def scene(client: socket.socket) -> None:
            assert isinstance(await asked(client, protocol.written(FLUSH)), protocol.Flushed)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second:
                second.setblocking(False)
                second.connect(str(path))
                waiting = asyncio.create_task(asked(second, protocol.written(FLUSH)))
                await asyncio.wait((waiting,), timeout=0.1)
                assert not waiting.done()
                client.shutdown(socket.SHUT_RDWR)
                assert isinstance(await waiting, protocol.Flushed)

        assert conversing(path, scene) == []

    def test_another_user_is_refused_though_the_file_be_open_to_all(self, path: Path) -> None:
        needs_root()
        script = (
            "import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); os.chdir(sys.argv[1])\n"
            "os.setuid(int(sys.argv[2])); s.connect('control.sock'); s.send(sys.argv[3].encode()); print(s.recv(4096).decode())"
        )

        async def scene(client: socket.socket) -> None:
            del client
            os.chmod(path, 0o777)  # noqa: PTH101, S103 - that it is open is the point
            os.chmod(path.parent, 0o755)  # noqa: PTH101, S103 - as above
            program = [sys.executable, "-c", script, str(path.parent), str(NOBODY), protocol.written(FLUSH).decode()]
            ended = await asyncio.to_thread(subprocess.run, program, capture_output=True, check=True, timeout=SECONDS)
            refused = protocol.read_response(ended.stdout)
            assert isinstance(refused, protocol.Refused)
            assert (
                refused.reason == f"only root and the user this daemon runs as (uid {os.geteuid()}) may ask, not uid {NOBODY}"
            )

        assert conversing(path, scene) == []
