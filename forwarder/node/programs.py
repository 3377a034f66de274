"""nft and the iptables programs, run: what they print, or one sentence about why they will not.

Always holds: nothing is left running, and what is changed is changed by one call that the kernel obeys whole or not at all.
"""

import json
import os
import shutil
import subprocess
from typing import Any

from forwarder.errors import NodeError
from forwarder.node.plan import Kind
from forwarder.node.ruleset import FAMILY, TABLE

SYSTEM_PATH = os.pathsep.join((os.defpath, "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Where they are, behind PATH: ordinary users' leaves sbin out."""
SECONDS = 20.0
"""Within which a program must have ended. A million rules take a second to list; iptables waits 5 s for others at most."""
SAVERS = {4: "iptables-save", 6: "ip6tables-save"}
RESTORERS = {4: "iptables-restore", 6: "ip6tables-restore"}


def found(program: str) -> str | None:
    """Its path, or None."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), SYSTEM_PATH)))


def kind_for(setting: str) -> Kind:
    """Who writes the rules, where the configuration says auto, nft or iptables. Raises NodeError where nobody can."""
    if setting != "iptables" and found("nft") is not None:
        return Kind.NFT
    if setting != "nft" and found(RESTORERS[4]) is not None:
        return Kind.IPTABLES
    wanted = {"auto": "neither nft nor iptables-restore", "nft": "no nft", "iptables": "no iptables-restore"}[setting]
    package = "iptables" if setting == "iptables" else "nftables"
    raise NodeError(f"the rules cannot be written: this host has {wanted}; install it (apt-get install {package})")


def table_listed() -> dict[str, Any] | None:
    """Our table as nft lists it, or None where there is none. Raises NodeError."""
    done = _run("nft", "-j", "list", "table", FAMILY, TABLE)
    if done.returncode == 0:
        return _read(done.stdout)
    if "No such file or directory" in done.stderr:
        return None
    raise NodeError(f"the table {FAMILY} {TABLE} cannot be read: {_why(done)}")


def ruleset_listed() -> dict[str, Any]:
    """All tables as nft lists them. Raises NodeError."""
    done = _run("nft", "-j", "list", "ruleset")
    if done.returncode != 0:
        raise NodeError(f"the firewall's rules cannot be read: {_why(done)}")
    return _read(done.stdout)


def load(text: str) -> None:
    """Have nft obey this text, in one transaction. Raises NodeError."""
    done = _run("nft", "-f", "-", text=text)
    if done.returncode != 0:
        raise NodeError(f"the table {FAMILY} {TABLE} cannot be written: {_why(done)}")


def saved(version: int) -> str:
    """All rules of IPv4 or IPv6 as iptables-save prints them. Raises NodeError."""
    done = _run(SAVERS[version])
    if done.returncode != 0:
        raise NodeError(f"the rules of iptables cannot be read: {_why(done)}")
    return done.stdout


def restore(version: int, text: str) -> None:
    """Have iptables obey this text. Raises NodeError."""
    program = RESTORERS[version]
    if found(program) is None:
        raise NodeError(
            f"the rules of IPv{version} cannot be written: this host has no {program}; install iptables, or take its"
            " addresses out of listen.addresses"
        )
    done = _run(program, "--noflush", "--wait", "5", text=text)
    if done.returncode != 0:
        raise NodeError(f"the rules of IPv{version} cannot be written by {program}: {_why(done)}")


def _run(program: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    path = found(program)
    if path is None:
        raise NodeError(f"this host has no {program}: install it (apt-get install nftables, or iptables)")
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(  # noqa: S603 - a program of the system, with arguments of ours
            [path, *arguments], input=text, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise NodeError(f"{program} did not end within {SECONDS:.0f} s: is another program changing rules? try again") from None
    except OSError as error:
        raise NodeError(f"{path} cannot be run: {error.strerror}") from error


def _read(text: str) -> dict[str, Any]:
    try:
        listing = json.loads(text)
    except ValueError as error:
        raise NodeError(
            "nft prints no JSON on this host: install one built with libjansson (nft --version -V tells)"
        ) from error
    return listing if isinstance(listing, dict) else {}


def _why(done: subprocess.CompletedProcess[str]) -> str:
    """Its complaint on one line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip(" \t^~")]
    text = next((line for line in lines if "rror" in line), lines[0] if lines else f"exit status {done.returncode}")
    if any("not permitted" in line or "ermission denied" in line or "must be root" in line for line in lines):
        return "not permitted: it takes root, or CAP_NET_ADMIN"
    return text
