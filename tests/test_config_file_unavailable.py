"""What this version does not act upon: refused where it matters, said where it does not."""

from typing import Any

import pytest
from msgspec.structs import replace

from forwarder.config import Config, Zone
from forwarder.config_file.unavailable import IDLE, REFUSED, refusals, warnings_for

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
    assert warnings_for(CONFIG) == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("observe.query_log", "all"),
        ("observe.query_log_file", "/var/log/queries"),
    ],
)
def test_refused(path: str, value: Value) -> None:
    ((found, sentence),) = refusals(with_setting(path, value))
    assert found == path.replace("[]", "[1]")
    assert sentence.startswith("is not available in this version: ")


@pytest.mark.parametrize("workers", [2, "auto"])
def test_several_workers_are_taken(workers: Value) -> None:
    config = with_setting("listen.workers", workers)
    assert (list(refusals(config)), warnings_for(config)) == ([], ())


@pytest.mark.parametrize("path", IDLE)
def test_said(path: str) -> None:
    sentence = warnings_for(with_setting(path, "something else"))[0]
    assert sentence.startswith(f"{path.replace('[]', '[1]')} has no effect in this version: ")


@pytest.mark.parametrize(("path", "default"), [(path, default) for path, (default, _) in IDLE.items()])
def test_table_of_defaults_is_right(path: str, default: object) -> None:
    assert warnings_for(with_setting(path, default)) == ()


@pytest.mark.parametrize(("path", "taken"), [(path, taken) for path, (taken, _) in REFUSED.items()])
def test_table_of_refusals_takes_what_it_says(path: str, taken: tuple[object, ...]) -> None:
    assert all(list(refusals(with_setting(path, value))) == [] for value in taken)
