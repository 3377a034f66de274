"""The configuration file, or the command line, into a Config, and a Config into YAML again.

Never guesses, and never opens a file that is only named in the configuration: what a setting does not take is a problem that
names file, path and mend, and all problems come together. Always holds: nothing but ConfigError is raised here, whatever the
file holds, and what `effective_text` writes reads as the same Config.
"""

import math
from collections.abc import Container, Sequence
from pathlib import Path
from typing import get_args

import msgspec
import yaml
from msgspec.structs import fields, replace

from forwarder.config import Config, Endpoint, Size, Word, Zone, stale_timer_for
from forwarder.config_file.nodes import Node, composed, shown
from forwarder.config_file.reading import NOTHING, SMALLEST, WRONG, Reading
from forwarder.config_file.values import duration_text, size_text
from forwarder.errors import ConfigError, Problem

__all__ = ["effective_text", "from_arguments", "load", "parsed"]

MAX_FILE_SIZE = 1 << 20
"""Octets: what a ConfigMap holds at most."""
LISTEN_PORT = 53
"""Of `--listen` without a port, as in `listen.addresses`."""

# -------------------------------------------------------------------------------------------------------- into a Config


def load(path: str | Path) -> Config:
    """The configuration in this file; raises ConfigError with everything that is wrong with it."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except IsADirectoryError:
        raise ConfigError((Problem(str(path), "is a directory: name the configuration file in it"),)) from None
    except OSError as error:
        raise ConfigError((Problem(str(path), f"cannot be read: {error.strerror or error}"),)) from None
    except ValueError:
        raise ConfigError((Problem(shown(str(path)), "is no name a file can have"),)) from None
    if len(data) > MAX_FILE_SIZE:
        sentence = f"is larger than {size_text(MAX_FILE_SIZE)}: names belong into hosts.files, one file for many of them"
        raise ConfigError((Problem(str(path), sentence),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError((Problem(f"{path}: line {line}", "is not UTF-8: save the file in that encoding"),)) from None
    return parsed(text, str(path))


def parsed(text: str, where: str) -> Config:
    """The configuration in this text; `where` is what problems call it. Raises ConfigError with all of them."""
    document = composed(text, where)
    if not document.root or document.root in NOTHING:
        raise ConfigError((Problem(where, f"is empty: write at least whom to ask, {SMALLEST}"),))
    reading = Reading(where)
    for path, sentence in document.repeated:
        reading.problem(path, sentence)
    config = reading.value(Config, document.root, "")
    if config is WRONG:
        raise reading.failed()
    return reading.checked(_with_limits(config, reading.said))


def from_arguments(listen: Sequence[str], upstream: Sequence[str], base: Config | None) -> Config:
    """What the command line says, over the configuration in `base` when there is a file; raises ConfigError.

    `--listen` replaces the addresses, `--upstream` replaces the upstreams of the zone `.`; every other setting stays.
    """
    reading = Reading("command line")
    addresses = tuple(reading.text(Endpoint(LISTEN_PORT), address, "--listen") for address in listen)
    servers = tuple(reading.text(Word.UPSTREAM, server, "--upstream") for server in upstream)
    if base is None and not servers:
        reading.problem("", f"no upstream: write --upstream ADDRESS, or --config FILE with {SMALLEST} in it")
    config = base or Config(zones=())
    options = {}
    if addresses:
        config = replace(config, listen=replace(config.listen, addresses=addresses))
        options["listen.addresses"] = "--listen"
    if servers:
        config = replace(config, zones=_with_root(config, servers))
        root = next(number for number, zone in enumerate(config.zones) if zone.zone == ".")
        options[f"zones[{root}].upstreams"] = "--upstream"
    return reading.checked(config, options)


def _with_root(config: Config, servers: tuple[str, ...]) -> tuple[Zone, ...]:
    """The zones, with these upstreams for `.`, which is added when there is none."""
    if any(zone.zone == "." for zone in config.zones):
        return tuple(replace(zone, upstreams=servers) if zone.zone == "." else zone for zone in config.zones)
    root = replace(config, zones=(Zone(zone=".", upstreams=servers),))
    return (*config.zones, *_with_limits(root, frozenset()).zones)


def _with_limits(config: Config, said: Container[str]) -> Config:
    """Each zone with the limits of the cache where it wrote none of its own; `said` are the paths that were written."""
    zones = []
    for number, zone in enumerate(config.zones):
        limits = {
            "max_ttl": config.cache.max_ttl,
            "max_negative_ttl": config.cache.max_negative_ttl,
            "maximum_stale_timer": stale_timer_for(zone.zone, config.cache, config.cluster_domain),
        }
        zones.append(replace(zone, **{key: value for key, value in limits.items() if f"zones[{number}].{key}" not in said}))
    return replace(config, zones=tuple(zones))


# ------------------------------------------------------------------------------------------------------- out of a Config


class _Writer(yaml.SafeDumper):
    """Plain text stays without quotes, lists of text stay on one line, mappings go down the page."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Aliases are not taken, so none is written."""
        return True


def _list_node(writer: _Writer, items: list[object]) -> yaml.Node:
    is_flat = all(isinstance(item, str) for item in items)
    return writer.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=is_flat)


_Writer.yaml_implicit_resolvers = {}  # every scalar is text, so none needs quotes to be text
_Writer.add_representer(list, _list_node)


def effective_text(config: Config) -> str:
    """The whole configuration as YAML, every default included; `parsed` makes the same Config of it."""
    lines: str = yaml.dump(
        _written(Config, config), Dumper=_Writer, sort_keys=False, allow_unicode=True, default_flow_style=False, width=math.inf
    )
    return lines


def _written(kind: object, value: object) -> Node:
    """A value of this type as a file would have it."""
    if isinstance(value, msgspec.Struct):
        return {one.name: _written(one.type, getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {key: list(entries) for key, entries in value.items()}
    if isinstance(value, tuple):
        return [_written(None, item) for item in value]
    if value is None:
        return NOTHING[1]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return duration_text(value)
    if isinstance(value, int) and isinstance(get_args(kind)[-1], Size):
        return size_text(value)
    return str(value)
