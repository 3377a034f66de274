"""systemd, booted for real: process 1 of namespaces of its own, with a file system whose changes nobody else sees.

It sees this machine's files below an overlay, the network of one namespace, and no process but its own. Always holds: sysctls,
devices and control groups of the machine stay as they are, and leaving the `with` ends every process that ran in it.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.clients import HANG
from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_control_groups, needs_namespaces, needs_program

PROJECT = Path(__file__).resolve().parents[2]
UNITS = "/etc/systemd/system"
BOOT_SECONDS = 30.0
"""It takes one second on a machine that is idle."""

_TARGET = "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"
_MASKED = ("systemd-sysctl", "systemd-modules-load", "systemd-tmpfiles-setup", "systemd-udevd", "systemd-timesyncd")
"""What would change the machine, or takes time and is not looked at."""
_PROGRAM = """#!/opt/forwarder/bin/python
import os, sys
os.environ["PYTHONPATH"] = "/opt/forwarder/project"  # of the programs that take its place
sys.path.insert(0, "/opt/forwarder/project")
from forwarder.cli import main
sys.exit(main())
"""
_BOOT = f"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 changes "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do cp -a /dev/$node dev/; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mkdir -p opt/forwarder/bin opt/forwarder/lib opt/forwarder/project/forwarder
ln -s "$(readlink -f "$2/bin/python")" opt/forwarder/bin/python
cp "$2/pyvenv.cfg" opt/forwarder/
mount --bind "$2/lib" opt/forwarder/lib
mount --bind "$3/forwarder" opt/forwarder/project/forwarder
cat >opt/forwarder/bin/forwarder <<'end'
{_PROGRAM}end
chmod 755 opt/forwarder/bin/forwarder
rm -rf etc/systemd/system etc/machine-id
mkdir -p etc/systemd/system etc/systemd/journald.conf.d
: >etc/machine-id
printf '[Journal]\\nStorage=volatile\\nRateLimitBurst=0\\n' >etc/systemd/journald.conf.d/laboratory.conf
printf '{_TARGET}' >etc/systemd/system/laboratory.target
for unit in {" ".join(_MASKED)}; do ln -s /dev/null etc/systemd/system/$unit.service; done
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir before
pivot_root . before
umount -l before
exec env -i container=laboratory PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=laboratory.target
"""


class Booted:
    """systemd in this network namespace; /opt/forwarder is an installation of this very project."""

    def __init__(self, namespace: Namespace) -> None:
        needs_namespaces()
        needs_program("systemd-analyze", package="systemd")
        self._hierarchy = needs_control_groups()
        self._namespace = namespace
        self._pid = 0

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="booted-"))
        self._group = self._hierarchy / f"forwarder-test-{secrets.token_hex(3)}"
        self._group.mkdir()
        script = f'echo $$ >{self._group}/cgroup.procs; exec "$@"'  # from here on it is the root of what systemd sees
        unshare = ["unshare", "--mount", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--kill-child"]
        boot = ["sh", "-c", _BOOT, "boot", str(self._directory), sys.prefix, str(PROJECT)]
        command = ["sh", "-c", script, "enter", *unshare, *boot]
        with self._namespace.inside(), Path(f"{self._directory}.log").open("wb") as log:
            self._log = Path(log.name)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait_until_running()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is not None:
            sys.stderr.write(self.run("journalctl", "--no-pager", "-o", "short-precise", "-n", "200").stdout)
        self._end()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside; its exit status is the caller's to judge."""
        inside = ["nsenter", "--all", "--target", str(self._pid), *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=3 * HANG, check=False)

    def systemctl(self, *arguments: str) -> str:
        """`systemctl` with these arguments, which must succeed; what it printed."""
        done = self.run("systemctl", *arguments)
        assert done.returncode == 0, f"systemctl {' '.join(arguments)}: {done.stderr}{self.journal()}"
        return done.stdout

    def show(self, unit: str, what: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", "--property", what, unit).strip()

    def journal(self) -> str:
        """What was logged inside, messages alone."""
        return self.run("journalctl", "--no-pager", "-o", "cat").stdout

    def write(self, path: str, text: str) -> None:
        """A file inside."""
        place = self._inside(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def signal(self, unit: str, number: str) -> None:
        """A signal to the main process of a unit, and to no other."""
        self.systemctl("kill", "--kill-whom=main", f"--signal={number}", unit)

    def _inside(self, path: str) -> Path:
        return Path(f"/proc/{self._pid}/root{path}")

    def _wait_until_running(self) -> None:
        until = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                self._pid = int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text())
                if self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"systemd does not boot: {self._log.read_text()}{self.run('systemctl', 'list-jobs').stdout}")

    def _end(self) -> None:
        """Process 1 takes every other with it; then the control groups are empty."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, 9)
        else:
            self._process.kill()
        self._process.wait()
        until = time.monotonic() + HANG
        while self._group.exists() and time.monotonic() < until:
            for group in (*sorted(self._group.rglob("*/"), reverse=True), self._group):
                with contextlib.suppress(OSError):
                    group.rmdir()
        self._log.unlink()
        shutil.rmtree(self._directory, ignore_errors=True)
