"""`forwarder lookup` as a program: output, complaints, exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.behaviours import answer, nxdomain
from tests.lab.daemon import run_to_end
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

ROOT = Path(__file__).parent.parent


def lookup(directory: Path, *words: str, conf: str = "search a.test\n") -> subprocess.CompletedProcess[str]:
    file = directory / "resolv.conf"
    file.write_text(conf)
    return run_to_end("lookup", "--resolv-conf", str(file), *words)


def test_resolved_is_status_0(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = nxdomain("test.")
        upstream.on("web.a.test.", answer("@ 60 IN A 192.0.2.1"), qtype="A")
        done = lookup(tmp_path, "web", "A", "--server", upstream.address)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert told[0] == f"A of web as glibc asks, by {tmp_path}/resolv.conf"
    assert any("web.a.test." in line and "NOERROR 192.0.2.1 (TTL 60)" in line for line in told)
    assert told[-1].startswith("Resolved in ")


@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_not_resolved_is_status_1(tmp_path: Path, libc: str) -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = nxdomain("test.")
        done = lookup(tmp_path, "web", "--libc", libc, "--server", upstream.address, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert (told["resolved"], told["libc"]) == (False, libc)
    assert "no such name" in told["sentence"]


def test_nobody_there_is_status_1(tmp_path: Path) -> None:
    done = lookup(tmp_path, "web.test", "--server", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "nothing listens on that port" in done.stdout.splitlines()[-1]


def test_an_address_with_ptr(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = answer("@ 60 IN PTR web.test.")
        done = lookup(tmp_path, "192.0.2.1", "PTR", "--server", upstream.address)
    assert done.returncode == 0
    assert "NOERROR web.test." in done.stdout
    assert upstream.received[0].name == "1.2.0.192.in-addr.arpa."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required: NAME"),
        (("web.test", "NOTYPE"), "is no type"),
        (("192.0.2.1",), "lookup 192.0.2.1 PTR"),
        (("a..b",), "empty"),
        (("web.test", "--libc", "uclibc"), "invalid choice: 'uclibc'"),
        (("web.test", "--server", "dns.test"), "--server"),
        (("web.test", "--resolv-conf", "/nowhere/resolv.conf"), "/nowhere/resolv.conf: cannot be read"),
        (("web.test", "--resolv-conf", "/"), "cannot be read"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(words: tuple[str, ...], said: str) -> None:
    done = run_to_end("lookup", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_of_any_octets_is_read(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_bytes(b"\xff\0search \xc3\x28\nnameserver \x1b[2J\n" + os.urandom(100).replace(b"\n", b""))
    done = run_to_end("lookup", "web.test", "--resolv-conf", str(file), "--server", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert all(line.isprintable() for line in done.stdout.splitlines())


def test_nobody_reads_what_it_prints(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "forwarder", "lookup", "web.test", "--server", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
