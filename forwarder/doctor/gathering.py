"""The one place that looks at the host: /proc and /sys, the firewall's rules, the clock, resolv.conf, the daemon's pages.

Changes nothing and judges nothing. Always holds: what cannot be looked at stands in `unknown` with the reason; a look takes at
most a few seconds, whatever a program or a file does.
"""

import asyncio
import ctypes
import http.client
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from forwarder.config import Config, split_address
from forwarder.doctor import kernel, rules, trying
from forwarder.doctor.facts import (
    MAX_TEXT,
    Clock,
    Connections,
    Conntrack,
    DaemonSeen,
    Facts,
    Holder,
    Interface,
    Rules,
    Server,
)
from forwarder.doctor.perspective import RESOLVED
from forwarder.doctor.planning import plans_for

PROC, SYS = Path("/proc"), Path("/sys")
SETTINGS = (
    "net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables", "net.core.rmem_max",
    "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_count",
)  # fmt: skip
MAX_CONNECTIONS_READ = 64 << 20
"""Octets of /proc/net/nf_conntrack: some 300,000 connections, in about a second."""
MAX_PAGE = 4 << 20
MOST_PROCESSES = 20_000
PROGRAM_SECONDS = 5.0
PAGE_SECONDS = 2.0
METRICS = (
    "forwarder_upstream_looped", "forwarder_upstream_up", "forwarder_split_pairs_total",
    "forwarder_client_repeats_total", "forwarder_receive_drops_total",
)  # fmt: skip
"""Of /metrics, kept."""
SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The command line."""

    resolv_conf: str
    config: Config | None
    names: tuple[str, ...]


class _Gathering:
    """Facts, and what could not become one."""

    def __init__(self) -> None:
        self.unknown: dict[str, str] = {}

    def look(self, what: str, how: Callable[[], T]) -> T | None:
        """A fact, or None with the reason."""
        try:
            return how()
        except PermissionError:
            self.unknown[what] = "not permitted: run it as root"
        except OSError as error:
            self.unknown[what] = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        except subprocess.TimeoutExpired as error:
            self.unknown[what] = f"{error.cmd[0]} did not end within {error.timeout:.0f} s"
        return None


def gathered(wanted: Wanted) -> Facts:
    """All facts of this place. Takes a few seconds, most of them waiting for silent servers."""
    gathering = _Gathering()
    texts = dict(_texts(wanted, gathering))
    ports = frozenset(_ports(wanted.config))
    before, begun = gathering.look("conntrack's counters", _counters), time.monotonic()
    plans, left_out = plans_for(wanted.resolv_conf, wanted.config, wanted.names, texts)
    if left_out:
        gathering.unknown[f"servers {', '.join(left_out)}"] = f"more than {len(plans)} servers are not asked"
    servers = asyncio.run(trying.tried(plans))
    after, seconds = gathering.look("conntrack's counters", _counters), time.monotonic() - begun
    settings = dict(_settings())
    return Facts(
        version=1,
        at=time.time(),
        kernel=os.uname().release,
        resolv_conf=wanted.resolv_conf,
        texts=texts,
        names=wanted.names,
        config=wanted.config,
        servers=servers,
        conntrack=_conntrack(before, after, seconds, settings),
        connections=gathering.look("tracked connections", lambda: _connections(ports)),
        rules=gathering.look("the firewall's rules", _rules),
        settings=settings,
        interfaces=gathering.look("interfaces", lambda: tuple(_interfaces())),
        addresses=gathering.look("addresses of this host", _addresses),
        holders=gathering.look("who holds which port", lambda: tuple(_holders(ports))),
        clock=gathering.look("the kernel's opinion of the clock", _clock),
        daemon=None if wanted.config is None else _daemon(wanted.config, servers),
        unknown=gathering.unknown,
    )


def _texts(wanted: Wanted, gathering: _Gathering) -> Iterator[tuple[str, str]]:
    """resolv.conf files, by path; systemd-resolved's only where there is one."""
    paths = [wanted.resolv_conf]
    if wanted.config is not None:
        paths += [upstream for zone in wanted.config.zones for upstream in zone.upstreams if upstream.startswith("/")]
    if Path(RESOLVED).exists():
        paths.append(RESOLVED)
    for path in dict.fromkeys(paths):
        text = gathering.look(path, lambda path=path: _read(Path(path), MAX_TEXT))  # type: ignore[misc]  # mypy types no such default
        if text is not None:
            yield path, text


def _read(path: Path, most: int) -> str:
    with path.open("rb") as file:
        return file.read(most).decode(errors="replace")


def _ports(config: Config | None) -> Iterator[int]:
    yield 53
    if config is not None:
        yield from (split_address(address)[1] for address in config.listen.addresses)


# ------------------------------------------------------------------------------------------------------------ conntrack


def _counters() -> tuple[dict[str, int], ...]:
    """Empty where the kernel tracks nothing."""
    path = PROC / "net/stat/nf_conntrack"
    return kernel.conntrack_counters(_read(path, MAX_TEXT)) if path.exists() else ()


def _conntrack(
    before: tuple[dict[str, int], ...] | None,
    after: tuple[dict[str, int], ...] | None,
    seconds: float,
    settings: dict[str, int],
) -> Conntrack | None:
    if not before or not after:
        return None
    count, most = (settings.get(f"net.netfilter.nf_conntrack_{what}", 0) for what in ("count", "max"))
    return Conntrack(before=before, after=after, seconds=round(seconds, 3), entries=count, most=most)


def _connections(ports: frozenset[int]) -> Connections:
    """Of the kernel's file, else as `conntrack` lists them."""
    path = PROC / "net/nf_conntrack"
    if path.exists():
        with path.open("rb") as file:
            lines = file.read(MAX_CONNECTIONS_READ).decode("ascii", "replace").splitlines()
        return kernel.dns_connections(lines, ports)
    if not (PROC / "sys/net/netfilter/nf_conntrack_count").exists():
        return Connections(count=0, some=())
    return kernel.dns_connections(_output("conntrack", "--dump").splitlines(), ports)


def _output(program: str, *arguments: str) -> str:
    """What a program prints. Raises OSError when there is none, or it fails."""
    path = shutil.which(program, path=SBIN)
    if path is None:
        raise FileNotFoundError(2, f"no program {program} here")
    done = subprocess.run(  # noqa: S603 - arguments of our own
        [path, *arguments], capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False, errors="replace"
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
        if os.geteuid() != 0:
            raise PermissionError(1, said)
        raise OSError(5, f"{program}: {said}")
    return done.stdout


def _rules() -> Rules:
    """nft's; those of iptables where there is no nft, or where nft shows what iptables made."""
    try:
        listed = _output("nft", "--json", "list", "ruleset")
    except FileNotFoundError:
        return rules.rules_in_iptables(_output("iptables-save") + _output("ip6tables-save"))
    found = rules.rules_in_nft(listed)
    if found is None:
        raise OSError(5, "nft lists its rules in a form that is not known here")
    if '"xt"' in listed:
        with suppress(OSError):
            more = _output("iptables-save") + _output("ip6tables-save")
            return rules.both(found, rules.rules_in_iptables(more))
    return found


# ------------------------------------------------------------------------------------------------------------- the host


def _settings() -> Iterator[tuple[str, int]]:
    """Those that there are: without br_netfilter, say, two are not."""
    for name in SETTINGS:
        with suppress(OSError, ValueError):
            yield name, int((PROC / "sys" / name.replace(".", "/")).read_text())


def _interfaces() -> Iterator[Interface]:
    for directory in sorted((SYS / "class/net").iterdir()):
        with suppress(OSError, ValueError):  # gone meanwhile
            uevent = dict(line.partition("=")[::2] for line in _read(directory / "uevent", MAX_TEXT).splitlines())
            ports = directory / "brif"
            yield Interface(
                name=directory.name,
                kind=uevent.get("DEVTYPE", ""),
                mtu=int(_read(directory / "mtu", 64)),
                is_up=bool(int(_read(directory / "flags", 64), 16) & 1),
                lower=tuple(sorted(one.name.removeprefix("lower_") for one in directory.glob("lower_*"))),
                ports=len(list(ports.iterdir())) if ports.exists() else 0,
            )


def _addresses() -> tuple[str, ...]:
    if_inet6 = PROC / "net/if_inet6"
    six = _read(if_inet6, 1 << 20) if if_inet6.exists() else ""
    return kernel.local_addresses(_read(PROC / "net/fib_trie", 4 << 20), six)


def _holders(ports: frozenset[int]) -> Iterator[Holder]:
    names: dict[str, str] | None = None
    for protocol in ("udp", "tcp"):
        for table in (protocol, f"{protocol}6"):
            path = PROC / "net" / table
            for one in kernel.bound_sockets(_read(path, 4 << 20), protocol, ports) if path.exists() else ():
                names = _processes() if names is None else names
                address = f"[{one.host}]:{one.port}" if ":" in one.host else f"{one.host}:{one.port}"
                yield Holder(address=address, protocol="udp" if protocol == "udp" else "tcp", process=names.get(one.inode, ""))


def _processes() -> dict[str, str]:
    """Inode of a socket -> who has it open, as far as we may see."""
    found: dict[str, str] = {}
    pids = sorted((one.name for one in PROC.iterdir() if one.name.isdigit()), key=int)[:MOST_PROCESSES]
    for pid in pids:
        with suppress(OSError):
            comm = _read(PROC / pid / "comm", 64).strip()
            for descriptor in (PROC / pid / "fd").iterdir():
                with suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith("socket:["):
                        found.setdefault(target[8:-1], f"{comm} ({pid})")
    return found


_TIMEX = struct.Struct("@I4xqqqqi")
"""The first members of struct timex (adjtimex(2)): modes, offset, freq, maxerror, esterror, status."""
_STA_UNSYNC = 0x40
_libc = ctypes.CDLL(None, use_errno=True)


def _clock() -> Clock:
    buffer = ctypes.create_string_buffer(512)
    if _libc.adjtimex(buffer) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _, _, _, most, _, status = _TIMEX.unpack_from(buffer)
    return Clock(is_synchronised=not status & _STA_UNSYNC, error=most / 1e6)


# ----------------------------------------------------------------------------------------------------------- the daemon


def _daemon(config: Config, servers: tuple[Server, ...]) -> DaemonSeen | None:
    """Its pages; None where nobody answers as it does, so that its pages would be somebody else's."""
    if not any(server.is_ours and "listen" in server.roles for server in servers):
        return None
    host, port = split_address(config.observe.http)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        status, text = _page(host, port, "/ready")
        shown, metrics = _page(host, port, "/metrics")
    except (OSError, http.client.HTTPException) as error:
        return DaemonSeen(ready=0, why=f"{config.observe.http}: {str(error) or type(error).__name__}", metrics={})
    kept = _metrics(metrics) if shown == http.client.OK else {}
    return DaemonSeen(ready=status, why=text.strip()[:200], metrics=kept)


def _page(host: str, port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=PAGE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(MAX_PAGE).decode(errors="replace")
    finally:
        connection.close()


def _metrics(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if line.startswith(METRICS):
            name, _, value = line.rpartition(" ")
            with suppress(ValueError):
                found[name] = float(value)
    return found
