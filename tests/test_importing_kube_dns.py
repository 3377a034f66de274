"""kube-dns's ConfigMap, by itself and beside node-cache's Corefile."""

from pathlib import Path

import pytest

from forwarder.errors import ConfigError
from forwarder.importing.kube_dns import over_udp
from tests.lab.importing import COREFILES, comments, config_of, yaml_of, zones

KUBE_DNS = """\
kind: ConfigMap
apiVersion: v1
metadata: {name: kube-dns}
data:
  stubDomains: |
    {"corp.example": ["10.1.2.3", "10.1.2.4:5353"], "lab.example": ["10.1.2.5"]}
  upstreamNameservers: |
    ["192.0.2.53", "192.0.2.54"]
"""


def beside(release: str) -> str:
    """The ConfigMap of this release's Corefile and that of kube-dns, in one file."""
    text = (COREFILES / f"{release}.Corefile").read_text()
    lines = "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())
    return f"kind: ConfigMap\nmetadata: {{name: node-local-dns}}\ndata:\n  Corefile: |\n{lines}---\n{KUBE_DNS}"


def test_by_itself(tmp_path: Path) -> None:
    written = yaml_of(tmp_path, KUBE_DNS, values={})
    config = config_of(written)
    assert {zone.zone: (zone.upstreams, zone.transport) for zone in config.zones} == {
        "corp.example": (("10.1.2.3:53", "10.1.2.4:5353"), "udp"),
        "lab.example": (("10.1.2.5:53",), "udp"),
        ".": (("192.0.2.53:53", "192.0.2.54:53"), "udp"),
    }
    assert "add --pillar CLUSTER__DNS=ADDRESS" in comments(written)


def test_with_the_cluster(tmp_path: Path) -> None:
    config = config_of(yaml_of(tmp_path, KUBE_DNS, values={"CLUSTER__DNS": "10.96.0.10"}))
    assert config.cluster_domain == "cluster.local"
    for zone in ("cluster.local", "in-addr.arpa", "ip6.arpa"):
        assert zones(config)[zone].upstreams == ("10.96.0.10:53",)


def test_without_nameservers_those_of_the_node_are_asked(tmp_path: Path) -> None:
    text = 'kind: ConfigMap\ndata:\n  federations: \'{}\'\n  stubDomains: \'{"a": ["10.1.2.3", "dns.a"]}\'\n'
    written = yaml_of(tmp_path, text, values={})
    assert {zone.zone: zone.upstreams for zone in config_of(written).zones} == {
        "a": ("10.1.2.3:53",),
        ".": ("/etc/resolv.conf",),
    }
    assert "federations are not available" in comments(written)
    assert "dns.a" in comments(written)


@pytest.mark.parametrize(("release", "transport"), [("node-cache-1.15.7", "tcp"), ("node-cache-1.22.28", "udp")])
def test_beside_a_corefile(release: str, transport: str, tmp_path: Path) -> None:
    """Stub domains are blocks more; nameservers stand in for the variable, and are asked over UDP whatever stood there."""
    config = config_of(yaml_of(tmp_path, beside(release), values={"DNS__DOMAIN": "cluster.local", **PLACES}))
    by_name = zones(config)
    assert by_name["corp.example"].upstreams == ("10.1.2.3:53", "10.1.2.4:5353")
    assert (by_name["corp.example"].transport, by_name["corp.example"].max_ttl) == ("udp", 30.0)
    assert by_name["."].upstreams == ("192.0.2.53:53", "192.0.2.54:53")
    assert by_name["."].transport == "udp"
    assert by_name["cluster.local"].transport == "tcp"
    given = config_of(
        yaml_of(tmp_path, beside(release), values={"DNS__DOMAIN": "x", "UPSTREAM__SERVERS": "192.0.2.9", **PLACES})
    )
    assert (zones(given)["."].upstreams, zones(given)["."].transport) == (("192.0.2.9:53",), transport)


PLACES = {"LOCAL__DNS": "169.254.20.10", "DNS__SERVER": "10.96.0.10", "CLUSTER__DNS": "10.96.0.11"}


def test_over_udp() -> None:
    """Only what node-cache itself looks for is replaced, blanks included."""
    text = ".:53 {\n    forward . __PILLAR__UPSTREAM__SERVERS__ {\n            force_tcp\n    }\n}\n"
    assert over_udp(text) == text.replace("            force_tcp", "")
    other = text.replace("            force_tcp", "        force_tcp")
    assert over_udp(other) == other


@pytest.mark.parametrize("json", ["{", "[]", '{"a": "10.1.2.3"}', "[" * 10_000])
def test_what_is_no_json_of_this_kind(json: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source: line 3: is not the JSON that belongs here"):
        yaml_of(tmp_path, f"kind: ConfigMap\ndata:\n  stubDomains: '{json}'\n")
