"""Network namespaces: small networks of their own for pods, nodes and servers, on this kernel.

Always holds: every name is unique to the run, and leaving the `with` removes namespaces, links and resolver files, whatever
happened inside. Needs root (`needs.needs_namespaces`).
"""

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace, with loopback up and a resolv.conf of its own for `ip netns exec`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._files = Path("/etc/netns") / name

    def run(self, *command: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a program inside; its exit status is the caller's to judge."""
        return subprocess.run(self.command(*command), capture_output=True, text=True, timeout=timeout, check=False)

    def command(self, *command: str) -> list[str]:
        """The command that runs this one inside, with this namespace's /etc/resolv.conf."""
        return ["ip", "netns", "exec", self.name, *command]

    def add_address(self, address: str, *, interface: str = "lo") -> None:
        """An address with its prefix length; IPv6 without duplicate detection, which would take a second."""
        nodad = ["nodad"] if ":" in address else []
        self.ip("addr", "add", address, "dev", interface, *nodad)

    def add_route(self, destination: str, *, via: str) -> None:
        """A route over a neighbour."""
        self.ip("route", "add", destination, "via", via)

    def add_bridge(self, name: str) -> None:
        """A bridge, up, without ports."""
        self.ip("link", "add", name, "type", "bridge", "forward_delay", "0")
        self.ip("link", "set", name, "up")

    def add_port(self, bridge: str, interface: str) -> None:
        """An interface that becomes a port of a bridge."""
        self.ip("link", "set", interface, "master", bridge)

    def ip(self, *arguments: str) -> None:
        """`ip` with these arguments, inside."""
        _ip("-n", self.name, *arguments)

    def set_kernel(self, setting: str, value: int) -> None:
        """A setting of the kernel (sysctl(8)), of those that every namespace has for itself."""
        self.feed("", "sysctl", "-q", "-w", f"{setting}={value}")

    def feed(self, text: str, *command: str) -> str:
        """Run a program inside that reads this text and must succeed; what it printed."""
        done = subprocess.run(self.command(*command), input=text, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            msg = f"{' '.join(command)}: {done.stderr.strip()}"
            raise OSError(msg)
        return done.stdout

    def write_resolv_conf(self, text: str) -> None:
        """What /etc/resolv.conf is for programs inside."""
        self._files.mkdir(parents=True, exist_ok=True)
        (self._files / "resolv.conf").write_text(text)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread's new sockets and programs belong to the namespace until the `with` is left."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        within = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _set_namespace(within)
            yield
        finally:
            _set_namespace(outside)
            os.close(within)
            os.close(outside)

    def remove(self) -> None:
        """Take it away, and its resolver files."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        shutil.rmtree(self._files, ignore_errors=True)
        with suppress(OSError):
            self._files.parent.rmdir()


class Network:
    """Namespaces and the links between them."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(3)
        self._namespaces: list[Namespace] = []
        self._links = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for namespace in self._namespaces:
            namespace.remove()

    def namespace(self, role: str) -> Namespace:
        """A new namespace; `role` (pod, node, ...) is part of its name."""
        namespace = Namespace(f"fwd-{self._mark}-{role}")
        _ip("netns", "add", namespace.name)
        self._namespaces.append(namespace)
        namespace.ip("link", "set", "lo", "up")
        return namespace

    def link(
        self, left: Namespace, left_addresses: Sequence[str], right: Namespace, right_addresses: Sequence[str]
    ) -> tuple[str, str]:
        """A cable (veth pair) between two namespaces, with addresses (`10.42.2.1/24`) at either end; the ends' names."""
        self._links += 1
        ends = (f"v{self._mark}{self._links}l", f"v{self._mark}{self._links}r")
        _ip("link", "add", ends[0], "netns", left.name, "type", "veth", "peer", "name", ends[1], "netns", right.name)
        for end, namespace, addresses in zip(ends, (left, right), (left_addresses, right_addresses), strict=True):
            for address in addresses:
                namespace.add_address(address, interface=end)
            namespace.ip("link", "set", end, "up")
        return ends


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"ip {' '.join(arguments)}: {done.stderr.strip()}"
        raise OSError(msg)


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
