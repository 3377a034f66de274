"""Settings which this version reads and does not act upon yet.

Two tables by path, `[]` standing for every entry of a list. Always holds: where passing over a setting would make an answer
wrong or a host less safe, it is refused; where only speed or a view is lost, it is accepted and `warnings_for` says so. A
feature that arrives takes its row with it.
"""

from collections.abc import Iterator

from forwarder.config import Config

REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "observe.query_log": (("off",), "write off: no query is logged"),
    "observe.query_log_file": ((None,), "no query is logged, leave it out"),
}
"""Path -> the values that are taken, and what to write instead of others."""

IDLE: dict[str, tuple[object, str]] = {
    "observe.top_names": (True, "names are not counted"),
}
"""Path -> the default, and what happens whatever is written."""


def refusals(config: Config) -> Iterator[tuple[str, str]]:
    """Settings that ask for what this version cannot do: path and sentence."""
    for pattern, (taken, instead) in REFUSED.items():
        for path, value in _settings_at(config, pattern):
            if value not in taken:
                yield path, f"is not available in this version: {instead}"


def warnings_for(config: Config) -> tuple[str, ...]:
    """Settings that differ from their default and change nothing in this version, a sentence for each."""
    return tuple(
        f"{path} has no effect in this version: {instead}"
        for pattern, (default, instead) in IDLE.items()
        for path, value in _settings_at(config, pattern)
        if value != default
    )


def _settings_at(config: Config, pattern: str) -> Iterator[tuple[str, object]]:
    """Path and value of the settings this pattern names."""
    section, _, key = pattern.rpartition(".")
    if section == "zones[]":
        for number, zone in enumerate(config.zones):
            yield f"zones[{number}].{key}", getattr(zone, key)
    else:
        yield pattern, getattr(getattr(config, section) if section else config, key)
