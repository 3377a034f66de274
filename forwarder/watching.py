"""The files that the configuration names, hosts files and resolv.conf: what they say, and whether they changed.

Never writes a file and never asks the network. Always holds: a file that cannot be used is a `Problem` that names it; an
upstream that nobody wrote down is never invented, and none of our own addresses is asked.
"""

import errno
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from forwarder import hosts, link, trust
from forwarder.config import Config, Zone, doors_of, is_own_address
from forwarder.errors import ConfigError, Problem
from forwarder.node import resolv_conf

MEND = "write `nameserver ADDRESS` there, or the address under zones[].upstreams"

MAX_RESOLV_CONF_SIZE = 1 << 20
"""Octets; glibc reads three nameservers and six search domains, so that 1 KiB is long."""

MAX_SEARCH_DOMAINS = 16
"""Of one file, as many as `search.domains` may have."""
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
MAX_NAME = 253
"""Characters of a name without its last dot (RFC 1035 section 3.1)."""

Said = TypeVar("Said")
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

    def is_empty(self, path: str) -> bool:
        """Whether the file was there at the last call, with nothing in it."""
        signature = self._signatures[path]
        return signature is not None and not signature[-1]


def signature_of(path: str) -> Signature | None:
    """What tells one state of a file from the next, of the file that symlinks lead to; None when there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    # ctime too: a file made readable is worth another look, and one written within the same instant has another inode.
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


@dataclass(frozen=True, slots=True)
class Nameservers:
    """Whom a resolv.conf file names."""

    addresses: tuple[str, ...]
    """`192.0.2.1:53`, in the order written; our own left out."""
    ours: tuple[str, ...]
    """What was left out: queries would run in a circle."""
    search: tuple[str, ...]
    """The search domains it names, lower-case, without the last dot; what is no name below the root is passed over."""
    is_complete: bool
    """Whether its last line ends. What is being written may stop anywhere, and `192.0.2` is an address too: 192.0.0.2."""

    @property
    def lack(self) -> str:
        """Why nobody can be asked; empty: somebody can."""
        if self.addresses:
            return ""
        return "names no nameserver but this daemon" if self.ours else "names no nameserver"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask, files read."""

    upstreams: link.Upstreams
    nameservers: dict[str, Nameservers]
    """resolv.conf file -> whom it names; nobody while there is no file."""
    warnings: tuple[str, ...]
    """What is missing or left out, each one sentence with the mend."""


@dataclass(frozen=True, slots=True)
class Files:
    """What the files that the configuration names say, and what they were like when they were read."""

    watched: Watched
    pinned: link.Pinned
    asked: Asked
    authorities: Mapping[str, bytes]
    """Whom zones asked over TLS trust, as `trust.authorities` gives it."""


def read_files(config: Config) -> Files:
    """Read the files the configuration names. Raises ConfigError with the problems of all of them."""
    paths = [path for zone in config.zones for path in resolv_confs(zone)]
    watched = Watched((*config.hosts.files, *paths))  # before reading: what changes meanwhile is seen at the first look
    problems: list[Problem] = []
    names = _read(pinned, config, problems)
    upstreams = _read(asked, config, problems)
    authorities = _read(trust.authorities, config, problems)
    if names is None or upstreams is None or authorities is None:
        raise ConfigError(tuple(problems))
    return Files(watched=watched, pinned=names, asked=upstreams, authorities=authorities)


def _read(read: Callable[[Config], Said], config: Config, problems: list[Problem]) -> Said | None:
    """What these files say; None when some cannot be used, and why goes to the problems."""
    try:
        return read(config)
    except ConfigError as error:
        problems += error.problems
        return None


def asked(config: Config) -> Asked:
    """The upstreams of every zone, resolv.conf files read. Raises ConfigError when one of these cannot be read."""
    problems: list[Problem] = []
    warnings: list[str] = []
    found: dict[str, Nameservers] = {}
    for zone in config.zones:
        for path in resolv_confs(zone):
            try:
                found[path] = _found(path, zone, doors_of(config), warnings)
            except OSError as error:
                sentence = f"cannot be read ({error.strerror}): mend it, or name other upstreams for zone {zone.zone}"
                problems.append(Problem(path, sentence))
    if problems:
        raise ConfigError(tuple(problems))
    return Asked(upstreams=upstreams_for(config, found), nameservers=found, warnings=tuple(warnings))


def resolv_confs(zone: Zone) -> list[str]:
    """The files among the upstreams of a zone."""
    return [upstream for upstream in zone.upstreams if upstream.startswith("/")]


def upstreams_for(config: Config, found: Mapping[str, Nameservers]) -> link.Upstreams:
    """The upstreams of every zone, each address once, and the search domains, given what each resolv.conf file names."""
    zones = []
    for zone in config.zones:
        named = [found[upstream].addresses if upstream in found else (upstream,) for upstream in zone.upstreams]
        zones.append(link.ZoneUpstreams(zone=zone.zone, addresses=list(dict.fromkeys(itertools.chain(*named)))))
    domains = dict.fromkeys(itertools.chain(*(names.search for names in found.values())))
    return link.Upstreams(zones=zones, search=list(domains))


def nameservers(path: str, doors: Sequence[str]) -> Nameservers:
    """Whom a resolv.conf file names besides these doors of ours. Raises OSError when it cannot be read."""
    text = _text(path)
    said = resolv_conf.parsed(text)
    ours = tuple(address for address in said.nameservers if is_own_address(doors, address))
    others = tuple(address for address in said.nameservers if address not in ours)
    domains = (word.lower().removesuffix(".") for word in said.search)
    search = [domain for domain in domains if len(domain) <= MAX_NAME and _DOMAIN.fullmatch(domain)]
    return Nameservers(others, ours, tuple(search[:MAX_SEARCH_DOMAINS]), is_complete=text.endswith("\n"))


def left_out(path: str, address: str) -> str:
    """What to say of a nameserver that is ourselves."""
    return f"{path} names {address}, which is this daemon: left out, queries would run in a circle"


def pinned(config: Config) -> link.Pinned:
    """The names the operator pinned, hosts files read. Raises ConfigError with all problems."""
    return hosts.pinned(config.hosts.records, config.hosts.files)


def _found(path: str, zone: Zone, doors: Sequence[str], warnings: list[str]) -> Nameservers:
    """What a resolv.conf file names; what an operator may not expect goes to the warnings."""
    try:
        found = nameservers(path, doors)
    except FileNotFoundError:
        warnings.append(f"zone {zone.zone}: {path} does not exist; {MEND}")
        return Nameservers((), (), (), is_complete=True)
    warnings.extend(f"zone {zone.zone}: {left_out(path, address)}" for address in found.ours)
    if found.lack:
        warnings.append(f"zone {zone.zone}: {path} {found.lack}; {MEND}")
    return found


def _text(path: str) -> str:
    """A file of a reasonable size; a pipe or a device would never end, and opening one must not wait for a writer."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        data = file.read(MAX_RESOLV_CONF_SIZE + 1)
    if len(data) > MAX_RESOLV_CONF_SIZE:
        raise OSError(errno.EFBIG, f"larger than {MAX_RESOLV_CONF_SIZE} octets")
    return data.decode(errors="replace")
