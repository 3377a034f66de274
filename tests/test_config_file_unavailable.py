"""What this version does not act upon is refused."""

from typing import Any

import pytest
from msgspec.structs import replace

from forwarder.config import Config, Zone
from forwarder.config_file.unavailable import REFUSED, refusals

Value = Any

CONFIG = Config(zones=(Zone(zone="a", upstreams=("192.0.2.53:53",)), Zone(zone=".", upstreams=("192.0.2.53:53",))))


def with_setting(path: str, value: Value) -> Config:
    """The same configuration with one setting another; `zones[]` is the second zone."""
    section, _, key = path.rpartition(".")
    if not section:
        return replace(CONFIG, **{key: value})
    if section == "zones[]":
        return replace(CONFIG, zones=(CONFIG.zones[0], replace(CONFIG.zones[1], **{key: value})))
    return replace(CONFIG, **{section: replace(getattr(CONFIG, section), **{key: value})})


def test_the_defaults_are_silent() -> None:
    assert list(refusals(CONFIG)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("observe.coredns_names", True),
    ],
)
def test_refused(path: str, value: Value) -> None:
    ((found, sentence),) = refusals(with_setting(path, value))
    assert found == path.replace("[]", "[1]")
    assert sentence.startswith("is not available in this version: ")


@pytest.mark.parametrize("workers", [2, "auto"])
def test_several_workers_are_taken(workers: Value) -> None:
    config = with_setting("listen.workers", workers)
    assert list(refusals(config)) == []


@pytest.mark.parametrize(("path", "taken"), [(path, taken) for path, (taken, _) in REFUSED.items()])
def test_table_of_refusals_takes_what_it_says(path: str, taken: tuple[object, ...]) -> None:
    assert all(list(refusals(with_setting(path, value))) == [] for value in taken)
