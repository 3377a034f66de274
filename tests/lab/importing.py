"""Sources to import, and what comes of them, for the tests of the room `importing`."""

from collections.abc import Mapping
from pathlib import Path

from forwarder import config_file
from forwarder.config import Config, Zone
from forwarder.importing import blocks, corefile, pillars
from forwarder.importing.command import Request, imported
from forwarder.importing.drafts import Draft
from forwarder.importing.recognising import Kind
from forwarder.importing.sources import Place, source_of
from tests.lab.project import ROOT

COREFILES = ROOT / "tests" / "data" / "corefiles"
VALUES = {
    "DNS__DOMAIN": "cluster.local",
    "LOCAL__DNS": "169.254.20.10",
    "DNS__SERVER": "10.96.0.10",
    "CLUSTER__DNS": "10.96.0.11",
    "UPSTREAM__SERVERS": "/etc/resolv.conf",
    "CLUSTER_CIDR": "10.244.0.0/16",
}
"""What whoever installs the manifests puts in."""
SOMEWHERE = Place(1, 1, "somewhere")


def draft(text: str, values: Mapping[str, str] = VALUES, environment: Mapping[str, str] | None = None) -> Draft:
    """What this Corefile means."""
    source = pillars.replaced(source_of(text, "Corefile"), values)
    return corefile.draft_of(blocks.parsed(source, environment or {}), "Corefile", values)


def zones(config: Config) -> dict[str, Zone]:
    """The zones by name."""
    return {zone.zone: zone for zone in config.zones}


def sentences(made: Draft) -> list[tuple[str, str]]:
    """What the notes say, each with the text of the source it is about."""
    return [(note.place.text, note.sentence) for note in made.notes]


def yaml_of(
    path: Path,
    text: str,
    *,
    kind: Kind | None = None,
    values: Mapping[str, str] = VALUES,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What `forwarder import-corefile` writes for this text, which is put into a file below `path`."""
    file = path / "source"
    file.write_text(text)
    return imported(Request(str(file), kind, values, environment or {}))


def config_of(written: str) -> Config:
    """What the daemon reads in it; raises ConfigError where it finds a problem."""
    return config_file.parsed(written, "imported.yaml")


def comments(written: str) -> str:
    """All comments in one line, as they were before they were broken into lines."""
    return " ".join(line.strip().lstrip("#").strip() for line in written.splitlines() if line.strip().startswith("#"))
