"""A root directory with some of this machine's Debian packages and nothing else, and programs that run in it as in a container.

What a package brings is copied, not configured: there is no user but root, no service, no package manager's state. Always
holds: a program sees this root, processes that it started itself, and the network of the test, not the machine's files.
Needs root (`needs.needs_namespaces`) and Debian.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program
from tests.lab.project import ROOT

SECONDS = 120
_LISTS = Path("/var/lib/dpkg/info")
_MERGED = ("bin", "sbin", "lib", "lib64")
"""Packages bring files below these, which lead to /usr."""
_USELESS = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/perl", "/usr/lib/x86_64-linux-gnu/perl")
_ENTER = """
set -e
root=$1; shift
read_only=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
    mount --rbind "${1%%:*}" "$root${1#*:}"
    shift
done
shift
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
[ "$read_only" = no ] || mount -o remount,bind,ro "$root"
exec "$@"
"""
_BECOME = """
import contextlib, os, sys
from forwarder import capabilities
root, uid, gid, wanted, *command = sys.argv[1:]
os.chroot(root)
os.chdir("/")
kept = frozenset(map(int, filter(None, wanted.split(","))))
for number in set(range(64)) - kept:
    with contextlib.suppress(OSError):  # the kernel has fewer
        capabilities.prctl(capabilities.PR_CAPBSET_DROP, number)
with capabilities.kept_by_another_user():
    os.setgroups([])
    os.setresgid(*[int(gid)] * 3)
    os.setresuid(*[int(uid)] * 3)
capabilities.keep_only(kept)
capabilities.no_new_privileges()
del os.environ["PYTHONPATH"]
os.execvp(command[0], command)
"""
"""In the order of runc 1.1, which was compared by hand: bounding set, user, permitted and effective sets, no new privileges."""


@dataclass(frozen=True, slots=True)
class Container:
    """How a program in the root is started; as runc does with `noNewPrivileges`."""

    uid: int = 0
    gid: int = 0
    capabilities: tuple[int, ...] = tuple(range(41))
    """Numbers; what root of a build has, where nothing else is said."""
    mounts: Mapping[Path, str] = field(default_factory=dict)
    """A directory of the machine -> where it is in the root."""
    read_only: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


class BareRoot:
    """A root of these packages and all they depend on."""

    def __init__(self, place: Path, packages: Iterable[str]) -> None:
        needs_program("dpkg-query", package="dpkg")
        self.place = place
        for name in _MERGED:
            (place / "usr" / name).mkdir(parents=True)
            (place / name).symlink_to(f"usr/{name}")
        for name in ("dev", "proc", "run", "tmp", "etc", "root", "opt"):
            (place / name).mkdir()
        self._copy(_with_dependencies(packages))
        for name, text in (
            ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("group", "root:x:0:\n"),
            ("shadow", "root:*:::::::\n"),
        ):
            (place / "etc" / name).write_text(text)
        subprocess.run(["ldconfig", "-r", str(place)], check=True, timeout=SECONDS)

    def copy(self, source: Path, target: str) -> None:
        """A file or directory of the machine; `__pycache__` left out."""
        place = self.place / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)

    def command(self, container: Container, *words: str) -> list[str]:
        """The command that runs this one in it, as process 1 of its own."""
        for target in container.mounts.values():
            (self.place / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mounts = [f"{source}:{target}" for source, target in container.mounts.items()]
        sets = ",".join(map(str, container.capabilities))
        become = [sys.executable, "-c", _BECOME, str(self.place), str(container.uid), str(container.gid), sets]
        enter = ["sh", "-c", _ENTER, "enter", str(self.place), "yes" if container.read_only else "no", *mounts, "--"]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *enter, *become, *words]

    def environment(self, container: Container) -> dict[str, str]:
        """That of a program in it; the project is at hand for the last step before it."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), **container.environment}

    def run(self, container: Container, *words: str, namespace: Namespace | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end; its exit status is the caller's to judge."""
        command = self.command(container, *words)
        return subprocess.run(
            command if namespace is None else namespace.command(*command),
            cwd="/",
            env=self.environment(container),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def _copy(self, packages: Sequence[str]) -> None:
        names: set[str] = set()
        for package in packages:
            for list_ in (_LISTS / f"{package}.list", *_LISTS.glob(f"{package}:*.list")):
                names |= set(list_.read_text().splitlines()) if list_.exists() else set()
        wanted = sorted(
            name for name in names if not name.startswith(_USELESS) and name not in {f"/{one}" for one in ("", ".", *_MERGED)}
        )
        existing = "\n".join(name.lstrip("/") for name in wanted if os.path.lexists(name))
        read = ["tar", "-C", "/", "--no-recursion", "-cf", "-", "-T", "-"]
        archive = subprocess.run(read, input=existing.encode(), capture_output=True, check=True, timeout=SECONDS).stdout
        write = ["tar", "-C", str(self.place), "--keep-directory-symlink", "-xf", "-"]
        subprocess.run(write, input=archive, capture_output=True, check=True, timeout=SECONDS)


def _with_dependencies(packages: Iterable[str]) -> list[str]:
    """These packages and all that they cannot be without, as far as they are installed here."""
    leave_out = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    command = ["apt-cache", "depends", "--recurse", "--installed", *leave_out, *packages]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.splitlines()
    return sorted({line.partition(":")[0] for line in lines if line and not line.startswith((" ", "<"))})
