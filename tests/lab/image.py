"""The image of our Dockerfile, made without a container engine: its steps, one by one, in bare roots.

Taken as they stand: every RUN but the one that installs Debian packages, COPY, mounts from another stage, ENV, USER,
ENTRYPOINT, HEALTHCHECK. Played: the base image (this machine's Python in a bare root) and `apt-get install`, whose packages
are put there. Never asserts what an engine would make of it.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tests.lab.bare_root import BareRoot, Container
from tests.lab.dockerfile import Instruction, Stage, stages
from tests.lab.namespaces import Namespace
from tests.lab.project import ROOT

BASE = ("dash", "coreutils", "base-files", "passwd", "ca-certificates", "python3", "python3-venv", "python3-pip")
"""What the official image has too, as far as our steps and the daemon use it."""
_APT = re.compile(r"apt-get install -y --no-install-recommends ((?:[a-z0-9.+-]+ )+)")


class Image:
    """The last stage, made; and what it says of how to run it."""

    def __init__(self, place: Path, offline: Namespace) -> None:
        """Builds below `place`. The last stage has the network of `offline`, which has none."""
        first, last = stages((ROOT / "Dockerfile").read_text())
        self.stage = last
        self._built = {first.name: BareRoot(place / first.name, BASE)}
        _lend_packages(self._built[first.name])
        self._take(first, self._built[first.name], None)
        packages = [package for one in last.all_of("RUN") if (found := _APT.search(one.rest)) for package in found[1].split()]
        self.root = BareRoot(place / "image", [*BASE, *packages])
        self._take(last, self.root, offline)

    @property
    def user(self) -> tuple[int, int]:
        """Who runs in it: numbers."""
        uid, gid = map(int, self.stage.last("USER").rest.split(":"))
        return uid, gid

    @property
    def environment(self) -> dict[str, str]:
        """Of every program in it."""
        pairs = [word.partition("=")[::2] for one in self.stage.all_of("ENV") for word in one.rest.split()]
        return {name: value.replace("$PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") for name, value in pairs}

    @property
    def entrypoint(self) -> list[str]:
        """Before the words that it is given."""
        return self.stage.last("ENTRYPOINT").words()

    @property
    def health_command(self) -> list[str]:
        """What says whether it is well."""
        _, _, command = self.stage.last("HEALTHCHECK").rest.partition("CMD ")
        return Instruction("CMD", {}, command).words()

    def _take(self, stage: Stage, root: BareRoot, namespace: Namespace | None) -> None:
        place = "/"
        for one in stage.instructions:
            if one.name == "WORKDIR":
                place = one.rest
                (root.place / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif one.name == "COPY":
                *sources, target = one.words()
                for source in sources:
                    root.copy(ROOT / source, f"{place}/{target}")
            elif one.name == "RUN" and not _APT.search(one.rest):
                container = Container(mounts=self._lent(one), environment=_pip_environment())
                done = root.run(container, "/bin/sh", "-c", f"cd {place} && {one.rest}", namespace=namespace)
                assert done.returncode == 0, f"RUN {one.rest}: {done.stdout}{done.stderr}"

    def _lent(self, one: Instruction) -> dict[Path, str]:
        if "mount" not in one.flags:
            return {}
        what = dict(pair.split("=") for pair in one.flags["mount"].split(","))
        assert what["type"] == "bind"
        return {self._built[what["from"]].place / what["source"].lstrip("/"): what["target"]}


def _lend_packages(root: BareRoot) -> None:
    """How this machine reaches PyPI: names, certificates, and what pip is told."""
    files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl/certs", "/etc/pip.conf"]
    for file in map(Path, files):
        if file.exists():
            root.copy(file, str(file))
    own = Path.home() / ".config" / "pip" / "pip.conf"
    if own.exists():
        root.copy(own, "/root/.config/pip/pip.conf")


def _pip_environment() -> dict[str, str]:
    names: Sequence[str] = [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]
    return {name: os.environ[name] for name in names}
