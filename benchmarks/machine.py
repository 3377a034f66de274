"""The machine, the interpreter and the versions: without them a figure means nothing."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes import ROOT, BenchmarkError, output_of, program

INTERPRETER_FACTS = """\
import os, platform, sys, sysconfig
value = lambda name: str(sysconfig.get_config_var(name) or "")
print(platform.python_implementation(), platform.python_version(), platform.python_compiler(), sep=" | ")
print(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))
print(value("CONFIG_ARGS"))
print(value("PY_CFLAGS"))
"""
VERSIONS = {
    "unbound": (("-V",), r"Version (\S+)"),
    "dnsmasq": (("--version",), r"version (\S+)"),
    "nsd": (("-v",), r"version (\S+)"),
    "dnsperf": (("-h",), r"Version (\S+)"),
}
"""Program -> its arguments and where its version is in what they make it print."""


def cores_for() -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Cores for the server under test, for nsd and for the load: apart with four cores, else the last two together."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= 4:
        return (cores[0],), (cores[1],), tuple(cores[2:4])
    others = tuple(cores[1:]) or (cores[0],)
    return (cores[0],), others, others


def described(python: str, peers: Sequence[str]) -> list[tuple[str, str]]:
    """What -> which, for the head of the report."""
    server, upstream, client = (", ".join(map(str, cores)) for cores in cores_for())
    return [
        ("CPU", f"{_first_match('/proc/cpuinfo', r'model name.*: (.*)')}, {os.cpu_count()} cores"),
        ("memory", f"{int(_first_match('/proc/meminfo', r'MemTotal: +([0-9]+)')) >> 20} GiB"),
        ("kernel", platform.release()),
        ("system", _first_match("/etc/os-release", r'PRETTY_NAME="(.*)"')),
        ("cores used", f"server under test {server}; nsd {upstream}; dnsperf {client}"),
        ("interpreter of the daemon", _interpreter(python)),
        ("commit", _commit()),
        *((name, _version(name)) for name in VERSIONS if name in {*peers, "nsd", "dnsperf"}),
    ]


def _first_match(path: str, pattern: str) -> str:
    found = re.search(pattern, Path(path).read_text())
    return found[1] if found else "unknown"


def _interpreter(python: str) -> str:
    """Version, compiler, and whether it was built with profile-guided optimisation."""
    name, executable, arguments, flags = output_of([python, "-c", INTERPRETER_FACTS]).splitlines()
    level = " ".join(re.findall(r"-O\w", flags)[-1:])
    return f"{name} | {executable} | {level} | {_optimisation(executable, arguments)}"


def _optimisation(executable: str, arguments: str) -> str:
    if "--enable-optimizations" in arguments:
        return "built with --enable-optimizations (PGO)" + (", LTO" if "--with-lto" in arguments else "")
    try:
        package = output_of([program("dpkg-query"), "-S", executable]).split(":")[0]
        version = output_of([program("dpkg-query"), "-W", package]).split()[1]
    except (BenchmarkError, KeyError):
        return "built without --enable-optimizations"
    # Debian's rules call the target `profile-opt` directly, so that it is not among the arguments of configure.
    return f"Debian package {package} {version} (Debian builds it with PGO)"


def _version(name: str) -> str:
    arguments, pattern = VERSIONS[name]
    found = re.search(pattern, output_of([program(name), *arguments]))
    return found[1].rstrip(".") if found else "unknown"


def _commit() -> str:
    try:
        commit = output_of(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]).strip()
        changed = output_of(["git", "-C", str(ROOT), "status", "--porcelain", "--", "forwarder", "benchmarks"]).strip()
    except BenchmarkError:
        return "unknown"
    return commit + (" with uncommitted changes" if changed else "")
