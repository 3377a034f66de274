"""Settings which this version reads and does not act upon yet.

A table by path, `[]` standing for every entry of a list. Always holds: whoever writes one is told, and is not left to wait for
what never comes. A feature that arrives takes its row with it.
"""

from collections.abc import Iterator

from forwarder.config import Config

REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "observe.coredns_names": ((False,), "write false, and use the names at /metrics"),
}
"""Path -> the values that are taken, and what to write instead of others."""


def refusals(config: Config) -> Iterator[tuple[str, str]]:
    """Settings that ask for what this version cannot do: path and sentence."""
    for pattern, (taken, instead) in REFUSED.items():
        for path, value in _settings_at(config, pattern):
            if value not in taken:
                yield path, f"is not available in this version: {instead}"


def _settings_at(config: Config, pattern: str) -> Iterator[tuple[str, object]]:
    """Path and value of the settings this pattern names."""
    section, _, key = pattern.rpartition(".")
    if section == "zones[]":
        for number, zone in enumerate(config.zones):
            yield f"zones[{number}].{key}", getattr(zone, key)
    else:
        yield pattern, getattr(getattr(config, section) if section else config, key)
