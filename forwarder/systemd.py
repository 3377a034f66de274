"""systemd as the daemon meets it: what it passed at the start (sd_listen_fds(3)), what it is told (sd_notify(3)).

Never waits for systemd, and never fails without it: outside a unit every call does nothing. Always holds: the variables are
taken out of the environment, and descriptors that came are closed on exec, so that no worker inherits either.
"""

import contextlib
import os
import socket
import stat
import sys
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Self

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START: behind standard input, output and error."""
KEPT = "kept-"
"""How the names begin that we give to what systemd keeps for us: what a .socket unit passes never does."""
UNNAMED = "unknown"
"""What sd_listen_fds_with_names(3) calls a descriptor without a name."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One descriptor that systemd had when it started us."""

    descriptor: int
    name: str
    """What we called it (`keep`), or FileDescriptorName= of the .socket unit, by default that unit's name."""
    is_kept: bool
    """From the file descriptor store, which we filled ourselves; else from a .socket unit."""

    @property
    def is_socket(self) -> bool:
        """Else it is a file, as a memory file is."""
        return stat.S_ISSOCK(os.fstat(self.descriptor).st_mode)


class Service:
    """This process as systemd's main process of a unit, or as a process that systemd knows nothing of."""

    def __init__(self, address: str | None, watchdog_interval: float | None, passed: Sequence[Passed]) -> None:
        """`address`: a path, or `@` and an abstract name; None where nobody listens."""
        self.watchdog_interval = watchdog_interval
        """Seconds between two calls of `alive`, half of WatchdogSec=; None where nobody waits for them."""
        self.passed = tuple(passed)
        """What .socket units passed, in their order, then what was kept, in the order of names; whoever takes one owns it."""
        self._held_elsewhere = {_identity(one.descriptor) for one in passed if not one.is_kept}
        self._address = address.replace("@", "\0", 1) if address is not None and address.startswith("@") else address
        self._socket = None if address is None else _datagram_socket()
        self._owed = ""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Take what is said in the environment, once: the variables are gone from it afterwards."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval = _watchdog_interval(environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", ""))
        pid, count, names = (environment.pop(f"LISTEN_{what}", "") for what in ("PID", "FDS", "FDNAMES"))
        passed = _passed(count, names.split(":")) if pid == str(os.getpid()) else ()
        return cls(address if address[:1] in {"/", "@"} else None, interval, passed)

    def ready(self, status: str = "") -> bool:
        """Queries are answered, from the start on or again after `reloading`. Whether systemd was told."""
        return self._state(f"READY=1{_status(status)}")

    def reloading(self) -> bool:
        """The configuration is read again; `ready` follows, whatever came of it."""
        return self._state(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> bool:
        """The end has begun."""
        return self._state("STOPPING=1")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._tell(f"STATUS={_line(text)}")

    def alive(self) -> bool:
        """WatchdogSec= begins anew. What could not be told about our state before is told now."""
        told = self._tell(f"{self._owed}WATCHDOG=1")
        self._owed = "" if told else self._owed
        return told

    def main_process_is(self, pid: int) -> bool:
        """Another process takes our place: systemd watches that one from now on, and hears it instead of us.

        It is believed of a process within the unit's control group, or of any when we are root.
        """
        return self._tell(f"MAINPID={pid}")

    def keep(self, name: str, descriptors: Sequence[int]) -> bool:
        """Have systemd keep these as well, to pass them to the next start of the unit, after a crash too.

        What it has already is not kept twice, nor what a .socket unit passed. `name`: printable ASCII without a colon, 250
        octets at most.
        """
        ours = [descriptor for descriptor in descriptors if _identity(descriptor) not in self._held_elsewhere]
        return not ours or self._tell(f"FDSTORE=1\nFDPOLL=0\nFDNAME={KEPT}{name}", ours)

    def forget(self, name: str) -> bool:
        """Have systemd close what it keeps by this name."""
        return self._tell(f"FDSTOREREMOVE=1\nFDNAME={KEPT}{name}")

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _state(self, text: str) -> bool:
        """Our state, which a full queue of systemd's must not make it miss."""
        told = self._tell(text)
        self._owed = "" if told else f"{text}\n"
        return told

    def _tell(self, text: str, descriptors: Sequence[int] = ()) -> bool:
        if self._socket is None or self._address is None:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _integers(descriptors))] if descriptors else []
        try:
            self._socket.sendmsg([text.encode()], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address)
        except OSError:
            return False
        return True


def name_for(address: str, place: int) -> str:
    """The name by which a socket of a listen address is kept: a colon would end it. `[::1]:53`, 2 -> `[__1]_53-02`.

    `place`: below 100, which of its sockets it is. systemd keeps them in no order, and sorted by name they are in ours again.
    """
    return f"{address.replace(':', '_')}-{place:02}"


def _identity(descriptor: int) -> tuple[int, int]:
    """The same for two descriptors of one socket."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _datagram_socket() -> socket.socket | None:
    with contextlib.suppress(OSError):
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    return None


def _watchdog_interval(microseconds: str, pid: str) -> float | None:
    """Half of what WATCHDOG_USEC says, as sd_watchdog_enabled(3) advises; None when it is meant for another process."""
    if not _is_number(microseconds) or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2e6 or None


def _passed(count: str, names: Sequence[str]) -> list[Passed]:
    """What came, from descriptor 3 on, in our order; a number that is not open is left out."""
    found = []
    for place in range(int(count) if _is_number(count) else 0):
        descriptor, name = FIRST_DESCRIPTOR + place, (names[place] if place < len(names) else "") or UNNAMED
        with contextlib.suppress(OSError):
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - the name of the function says what is false
            found.append(Passed(descriptor, name.removeprefix(KEPT), name.startswith(KEPT)))
    return sorted(found, key=lambda one: (one.is_kept, one.name if one.is_kept else ""))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20  # noqa: PLR2004 - the digits of 2**64


def _status(text: str) -> str:
    return f"\nSTATUS={_line(text)}" if text else ""


def _line(text: str) -> str:
    """A line break would begin another assignment."""
    return " ".join(text.split())


def _integers(descriptors: Sequence[int]) -> bytes:
    return b"".join(descriptor.to_bytes(4, sys.byteorder) for descriptor in descriptors)
