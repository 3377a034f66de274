"""The user that the supervisor is, and the few capabilities it keeps.

`become` comes before any socket is bound: an address is shared (SO_REUSEPORT) among sockets of one user alone, and more of
them may be bound later. `settle` comes after; both come before there are threads. Never gains anything. Always holds: ports
below 1024 can be bound as long as we live, where they could at the start; no program that we start inherits anything; a user
that cannot be had is a ConfigError.
"""

import contextlib
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass

from forwarder import capabilities
from forwarder.errors import ConfigError, PrivilegeError, Problem

EVERYBODYS = frozenset((capabilities.NET_BIND_SERVICE,))
ROOTS = EVERYBODYS | {capabilities.DAC_OVERRIDE, capabilities.NET_ADMIN}
"""Root owns the system's files and its network, so that without the others little would be safer; a snapshot in another user's
directory would be lost, and what a reload binds would have a small receive buffer. Who wants less writes `user`."""
WHILE_BINDING = EVERYBODYS | {capabilities.NET_ADMIN, capabilities.SETPCAP}
"""For receive buffers beyond net.core.rmem_max, and for `settle`."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom to become."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """All of its groups, the first one included."""


def user_for(setting: str | None) -> User | None:
    """Who is meant by this name or number, or None where we need not change. Raises ConfigError where we cannot."""
    if setting is None:
        return None
    try:
        entry = pwd.getpwuid(int(setting)) if setting.isdecimal() else pwd.getpwnam(setting)
    except (KeyError, OverflowError):
        mend = "make it (useradd --system NAME), or write one there is, such as nobody"
        raise ConfigError((Problem("user", f"this host has no user {setting}: {mend}"),)) from None
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        mend = "start it as root or as that user, or leave the line out"
        raise ConfigError((Problem("user", f"only root can become {setting}, and this is uid {os.geteuid()}: {mend}"),))
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def become(user: User | None) -> None:
    """Be this user, with what binding takes. Raises ConfigError, PrivilegeError.

    Without one, what is permitted takes effect: a container's program has its capabilities from its file, as permitted ones.
    """
    if user is None:
        with _explained():
            capabilities.keep_only(capabilities.permitted())
        return
    with _explained(), capabilities.kept_by_another_user():
        try:
            os.setgroups(user.groups)
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
        except OSError as error:
            mend = "give it CAP_SETUID and CAP_SETGID, or leave the line out and start it as that user"
            raise ConfigError((Problem("user", f"cannot become {user.name} ({error.strerror}): {mend}"),)) from error
        capabilities.keep_only(WHILE_BINDING)


def settle() -> None:
    """The sockets are bound: give up all but what binding more of them takes. Raises PrivilegeError."""
    with _explained():
        capabilities.bar_from_programs()
        capabilities.keep_only(ROOTS if os.geteuid() == 0 else EVERYBODYS)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        sentence = f"privileges cannot be given up ({error.strerror}): a sandbox forbids prctl or capset, allow them"
        raise PrivilegeError(sentence) from error
