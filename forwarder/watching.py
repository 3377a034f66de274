"""The files that the configuration names, hosts files and resolv.conf: what they say, and whether they changed.

Never writes a file and never asks the network. Always holds: a file that cannot be used is a `Problem` that names it; an
upstream that nobody wrote down is never invented, and none of our own addresses is asked.
"""

import errno
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from forwarder import hosts, link
from forwarder.config import Config, Listen, Zone, is_own_address
from forwarder.errors import ConfigError, Problem
from forwarder.node import resolv_conf

_MEND = "write `nameserver ADDRESS` there, or the address under zones[].upstreams"

MAX_RESOLV_CONF_SIZE = 1 << 20
"""Octets; glibc reads three nameservers and six search domains, so that 1 KiB is long."""

Signature = tuple[int, ...]


class Watched:
    """Files watched by what `stat` says of them once in a while: works on every file system, symlink swaps included."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._signatures = {path: signature_of(path) for path in paths}

    def changed(self) -> tuple[str, ...]:
        """The files that are not what they were at the last call (at first: when this was built)."""
        changed = []
        for path, before in self._signatures.items():
            now = signature_of(path)
            if now != before:
                self._signatures[path] = now
                changed.append(path)
        return tuple(changed)


def signature_of(path: str) -> Signature | None:
    """What tells one state of a file from the next, of the file that symlinks lead to; None when there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    # ctime too: a file made readable is worth another look, and one written within the same instant has another inode.
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask, files read."""

    upstreams: link.Upstreams
    warnings: tuple[str, ...]
    """What is missing or left out, each one sentence with the mend."""


def asked(config: Config) -> Asked:
    """The upstreams of every zone, resolv.conf files read. Raises ConfigError when one of these cannot be read."""
    problems: list[Problem] = []
    warnings: list[str] = []
    zones = []
    for zone in config.zones:
        addresses: list[str] = []
        for upstream in zone.upstreams:
            if upstream.startswith("/"):
                try:
                    addresses += _nameservers(upstream, zone, config.listen, warnings)
                except OSError as error:
                    sentence = f"cannot be read ({error.strerror}): mend it, or name other upstreams for zone {zone.zone}"
                    problems.append(Problem(upstream, sentence))
            else:
                addresses.append(upstream)
        zones.append(link.ZoneUpstreams(zone=zone.zone, addresses=list(dict.fromkeys(addresses))))
    if problems:
        raise ConfigError(tuple(problems))
    return Asked(upstreams=link.Upstreams(zones=zones), warnings=tuple(warnings))


def pinned(config: Config) -> link.Pinned:
    """The names the operator pinned, hosts files read. Raises ConfigError with all problems."""
    return hosts.pinned(config.hosts.records, config.hosts.files)


def _nameservers(path: str, zone: Zone, listen: Listen, warnings: list[str]) -> list[str]:
    """The nameservers of a resolv.conf file that are not ourselves."""
    try:
        text = _text(path)
    except FileNotFoundError:
        warnings.append(f"zone {zone.zone}: {path} does not exist; {_MEND}")
        return []
    found = resolv_conf.parsed(text).nameservers
    ours = [address for address in found if is_own_address(listen, address)]
    if not found:
        warnings.append(f"zone {zone.zone}: {path} names no nameserver; {_MEND}")
    warnings.extend(
        f"zone {zone.zone}: {path} names {address}, which is this daemon: left out, queries would run in a circle"
        for address in ours
    )
    if found and len(ours) == len(found):
        warnings.append(f"zone {zone.zone}: {path} names no other nameserver; {_MEND}")
    return [address for address in found if address not in ours]


def _text(path: str) -> str:
    """A file of a reasonable size; a pipe or a device would never end."""
    file = Path(path)
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if status.st_size > MAX_RESOLV_CONF_SIZE:
        raise OSError(errno.EFBIG, f"larger than {MAX_RESOLV_CONF_SIZE} octets")
    return file.read_text(encoding="utf-8", errors="replace")
