"""The default manifests' Corefiles of several releases: zones, upstreams, transports and limits are those that stand there.

What is expected is read from each file by a second, much smaller reader, which knows the layout of these files alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from forwarder.config import Zone
from tests.lab.importing import COREFILES, VALUES, comments, config_of, yaml_of, zones

FILES = sorted(COREFILES.glob("*.Corefile"), key=lambda file: file.name)
CLUSTER = "10.96.0.11:53"


@dataclass(frozen=True, slots=True)
class Expected:
    """One zone as a file says it."""

    upstreams: tuple[str, ...]
    transport: str
    max_ttl: float
    max_negative_ttl: float


def filled(text: str) -> str:
    """With the values in place of the words, comments left out."""
    for name, value in VALUES.items():
        text = re.sub(rf"__(PILLAR__)?{name}__", value, text)
    return re.sub(r"#.*", "", text)


def expected_zones(text: str) -> dict[str, Expected]:
    """By server block: the first word up to the port, `cache`, `forward`."""
    found = {}
    for key, body in re.findall(r"^(\S+):53 \{\n(.*?)^\}", filled(text), re.MULTILINE | re.DOTALL):
        both = re.search(r"^ +cache (\d+)$", body, re.MULTILINE)
        success, denial = (re.search(rf"{kind} 9984 (\d+)", body) for kind in ("success", "denial"))
        asked = re.search(r"(?:forward|proxy) \. ([^{\n]+)", body)
        assert asked is not None
        limits = [float(one[1]) for one in ((both, both) if both else (success, denial)) if one]
        servers = asked[1].split()
        written = tuple(one if one.startswith("/") else f"[{one}]:53" if ":" in one else f"{one}:53" for one in servers)
        found[key] = Expected(written, "tcp" if "force_tcp" in body else "udp", limits[0], limits[1])
        names = re.search(r"kubernetes ([^{\n]+)", body)
        for name in names[1].split() if names else ():
            zone = {"10.244.0.0/16": "244.10.in-addr.arpa"}.get(name, name)
            found[zone] = Expected((CLUSTER,), "tcp", limits[0], limits[1])
    return found


def compared(zone: Zone) -> Expected:
    return Expected(zone.upstreams, zone.transport, zone.max_ttl, zone.max_negative_ttl)


def test_there_are_releases_over_the_years() -> None:
    assert len(FILES) == 15


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_zones_field_by_field(file: Path, tmp_path: Path) -> None:
    """And the whole is a configuration without a problem and without a warning."""
    config = config_of(yaml_of(tmp_path, file.read_text()))
    assert {name: compared(zone) for name, zone in zones(config).items()} == expected_zones(file.read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_addresses(file: Path, tmp_path: Path) -> None:
    """A link-local address is listened on; the cluster's service address beside it is intercepted."""
    text = filled(file.read_text())
    config = config_of(yaml_of(tmp_path, file.read_text()))
    bound = set(" ".join(re.findall(r"bind (.*)", text)).split()) or {"0.0.0.0", "::"}
    assert set(config.node.intercept) == bound & {"10.96.0.10"}
    hosts = bound - {"10.96.0.10"}
    assert set(config.listen.addresses) == {f"[{host}]:53" if ":" in host else f"{host}:53" for host in hosts}
    metrics = re.search(r"prometheus(?: (\S*):(\d+))?", text)
    assert metrics is not None
    assert config.observe.http == (f"{metrics[1] or '0.0.0.0'}:{metrics[2]}" if metrics[2] else "127.0.0.1:9153")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_cluster_domain_is_known(file: Path, tmp_path: Path) -> None:
    config = config_of(yaml_of(tmp_path, file.read_text()))
    expected = {"kubespray": "cluster.example", "node-cache-built-in": None}
    assert config.cluster_domain == expected.get(file.stem, "cluster.local")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_other_line_is_in_a_comment(file: Path, tmp_path: Path) -> None:
    """Whatever stands in the file is a setting that was compared above, or is named, with its line."""
    carried = re.compile(
        r"cache|success 9984|denial 9984|forward|proxy|force_tcp|prefer_udp|bind|prometheus|[.\w:-]+ \{$|\}|#|$"
    )
    inner = re.compile(r"pods insecure|upstream$|fallthrough|ttl 30|lameduck")
    said = comments(yaml_of(tmp_path, file.read_text()))
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if carried.match(line.strip()) is None and inner.match(line.strip()) is None:
            assert re.search(rf'\b{number}\b[^"]*: "{re.escape(line.strip())}', said), line


@pytest.mark.parametrize("name", ["pods insecure", "upstream", "fallthrough in-addr.arpa ip6.arpa", "lameduck 5s"])
def test_options_are_named_with_their_plugin(name: str, tmp_path: Path) -> None:
    """A comment on a plugin names all lines of it."""
    for file in FILES:
        lines = file.read_text().splitlines()
        said = comments(yaml_of(tmp_path, file.read_text()))
        spans = [range(int(first), int(last) + 1) for first, last in re.findall(r"(\d+)-(\d+)", said)]
        for number, line in enumerate(lines, 1):
            if line.strip() == name:
                assert any(number in span for span in spans), (file.name, line)
