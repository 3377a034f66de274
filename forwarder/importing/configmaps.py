"""ConfigMaps in YAML: those that say how names are resolved, each text with the line on which it stands.

Takes whole manifests, several documents and lists (`kubectl get configmap -o yaml`), and passes over all else in them. Nothing
here recurses, and aliases are not followed. Always holds: whatever the text, the outcome is ConfigMaps or a ConfigError.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from forwarder.importing.sources import Source

MAX_DEPTH = 100
"""Lists and mappings within each other; manifests need some 15."""
COREFILE, STUB_DOMAINS, UPSTREAMS, FEDERATIONS = "Corefile", "stubDomains", "upstreamNameservers", "federations"
KEYS = (COREFILE, STUB_DOMAINS, UPSTREAMS, FEDERATIONS)
"""What is read of `data`."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML was built with it."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text in YAML."""

    value: str
    line: int
    """On which its first line stands, counted from 1."""
    is_literal: bool
    """Its lines are lines of the file."""


@dataclass(slots=True)
class ConfigMap:
    """One object, as far as it is of interest."""

    kind: str = ""
    name: str = ""
    data: dict[str, Text] = field(default_factory=dict)
    """What is under `data` and among `KEYS`."""


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end was not reached yet."""

    is_list: bool
    path: Path
    key: str | None = None
    """The key whose value comes next."""
    count: int = 0


def config_maps_in(source: Source) -> list[ConfigMap]:
    """The ConfigMaps that have one of `KEYS`, in order; raises ConfigError for what is no YAML."""
    found: dict[Path, ConfigMap] = {}
    for path, text in _texts(source):
        body = path[1:]
        top: Path = (path[0],)
        if body[:1] == ("items",) and len(body) > 2 and isinstance(body[1], int):  # noqa: PLR2004 - items, number, and on
            top, body = path[:3], body[2:]
        one = found.setdefault(top, ConfigMap())
        match body:
            case ("kind",):
                one.kind = text.value
            case ("metadata", "name"):
                one.name = text.value
            case ("data", str(key)) if key in KEYS:
                one.data[key] = text
    return [one for one in found.values() if one.kind == "ConfigMap" and one.data]


def _texts(source: Source) -> Iterator[tuple[Path, Text]]:
    """Each value that is a text, with its path; the first step of a path is the number of the document."""
    documents = 0
    stack: list[_Open] = []
    try:
        for event in yaml.parse(source.text, Loader=_LOADER):
            line = 1 if event.start_mark is None else event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                stack = [_Open(is_list=True, path=(), count=documents)]
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                if len(stack) > MAX_DEPTH:
                    raise source.wrong(line, f"is nested more than {MAX_DEPTH} deep: no manifest is")
                stack.append(_Open(isinstance(event, yaml.SequenceStartEvent), _path_of_next(stack[-1])))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                stack.pop()
            elif isinstance(event, yaml.AliasEvent):
                _path_of_next(stack[-1])
            elif isinstance(event, yaml.ScalarEvent):
                if not stack[-1].is_list and stack[-1].key is None:
                    stack[-1].key = event.value
                    continue
                is_literal = event.style == "|"
                yield _path_of_next(stack[-1]), Text(event.value, line + is_literal, is_literal)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "a character that YAML does not take"
        raise source.wrong(1 if mark is None else mark.line + 1, f"is not YAML: {what}") from None


def _path_of_next(parent: _Open) -> Path:
    """The path of the value that comes now; a mapping or list as a key counts as an empty one."""
    if parent.is_list:
        parent.count += 1
        return (*parent.path, parent.count - 1)
    if parent.key is None:
        parent.key = ""
        return (*parent.path, "")
    key, parent.key = parent.key, None
    return (*parent.path, key)
