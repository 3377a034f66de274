"""The daemon's side of the control socket: who is answered there, how, and with which descriptors."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder.control import asking, listening, protocol
from forwarder.control.listening import Conversation, Listening
from forwarder.control.place import MAX_CONVERSATIONS, taken_place
from forwarder.errors import ControlError
from tests.lab.needs import needs_root

SECONDS = 20
FLUSH = protocol.Flush(protocol.VERSION, "a.test.")
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forwarder" / "control.sock"


async def answer(request: protocol.Request, conversation: Conversation) -> protocol.Response:
    """Counts the letters of what is to be flushed, and does nothing else."""
    match request:
        case protocol.Flush(name="no."):
            raise ControlError("it will not")
        case protocol.Flush(name="defect."):
            raise RuntimeError("a defect")
        case protocol.Flush(name="who."):
            return protocol.Refused(f"{conversation.pid} {conversation.uid}")
        case protocol.Flush():
            return protocol.Flushed(len(request.name), 0)
        case _:
            raise ControlError("it does nothing else")


def conversing(
    path: Path,
    scene: Callable[[socket.socket], Awaitable[None]],
    answer: Callable[[protocol.Request, Conversation], Awaitable[protocol.Response]] = answer,
    conversations: int = MAX_CONVERSATIONS,
) -> list[str]:
    """Play a scene with a client that is connected; what was said beside."""
    said: list[str] = []

    async def played() -> None:
        ending = asyncio.Event()
        place = taken_place([str(path)])
        served = asyncio.create_task(Listening(place, answer, said.append, conversations).serve(ending))
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

    def test_an_answer_as_long_as_can_be_arrives_whole(self, path: Path) -> None:
        longest = protocol.Refused("x" * (protocol.MAX_RESPONSE - 100))

        async def talk(_: protocol.Request, __: Conversation) -> protocol.Response:
            return longest

        async def scene(client: socket.socket) -> None:
            assert await asked(client, protocol.written(FLUSH)) == longest

        assert conversing(path, scene, talk) == []

    def test_what_went_out_may_be_let_go_once(self, path: Path) -> None:
        let_go: list[int] = []

        async def give(request: protocol.Request, conversation: Conversation) -> protocol.Response:
            conversation.descriptors = (0,)
            conversation.on_sent = lambda: let_go.append(len(conversation.descriptors))
            return await answer(request, conversation)

        async def scene(client: socket.socket) -> None:
            await asked(client, protocol.written(FLUSH))
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"descriptors"

        assert conversing(path, scene, give) == []
        assert let_go == [0]

    def test_more_than_may_converse_have_to_wait(self, path: Path) -> None:
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

        assert conversing(path, scene, conversations=1) == []

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

    def test_whoever_answers_knows_who_asks(self, path: Path) -> None:
        async def scene(client: socket.socket) -> None:
            asked_by = await asked(client, protocol.written(protocol.Flush(protocol.VERSION, "who.")))
            assert asked_by == protocol.Refused(f"{os.getpid()} {os.geteuid()}")

        assert conversing(path, scene) == []


class TestDescriptors:
    """They follow the response they belong to, and no other."""

    def test_more_than_one_message_takes(self, path: Path) -> None:
        wanted = 2 * protocol.DESCRIPTORS + 1

        async def answer(request: protocol.Request, conversation: Conversation) -> protocol.Response:
            assert isinstance(request, protocol.Reload | protocol.Flush)
            conversation.descriptors = [memory] * wanted if isinstance(request, protocol.Reload) else ()
            return protocol.Reloaded() if isinstance(request, protocol.Reload) else protocol.Flushed(0, 0)

        async def scene(client: socket.socket) -> None:
            assert await asked(client, protocol.written(protocol.Reload(protocol.VERSION))) == protocol.Reloaded()
            client.setblocking(True)
            found = await asyncio.to_thread(asking.descriptors, client, wanted)
            client.setblocking(False)
            assert [os.pread(found[place], 9, 0) for place in (0, -1)] == [b"something", b"something"]
            assert len(set(found)) == wanted
            for descriptor in found:
                os.close(descriptor)
            assert await asked(client, protocol.written(FLUSH)) == protocol.Flushed(0, 0)
            with pytest.raises(BlockingIOError):
                client.recv(1)

        memory = os.memfd_create("test")
        os.write(memory, b"something")
        assert conversing(path, scene, answer) == []
        os.close(memory)


class TestEnd:
    """What somebody began in a conversation is ended with it, however it came to that."""

    @pytest.mark.parametrize("silence", [SECONDS, 0.05])
    def test_it_is_noticed(self, path: Path, monkeypatch: pytest.MonkeyPatch, silence: float) -> None:
        monkeypatch.setattr(listening, "SILENCE_SECONDS", silence)
        ended = asyncio.Event()

        async def answer(request: protocol.Request, conversation: Conversation) -> protocol.Response:
            assert isinstance(request, protocol.Flush)
            conversation.on_end = ended.set
            return protocol.Flushed(0, 0)

        async def scene(client: socket.socket) -> None:
            assert await asked(client, protocol.written(FLUSH)) == protocol.Flushed(0, 0)
            if silence == SECONDS:
                assert not ended.is_set()
                client.close()
            await ended.wait()

        assert conversing(path, scene, answer) == []

    def test_also_when_the_daemon_ends(self, path: Path) -> None:
        ended = []

        async def answer(request: protocol.Request, conversation: Conversation) -> protocol.Response:
            assert isinstance(request, protocol.Flush)
            conversation.on_end = lambda: ended.append(request.name)
            return protocol.Flushed(0, 0)

        async def scene(client: socket.socket) -> None:
            assert await asked(client, protocol.written(FLUSH)) == protocol.Flushed(0, 0)

        assert conversing(path, scene, answer) == []
        assert ended == [FLUSH.name]
