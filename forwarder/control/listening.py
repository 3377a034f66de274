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
MEND = "write another path under observe.control"

_credentials = struct.Struct("=iII")
"""What SO_PEERCRED gives: pid, uid, gid (unix(7))."""


class Place:
    """A listening socket in the file system, ours until `leave`."""

    def __init__(self, path: Path, listener: socket.socket, *, made_directory: bool) -> None:
        self.path = path
        self.listener = listener
        self._made_directory = made_directory
        self._inode = path.stat().st_ino

    @property
    def removable(self) -> tuple[str, str]:
        """The directory whose file is ours, and the one around it where we made that directory: what `leave` needs."""
        directory = self.path.parent
        return str(directory), str(directory.parent) if self._made_directory else ""

    def leave(self) -> None:
        """Take the file away, where it is still ours, and the directory, where we made it and nobody else uses it."""
        self.listener.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
            if self._made_directory:
                self.path.parent.rmdir()


def ensure_directory(path: str, uid: int, gid: int) -> None:
    """The directory of this place, for a user who could not make it; asked of root, before it becomes that user.

    One that is there stays as it is, but for the system's own, which a daemon of another user may have left. It is empty
    when we are gone. What cannot be done is said when the place is taken.
    """
    directory = Path(path).parent
    with contextlib.suppress(OSError):
        try:
            directory.mkdir(DIRECTORY_MODE)
        except FileExistsError:
            if path != protocol.SYSTEM_PATH:
                return
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(descriptor, uid, gid)
        finally:
            os.close(descriptor)


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
        self, place: Place, answer: Callable[[protocol.Request], Awaitable[protocol.Response]], say: Callable[[str], None]
    ) -> None:
        """`answer` may raise ControlError with why it will not; `say` takes a line about a defect."""
        self._place = place
        self._answer = answer
        self._say = say
        self._may_begin = asyncio.Semaphore(MAX_CONVERSATIONS)
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
        loop = asyncio.get_running_loop()
        with connection, contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    data = await loop.sock_recv(connection, protocol.MAX_REQUEST + 1)
                if not data:
                    return
                response = protocol.written(await self._response_to(data, _uid_behind(connection)))
                async with asyncio.timeout(SILENCE_SECONDS):
                    await loop.sock_sendall(connection, response)

    async def _response_to(self, data: bytes, uid: int) -> protocol.Response:
        own = os.geteuid()
        if uid not in {0, own}:
            return protocol.Refused(f"only root and the user this daemon runs as (uid {own}) may ask, not uid {uid}")
        if len(data) > protocol.MAX_REQUEST:
            return protocol.Refused(f"a request has {protocol.MAX_REQUEST} octets at most")
        try:
            return await self._answer(protocol.read_request(data))
        except ControlError as error:
            return protocol.Refused(str(error))


def _uid_behind(connection: socket.socket) -> int:
    """The user at the other end, as it was when the connection was made."""
    octets = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _credentials.size)
    uid: int = _credentials.unpack(octets)[1]
    return uid
