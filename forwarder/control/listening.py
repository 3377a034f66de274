"""The daemon's side of the control socket: takes its place in the file system, hears requests, has them answered.

Never does what is asked for itself: that is whoever was given to answer. Always holds: DNS depends on nothing here; the place
of a daemon that lives is left alone, that of a dead one is taken over; only root and our own user are answered; a request, the
number of conversations and the silence within one are bounded; the file is gone when we are.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from forwarder.control import protocol
from forwarder.errors import ControlError

DIRECTORY_MODE = 0o700
SOCKET_MODE = 0o600
MAX_CONVERSATIONS = 16
"""At one time; further ones wait in the backlog. Two or three people and their scripts, never a crowd."""
SILENCE_SECONDS = 10.0
"""A conversation in which nothing is asked, or nothing read, for as long is over."""
ACCEPT_AGAIN_SECONDS = 1.0
"""When there is no descriptor left for a conversation, others need it more."""
SEND_AGAIN_SECONDS = 0.01
"""While descriptors wait for whoever is to read them."""
MEND = "write another path under observe.control"

_credentials = struct.Struct("=iII")
"""What SO_PEERCRED gives: pid, uid, gid (unix(7))."""


class Place:
    """A listening socket in the file system, ours until `leave`."""

    def __init__(self, path: Path, listener: socket.socket, *, made_directory: bool) -> None:
        self.path = path
        self.listener = listener
        self.made_directory = made_directory
        """Whether the directory was made for it."""
        self.is_ours = True
        """Whether nobody took it over."""
        self._inode = path.stat().st_ino

    def leave(self) -> None:
        """Take the file away, where it is still ours, and the directory, where we made it and nobody else uses it."""
        self.listener.close()
        if not self.is_ours:
            return
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
            if self.made_directory:
                self.path.parent.rmdir()


class Conversation:
    """One connection, as whoever answers sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.descriptors: Sequence[int] = ()
        """What goes out behind the next response, to be set by whoever answers."""
        self.on_end: Callable[[], None] | None = None
        """Called when it is over, however it came to it."""


def adopted_place(paths: Sequence[str], listener: socket.socket, *, made_directory: bool) -> Place | None:
    """The place of an instance before us, whose listening socket this is; None when none of these paths is its own."""
    path = str(listener.getsockname())
    if path not in paths or not os.path.exists(path):  # noqa: PTH110 - a question about text that is no path of ours
        return None
    listener.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
    place = Place(Path(path), listener, made_directory=made_directory)
    place.is_ours = False  # until that instance leaves
    return place


def taken_place(paths: Sequence[str]) -> Place:
    """The first of these places that can be had. Raises ControlError: one sentence with the mend."""
    problems = []
    for path in map(Path, paths):
        try:
            return _taken(path)
        except OSError as error:
            problems.append(f"{path} cannot be had ({error.strerror or error})")
    raise ControlError(f"{', '.join(problems)}: {MEND}")


def _taken(path: Path) -> Place:
    made_directory = False
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(DIRECTORY_MODE)
        made_directory = True
    with _alone_in(path.parent):
        _remove_what_a_dead_daemon_left(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
            os.fchmod(listener.fileno(), SOCKET_MODE)  # the file gets it when it is made, and is never open to others
            listener.bind(str(path))
            listener.listen(MAX_CONVERSATIONS)
            return Place(path, listener, made_directory=made_directory)
        except BaseException:
            listener.close()
            raise


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """One daemon at a time looks who is there and takes the place; nobody waits for the other."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise OSError(errno.EPERM, "others can write to its directory, and could take its place")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_what_a_dead_daemon_left(path: Path) -> None:
    """Make room where nobody listens any more. Raises ControlError where somebody does, OSError where it is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "it is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
        visitor.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
        try:
            visitor.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # so many wait there that it must be alive
    raise ControlError(f"{path} belongs to another daemon that runs: {MEND}")


class Listening:
    """The conversations at one place; lives in a running asyncio loop."""

    def __init__(
        self,
        place: Place,
        answer: Callable[[protocol.Request, Conversation], Awaitable[protocol.Response]],
        say: Callable[[str], None],
        conversations: int = MAX_CONVERSATIONS,
    ) -> None:
        """`answer` may raise ControlError with why it will not; `say` takes a line about a defect.

        More than so many `conversations` wait for one to end, or for somebody else who listens at the same place.
        """
        self._place = place
        self._answer = answer
        self._say = say
        self._may_begin = asyncio.Semaphore(conversations)
        self._conversations: set[asyncio.Task[None]] = set()

    async def serve(self, ending: asyncio.Event) -> None:
        """Answer until the end comes; then leave the place."""
        accepting = asyncio.create_task(self._accept())
        waiting = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait((accepting, waiting), return_when=asyncio.FIRST_COMPLETED)
            if accepting.done():
                accepting.result()
        finally:
            for task in (accepting, waiting, *self._conversations):
                task.cancel()
            self._place.leave()

    async def _accept(self) -> None:
        while True:
            await self._may_begin.acquire()
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(self._place.listener)
            except OSError:
                self._may_begin.release()
                await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                continue
            conversation = asyncio.create_task(self._converse(connection))
            self._conversations.add(conversation)
            conversation.add_done_callback(self._end)

    def _end(self, conversation: asyncio.Task[None]) -> None:
        self._conversations.discard(conversation)
        self._may_begin.release()
        if not conversation.cancelled() and (defect := conversation.exception()) is not None:
            self._say(f"a request at the control socket failed, please report this: {defect!r}")

    async def _converse(self, connection: socket.socket) -> None:
        conversation = Conversation(connection)
        try:
            with connection, contextlib.suppress(TimeoutError, ConnectionError):
                await self._answer_all(connection, conversation)
        finally:
            if conversation.on_end is not None:
                conversation.on_end()

    async def _answer_all(self, connection: socket.socket, conversation: Conversation) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                data = await loop.sock_recv(connection, protocol.MAX_REQUEST + 1)
            if not data:
                return
            response = protocol.written(await self._response_to(data, _uid_behind(connection), conversation))
            async with asyncio.timeout(SILENCE_SECONDS):
                await loop.sock_sendall(connection, response)
                await _send_descriptors(connection, conversation.descriptors)
            conversation.descriptors = ()

    async def _response_to(self, data: bytes, uid: int, conversation: Conversation) -> protocol.Response:
        own = os.geteuid()
        if uid not in {0, own}:
            return protocol.Refused(f"only root and the user this daemon runs as (uid {own}) may ask, not uid {uid}")
        if len(data) > protocol.MAX_REQUEST:
            return protocol.Refused(f"a request has {protocol.MAX_REQUEST} octets at most")
        try:
            return await self._answer(protocol.read_request(data), conversation)
        except ControlError as error:
            return protocol.Refused(str(error))


async def _send_descriptors(connection: socket.socket, descriptors: Sequence[int]) -> None:
    """As many in one message as the kernel takes, and again until all are sent."""
    for first in range(0, len(descriptors), protocol.DESCRIPTORS):
        while True:
            try:
                socket.send_fds(connection, [b"descriptors"], list(descriptors[first : first + protocol.DESCRIPTORS]))
                break
            except BlockingIOError:
                await asyncio.sleep(SEND_AGAIN_SECONDS)


def _uid_behind(connection: socket.socket) -> int:
    """The user at the other end, as it was when the connection was made."""
    octets = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _credentials.size)
    uid: int = _credentials.unpack(octets)[1]
    return uid
