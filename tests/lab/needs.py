"""What a test needs beyond Python: said here once, so that every skip reads the same.

A test whose needs are not met is skipped with the reason and the mend; where `FORWARDER_TESTS_MUST_RUN=1` is set (the
continuous integration does), it fails instead, so that nothing is left out unnoticed.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Debian keeps servers in sbin, which an ordinary user's PATH leaves out."""
_CAP_NET_ADMIN = 12
_CAP_SYS_ADMIN = 21
"""Bit numbers in /proc/self/status (capabilities(7)); both are needed to make a network namespace."""


def needs_root() -> None:
    """For raw sockets and ports below 1024."""
    if os.geteuid() != 0:
        _lacking("needs root: run the tests with sudo")


def needs_namespaces() -> None:
    """For network namespaces of one's own; root in a container without capabilities cannot make any."""
    needs_root()
    needs_program("ip", package="iproute2")
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    if not all(effective >> bit & 1 for bit in (_CAP_NET_ADMIN, _CAP_SYS_ADMIN)):
        _lacking("needs CAP_NET_ADMIN and CAP_SYS_ADMIN to make network namespaces: run the container privileged")


def needs_to_be_read_by_all(*paths: Path) -> None:
    """For programs that run as another user: they read the project and the interpreter."""
    closed = [path for one in paths for path in (one, *one.parents) if path.stat().st_mode & 0o5 != 0o5]
    if closed:
        _lacking(f"needs {closed[0]} to be open to other users: chmod o+rx, or clone the project elsewhere")


def needs_program(program: str, *, package: str | None = None) -> str:
    """The path of a program; `package` is the Debian package that has it, when it is called otherwise."""
    path = shutil.which(program, path=_SYSTEM_PATH)
    if path is None:
        _lacking(f"needs {program}: apt-get install --no-install-recommends {package or program}")
    return path


def needs_control_groups() -> Path:
    """The place of the unified hierarchy of control groups, where new ones may be made.

    The one need that is never insisted upon: what a booted systemd shows, a played one (`lab.service_manager`) shows wherever
    systemd cannot be booted.
    """
    places = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
    found = next((place for place in places if (place / "cgroup.procs").exists() and os.access(place, os.W_OK)), None)
    if found is None:
        pytest.skip("needs writable control groups (cgroup2 on /sys/fs/cgroup): run the container privileged")
    return found


def needs_musl() -> str:
    """The path of the compiler that links against musl instead of glibc."""
    return needs_program("musl-gcc", package="musl-tools")


def needs_filtered_bridges() -> None:
    """For bridged traffic that passes the host's firewall (`bridge-nf-call-iptables`)."""
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        _lacking("needs br_netfilter in the kernel: modprobe br_netfilter")


def needs_conntrack() -> None:
    """For figures of the kernel's table of connections."""
    if not Path("/proc/sys/net/netfilter/nf_conntrack_count").exists():
        _lacking("needs the kernel to track connections: modprobe nf_conntrack")


def needs_address(address: str) -> None:
    """For an address of this machine that not every machine has (`::1` where IPv6 is off)."""
    table = Path("/proc/net/if_inet6")
    if address == "::1" and not (table.exists() and f"{1:032x}" in table.read_text()):
        _lacking("needs IPv6 on the loopback interface: sysctl -w net.ipv6.conf.lo.disable_ipv6=0")


def _lacking(reason: str) -> NoReturn:
    if os.environ.get("FORWARDER_TESTS_MUST_RUN") == "1":
        pytest.fail(f"{reason} (FORWARDER_TESTS_MUST_RUN=1: skipping is not allowed)")
    pytest.skip(reason)
