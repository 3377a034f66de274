"""The capabilities of this thread (capabilities(7)): which it has, and giving up all but a few for good.

Never gains any. Always holds: what was given up comes back by no means short of a new program started by somebody else. The
kernel counts them for each thread, so this is done while there is one.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

DAC_OVERRIDE = 1
"""Files and directories of whomever, whatever their modes say."""
SETPCAP = 8
"""The bounding set may be made smaller."""
NET_BIND_SERVICE = 10
"""Ports below 1024."""
NET_ADMIN = 12
"""Here: receive buffers beyond net.core.rmem_max."""
NONE: frozenset[int] = frozenset()

# Numbers of prctl, from linux/prctl.h.
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

VERSION_3 = 0x20080522
"""Of the header of capget(2): sets of 64 bits, in two halves."""
_header = struct.Struct("=Ii")
_sets = struct.Struct("=6I")
"""Effective, permitted and inheritable: the lower halves, then the upper."""
_libc = ctypes.CDLL(None, use_errno=True)


def permitted() -> frozenset[int]:
    """Those that this thread may use. Raises OSError."""
    _, low, _, _, high, _ = _sets.unpack(_called_with("capget", bytes(_sets.size)))
    return frozenset(number for number in range(64) if (low | high << 32) >> number & 1)


def keep_only(wanted: frozenset[int]) -> None:
    """Of what is permitted keep this, in effect; no program started from here inherits any. Raises OSError.

    Ambient ones end with the inheritable ones.
    """
    mask = sum(1 << number for number in permitted() & wanted)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _called_with("capset", _sets.pack(low, low, 0, high, high, 0))


def bar_from_programs() -> None:
    """Empty the bounding set: no program that is started from here is given any, root's and setuid ones included.

    That takes CAP_SETPCAP; who starts without has no_new_privileges() instead. Raises OSError.
    """
    number = 0
    with contextlib.suppress(PermissionError):
        while (is_there := _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0)) >= 0:
            if is_there:
                prctl(PR_CAPBSET_DROP, number)
            number += 1


@contextlib.contextmanager
def kept_by_another_user() -> Iterator[None]:
    """Whoever stops being root in here stays permitted what root was. Raises OSError."""
    prctl(PR_SET_KEEPCAPS, 1)
    try:
        yield
    finally:
        prctl(PR_SET_KEEPCAPS, 0)


def no_new_privileges() -> None:
    """No program that is started from here can do more than we can. Raises OSError."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def prctl(option: int, argument: int) -> None:
    """Raises OSError with what the kernel says."""
    if _libc.prctl(option, argument, 0, 0, 0) < 0:
        raise _error()


def _called_with(call: str, sets: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(sets, _sets.size)
    if _libc[call](ctypes.create_string_buffer(_header.pack(VERSION_3, 0), _header.size), buffer) < 0:
        raise _error()
    return buffer.raw


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
