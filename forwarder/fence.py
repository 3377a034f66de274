"""What a worker gives up once it has everything: its capabilities, new privileges, files, listeners, signals to others.

It reads what strangers send. If one of them finds a way in, it finds a process that can answer and ask, and little else: no
file can be opened, no program started, no TCP port bound, nobody outside be sent a signal (Landlock, landlock(7)). Never
fails: what the kernel does not offer is left out, and a sentence says so. Always holds: descriptors that are open stay what
they were; UDP, outgoing TCP, memory files and clocks are as before. What a worker imports, it has imported before.
"""

import ctypes
import os
import struct

from forwarder import capabilities

# Linux: landlock.h. The calls have the same numbers on all architectures.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
BIND_TCP = 1 << 0
"""Connecting is the other bit: upstreams are asked over TCP too."""
ABSTRACT_UNIX_SOCKET, SIGNAL = 1 << 0, 1 << 1
FILE_RIGHTS = ((5, 16), (3, 15), (2, 14), (1, 13))
"""From this version of Landlock on -> so many rights to files can be refused; they are the lowest bits."""
NET_SINCE, SCOPE_SINCE = 4, 6

_ruleset = struct.Struct("=QQQ")
"""Rights to files and to TCP ports that are refused, and what ends at the fence."""
_path_beneath = struct.Struct("=Qi")
_libc = ctypes.CDLL(None, use_errno=True)

MEND = "Linux 5.13 or newer with `landlock` among its security modules (`lsm=`) has it"


def shut(files_in: str = "", directories_in: str = "") -> str:
    """Give it all up, for good: what could not be, in one sentence, else nothing. While there is one thread.

    files_in: the directory of the control socket, in which files may be removed. directories_in: the one around it, in
    which empty directories may be removed. Empty: nowhere.
    """
    try:
        capabilities.bar_from_programs()
        capabilities.keep_only(capabilities.NONE)
        capabilities.no_new_privileges()
    except OSError as error:
        return f"workers keep the privileges they have ({error.strerror}): a sandbox forbids prctl or capset, allow them"
    try:
        _fence_in({REMOVE_FILE: files_in, REMOVE_DIR: directories_in})
    except OSError as error:
        return f"there is no fence between workers and files, the kernel has no Landlock ({error.strerror}): {MEND}"
    return ""


def _fence_in(allowed: dict[int, str]) -> None:
    """Refuse what this kernel's Landlock can refuse, but these rights beneath these directories. Raises OSError."""
    version = _called(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    files = next(1 << count for since, count in FILE_RIGHTS if version >= since) - 1
    net = BIND_TCP if version >= NET_SINCE else 0
    scope = ABSTRACT_UNIX_SOCKET | SIGNAL if version >= SCOPE_SINCE else 0
    ruleset = _called(CREATE_RULESET, _ruleset.pack(files, net, scope), _ruleset.size, 0)
    try:
        for right, directory in allowed.items():
            if directory:
                _allow(ruleset, right, directory)
        _called(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, right: int, directory: str) -> None:
    try:
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # where nothing is, nothing is to be removed
    try:
        _called(ADD_RULE, ruleset, RULE_PATH_BENEATH, _path_beneath.pack(right, descriptor), 0)
    finally:
        os.close(descriptor)


def _called(*arguments: int | bytes | None) -> int:
    """What the system call with this number gives for these arguments. Raises OSError."""
    result: int = _libc.syscall(*(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
