"""The examples in config/: each loads without a word, and shows what it is there to show."""

import re

import pytest

from forwarder import config_file
from forwarder.config import Config, split_address
from tests.lab.project import ROOT

EXAMPLES = sorted(path.name for path in (ROOT / "config").glob("*.yaml"))


def example(name: str) -> Config:
    return config_file.load(str(ROOT / "config" / name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_loads(name: str) -> None:
    assert example(name).zones


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_says_for_whom_it_is_and_is_short(name: str) -> None:
    lines = (ROOT / "config" / name).read_text().splitlines()
    assert re.match(r"# [A-Z].{20,}", lines[0])
    assert len(lines) <= 40


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_readme_names_it(name: str) -> None:
    assert f"config/{name}" in (ROOT / "README.md").read_text()


def test_a_node_s_own_is_reached_by_the_node_alone() -> None:
    config = example("node-local.yaml")
    assert [split_address(address) for address in config.listen.addresses] == [("169.254.20.10", 53)]
    assert config.cluster_domain == "cluster.local"


def test_inner_names_never_leave_by_the_outer_servers() -> None:
    config = example("split-horizon.yaml")
    servers = {zone.zone: set(zone.upstreams) for zone in config.zones}
    outer = servers.pop(".")
    assert servers
    assert all(outer.isdisjoint(inner) for inner in servers.values())
    assert not any(server.startswith("/") for server in outer), "a resolv.conf file may name inner servers too"


def test_the_world_is_asked_over_tls_alone() -> None:
    world = next(zone for zone in example("dot.yaml").zones if zone.zone == ".")
    assert world.transport == "tls"
    assert all("@" in upstream for upstream in world.upstreams)
