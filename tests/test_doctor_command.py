"""`forwarder doctor` as it is typed: help, options, exit status, files that are wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forwarder.doctor.facts import encoded
from tests.lab.daemon import run_to_end
from tests.lab.facts import bare, node, server, silent

HEALTHY = Path(__file__).parent / "doctor" / "healthy-node.json"


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forwarder.doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_help_is_one_screen() -> None:
    done = run_to_end("doctor", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "--gather" in done.stdout


def test_facts_of_a_healthy_node() -> None:
    done = doctor("--facts", str(HEALTHY))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing is wrong that can be seen from here" in done.stdout
    assert json.loads(doctor("--facts", str(HEALTHY), "--json").stdout)["healthy"] is True


def test_facts_of_a_place_that_is_not(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_bytes(encoded(bare(silent())))
    done = doctor("--facts", str(file))
    assert (done.returncode, done.stderr) == (1, "")
    assert "PROBLEM  server-silent" in done.stdout


def wrong_config() -> bytes:
    """Facts with a configuration that no configuration file could hold."""
    facts = json.loads(encoded(node()))
    facts["config"]["listen"]["addresses"] = ["nowhere"]
    return json.dumps(facts).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no json", "facts.json: holds no facts"),
        (encoded(bare(server())).replace(b'"version": 1', b'"version": "1"'), "facts.json: holds no facts"),
        (wrong_config(), "facts.json: config: listen.addresses[0]"),
        (b" " * (5 << 20), "facts.json: is larger than 4 MiB"),
        (None, "facts.json: cannot be read: No such file or directory"),
    ],
)
def test_a_facts_file_that_is_wrong(tmp_path: Path, data: bytes | None, said: str) -> None:
    file = tmp_path / "facts.json"
    if data is not None:
        file.write_bytes(data)
    done = doctor("--facts", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert all(line.startswith("forwarder: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--facts", "f", "--gather", "g"), "--facts: judges what was seen elsewhere"),
        (("--facts", "f", "name"), "--facts: judges what was seen elsewhere"),
        (("--resolv-conf", "/nowhere"), "/nowhere: cannot be read"),
        (("--config", "/nowhere"), "/nowhere: cannot be read"),
        (("a..b",), "NAME: 'a..b' has a label that is empty"),
        (("--nothing",), "unrecognized arguments: --nothing (forwarder doctor --help shows all there is)"),
    ],
)
def test_a_command_line_that_is_wrong(words: tuple[str, ...], said: str) -> None:
    done = doctor(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
