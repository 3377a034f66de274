"""What the kernel says of a process: whose it is, and what it may do (/proc/PID/status, proc(5))."""

from pathlib import Path

NET_BIND_SERVICE = 1 << 10
"""The one capability (capabilities(7)) that a supervisor keeps, as a mask."""
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status_of(pid: int | str) -> str:
    """All of it."""
    return Path(f"/proc/{pid}/status").read_text()


def field_in(status: str, name: str) -> str:
    """The words behind this name."""
    return next(line.partition(":")[2].strip() for line in status.splitlines() if line.startswith(f"{name}:"))


def uids_in(status: str) -> set[int]:
    """Real, effective, saved and file system uid."""
    return {int(word) for word in field_in(status, "Uid").split()}


def capabilities_in(status: str) -> dict[str, int]:
    """Each of the five sets as a mask."""
    return {name: int(field_in(status, name), 16) for name in SETS}
