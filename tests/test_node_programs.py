"""nft and iptables, run: which one, what they say, and one sentence when they will not."""

from pathlib import Path

import pytest

from forwarder.errors import NodeError
from forwarder.node import programs
from forwarder.node.plan import Kind
from tests.lab.namespaces import Network
from tests.lab.needs import needs_namespaces, needs_program


@pytest.fixture
def hosts_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that has only what a test puts into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SYSTEM_PATH", "")
    return tmp_path


def put(folder: Path, name: str, text: str = "exit 0") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_nft_where_there_is_one_else_iptables(hosts_programs: Path) -> None:
    put(hosts_programs, "iptables-restore")
    assert programs.kind_for("auto") is Kind.IPTABLES
    put(hosts_programs, "nft")
    assert programs.kind_for("auto") is Kind.NFT
    assert programs.kind_for("iptables") is Kind.IPTABLES


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("auto", "neither nft nor iptables-restore; install it .apt-get install nftables"),
        ("nft", "no nft; install"),
        ("iptables", "no iptables-restore; install it .apt-get install iptables"),
    ],
)
@pytest.mark.usefixtures("hosts_programs")
def test_a_host_without_either(setting: str, complaint: str) -> None:
    with pytest.raises(NodeError, match=complaint):
        programs.kind_for(setting)
    with pytest.raises(NodeError, match="this host has no nft: install it"):
        programs.load("")
    with pytest.raises(NodeError, match="the rules of IPv6 cannot be written: this host has no ip6tables-restore"):
        programs.restore(6, "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("echo 'Operation not permitted (you must be root)' >&2; exit 1", "takes root, or CAP_NET_ADMIN"),
        ("echo '/dev/stdin:1:2: Error: Could not process rule: Device or resource busy' >&2; exit 1", "resource busy"),
        ("exit 3", "exit status 3"),
        ("echo 'Error: JSON support not compiled-in' >&2; exit 1", "JSON support not compiled-in"),
    ],
)
def test_what_it_complains_of_is_one_line(hosts_programs: Path, text: str, complaint: str) -> None:
    put(hosts_programs, "nft", text)
    for run in (programs.table_listed, programs.ruleset_listed, lambda: programs.load("x")):
        with pytest.raises(NodeError, match=complaint) as raised:
            run()
        assert "\n" not in str(raised.value)


def test_no_json(hosts_programs: Path) -> None:
    put(hosts_programs, "nft", "echo table inet forwarder")
    with pytest.raises(NodeError, match="nft prints no JSON"):
        programs.ruleset_listed()


def test_the_table_of_a_real_host() -> None:
    needs_namespaces()
    needs_program("nft", package="nftables")
    with Network() as network, network.namespace("host").inside():
        assert programs.table_listed() is None
        programs.load("table inet forwarder { }\n")
        assert programs.table_listed() is not None
        with pytest.raises(NodeError, match=r"the table inet forwarder cannot be written: .*syntax error"):
            programs.load("nonsense\n")
