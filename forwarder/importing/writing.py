"""A draft as a file: only what differs from the defaults, in the order of the settings, comments above what they are about.

Always holds: config_file reads what is written as the very configuration of the draft, and no text of the source ends a
comment.
"""

import functools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forwarder.config import Config, Zone, stale_timer_for
from forwarder.config_file import effective_text
from forwarder.config_file.nodes import Node, composed, shown
from forwarder.importing.drafts import Draft, Note
from forwarder.importing.sources import Place

WIDTH = 110
"""Characters of a line of comment."""
MAX_LINES = 8
"""Lines of the source that one comment names; the rest is counted."""

_PLAIN = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./-]*|\.")
_AMBIGUOUS = re.compile(r"(yes|no|on|off|y|n|null|true|false)|[0-9_.]+(e[0-9]+)?", re.IGNORECASE)
"""What other readers of YAML take for something else than text."""
_SAFE_WORDS = frozenset(("true", "false"))
"""Booleans of ours are written so."""


@dataclass(frozen=True, slots=True)
class _Remark:
    """One comment, for all the places that it is about."""

    places: tuple[Place, ...]
    sentence: str


def text_of(draft: Draft, where: str) -> str:
    """The file; `where`: what was imported."""
    general, by_zone = _sorted(draft.notes)
    lines = [*_heading(draft, where, general), *_settings(draft, by_zone)]
    return "\n".join(lines) + "\n"


# --------------------------------------------------------------------------------------------------------- the comments


def _sorted(notes: tuple[Note, ...]) -> tuple[list[_Remark], Mapping[str, list[_Remark]]]:
    """Comments about everything, and those about one zone; what is said of several zones is said once for all."""
    grouped: dict[tuple[str, str], list[Note]] = {}
    for note in notes:
        grouped.setdefault((note.place.text, note.sentence), []).append(note)
    general: list[_Remark] = []
    by_zone: dict[str, list[_Remark]] = {}
    for (_, sentence), alike in grouped.items():
        remark = _Remark(tuple(note.place for note in alike), sentence)
        zones = {note.zone for note in alike}
        by_zone.setdefault(zones.pop(), []).append(remark) if len(zones) == 1 else general.append(remark)
    return [*by_zone.pop("", []), *general], by_zone


def _heading(draft: Draft, where: str, general: list[_Remark]) -> Iterator[str]:
    """Where it comes from, and what is other in all of it. Notes about a zone that was not written stand here too."""
    yield f"# From {shown(where)} ({draft.kind}), by forwarder import-corefile. Lines are lines of that file."
    yield "# Look at it: forwarder check FILE. All settings that are not written here are as by default."
    if general:
        yield "#"
        yield "# Other than there:"
        for remark in sorted(general, key=lambda one: one.places[0].line):
            yield from _comment(remark, "")


def _comment(remark: _Remark, indent: str) -> Iterator[str]:
    """`# line 3, 14: "errors": what becomes of it`, over as many lines as it needs."""
    places = dict.fromkeys((place.line, place.last) for place in remark.places)
    numbers = [f"{line}-{last}" if last > line else f"{line}" for line, last in places]
    more = f" and {len(numbers) - MAX_LINES} more" if len(numbers) > MAX_LINES else ""
    noun = "line" if len(numbers) == 1 and "-" not in numbers[0] else "lines"
    source = f"{noun} {', '.join(numbers[:MAX_LINES])}{more}: {shown(remark.places[0].text)}"
    text = ": ".join(part for part in (source if remark.places[0].line else "", remark.sentence) if part)
    printable = "".join(character if character.isprintable() else "?" for character in text)
    for number, line in enumerate(textwrap.wrap(printable, WIDTH, break_long_words=False, break_on_hyphens=False)):
        yield f"{indent}# {'  ' if number else ''}{line}"


# --------------------------------------------------------------------------------------------------------- the settings


def _settings(draft: Draft, by_zone: Mapping[str, list[_Remark]]) -> Iterator[str]:
    config = draft.config
    default = _defaults()
    nodes = _nodes(config)
    for key, node in nodes.items():
        if key == "zones":
            yield ""
            yield "zones:"
            for zone, entries in zip(config.zones, _zone_entries(config, nodes), strict=True):
                yield from _zone(entries, draft.places.get(zone.zone), by_zone.get(zone.zone, []))
            unwritten = [remark for name, remarks in by_zone.items() if name not in _names(config) for remark in remarks]
            for remark in unwritten:
                yield from _comment(remark, "  ")
        elif node != default[key]:
            yield ""
            yield from _entry(key, _different(node, default[key]), "")


def _names(config: Config) -> set[str]:
    return {zone.zone for zone in config.zones}


def _nodes(config: Config) -> dict[str, Node]:
    """All settings in the spelling of a file."""
    root = composed(effective_text(config), "what was imported").root
    return root if isinstance(root, dict) else {}


@functools.cache
def _defaults() -> dict[str, Node]:
    return _nodes(Config(zones=()))


def _different(node: Node, default: Node) -> Node:
    """The entries of a mapping of settings that are not as by default."""
    if isinstance(node, dict) and isinstance(default, dict) and default:
        return {key: value for key, value in node.items() if value != default.get(key)}
    return node


def _zone_entries(config: Config, nodes: Mapping[str, Node]) -> list[dict[str, Node]]:
    """What to write of each zone: nothing that it would have anyway."""
    plain = (
        Zone(
            zone=zone.zone,
            upstreams=zone.upstreams,
            max_ttl=config.cache.max_ttl,
            max_negative_ttl=config.cache.max_negative_ttl,
            maximum_stale_timer=stale_timer_for(zone.zone, config.cache, config.cluster_domain),
        )
        for zone in config.zones
    )
    both = zip(_zones_of(nodes), _zones_of(_nodes(Config(zones=tuple(plain)))), strict=True)
    needed = ("zone", "upstreams")
    return [{key: node for key, node in zone.items() if key in needed or node != other[key]} for zone, other in both]


def _zones_of(nodes: Mapping[str, Node]) -> list[dict[str, Node]]:
    zones = nodes["zones"]
    return [zone for zone in zones if isinstance(zone, dict)] if isinstance(zones, list) else []


def _zone(entries: dict[str, Node], place: Place | None, remarks: list[_Remark]) -> Iterator[str]:
    """One zone, with what made it and what is other in it."""
    if place is not None and place.line and all(place not in remark.places for remark in remarks):
        yield from _comment(_Remark((place,), ""), "  ")
    for remark in remarks:
        yield from _comment(remark, "  ")
    for number, (key, node) in enumerate(entries.items()):
        yield f"  {'  ' if number else '- '}{key}: {_value(node)}"


def _entry(key: str, node: Node, indent: str) -> Iterator[str]:
    """A key and what belongs to it, down the page."""
    if isinstance(node, dict):
        yield f"{indent}{key}:"
        for inner, value in node.items():
            yield from _entry(_scalar(inner), value, indent + "  ")
    else:
        yield f"{indent}{key}: {_value(node)}"


def _value(node: Node) -> str:
    """A text, or a list of texts on one line."""
    if isinstance(node, list):
        return f"[{', '.join(_scalar(item) for item in node if isinstance(item, str))}]"
    return _scalar(node) if isinstance(node, str) else ""


def _scalar(text: str) -> str:
    """Plain where no reader of YAML could take it for anything else, else in double quotes."""
    is_plain = text in _SAFE_WORDS or (_PLAIN.fullmatch(text) is not None and (text == "." or not _AMBIGUOUS.fullmatch(text)))
    return text if is_plain else json.dumps(text)
