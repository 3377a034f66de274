"""The control socket's place in the file system: taken, taken over from an instance before, left.

Never reads what is asked there. Always holds: the place of a daemon that lives is left alone, that of a dead one is taken over;
nobody but its own user can take it in its stead; the file is gone when we are, unless a successor has it.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from forwarder.control import protocol
from forwarder.errors import ControlError

DIRECTORY_MODE = 0o700
SOCKET_MODE = 0o600
MAX_CONVERSATIONS = 16
"""At one time; further ones wait in the backlog. Two or three people and their scripts, never a crowd."""
MEND = "write another path under observe.control"


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


def adopted_place(paths: Sequence[str], listener: socket.socket, *, made_directory: bool) -> Place | None:
    """The place of an instance before us, whose listening socket this is; None when none of these paths is its own."""
    path = str(listener.getsockname())
    if path not in paths or not os.path.exists(path):  # noqa: PTH110 - a question about text that is no path of ours
        return None
    listener.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
    place = Place(Path(path), listener, made_directory=made_directory)
    place.is_ours = False  # until that instance leaves
    return place


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
