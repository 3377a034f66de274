"""The unit files: systemd reads them without a word, they fit together, and what they leave open is little."""

import re
import subprocess
from pathlib import Path

import pytest

from forwarder import config_file
from tests.lab.needs import needs_program

PROJECT = Path(__file__).parent.parent
UNITS = ("forwarder.service", "forwarder.socket", "forwarder-node.service")
INSTALLED = "/opt/forwarder/bin/forwarder"
MOST_EXPOSED = 2.0
"""Of 10. Half of that is the network, the one capability, and (of the node's unit) being root."""


def text(unit: str) -> str:
    return (PROJECT / "systemd" / unit).read_text()


def settings(unit: str) -> dict[str, list[str]]:
    """Key -> every value that is written for it, comments left out."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", text(unit), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def analysed(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = needs_program("systemd-analyze", package="systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def verified(directory: Path, more: str = "") -> str:
    """What systemd says of all units, with a program that exists on every host in the place of ours."""
    for unit in UNITS:
        (directory / unit).write_text(text(unit).replace(INSTALLED, "/bin/true") + more)
    done = analysed("verify", "--man=no", *(str(directory / unit) for unit in UNITS))
    return done.stdout + done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


def test_systemd_reads_them_without_a_word(tmp_path: Path) -> None:
    assert verified(tmp_path) == ""


def test_systemd_would_say_what_it_does_not_know(tmp_path: Path) -> None:
    assert "Unknown key 'Nonsense'" in verified(tmp_path, "\n[Unit]\nNonsense=yes\n")


@pytest.mark.parametrize("unit", ["forwarder.service", "forwarder-node.service"])
def test_little_is_left_open(unit: str) -> None:
    done = analysed("security", "--offline=true", "--no-pager", str(PROJECT / "systemd" / unit))
    found = re.search(r"Overall exposure level for \S+ (\d+\.\d+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) < MOST_EXPOSED, done.stdout


def test_one_capability_each() -> None:
    assert settings("forwarder.service")["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert settings("forwarder.service")["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert settings("forwarder-node.service")["CapabilityBoundingSet"] == ["CAP_NET_ADMIN"]


def test_both_services_run_what_the_guide_installs() -> None:
    guide = (PROJECT / "docs" / "systemd.md").read_text()
    for unit in ("forwarder.service", "forwarder-node.service"):
        assert settings(unit)["ExecStart"][0].startswith(f"{INSTALLED} ")
    for unit in (*UNITS, "forwarder.sysusers.conf"):
        assert f"systemd/{unit}" in guide


def test_sockets_are_those_of_the_configuration_for_a_host() -> None:
    config = config_file.load(str(PROJECT / "config" / "host.yaml"))
    sockets = settings("forwarder.socket")
    assert sockets["ListenDatagram"] == sockets["ListenStream"] == list(config.listen.addresses)
    assert sockets["ReceiveBuffer"] == [f"{config.listen.receive_buffer >> 20}M"]
    assert config.cache.snapshot is not None
    assert Path(config.cache.snapshot).parent == Path("/var/lib") / settings("forwarder.service")["StateDirectory"][0]


def test_reload_asks_the_daemon_that_was_started() -> None:
    (started,), (reload,) = settings("forwarder.service")["ExecStart"], settings("forwarder.service")["ExecReload"]
    assert reload == started.replace(" run ", " reload ")


def test_it_has_longer_to_stop_than_it_takes() -> None:
    assert settings("forwarder.service")["TimeoutStopSec"] == ["5s"]  # it drains for 3 s at most
    assert settings("forwarder.service")["KillMode"] == ["process"]
