"""YAML into nodes: mappings, lists and text, nothing else.

Never turns text into numbers or booleans: the setting it belongs to reads it, so that `off` is the word off. Always holds:
no node is larger than what was written (aliases are not taken), none is deeper than MAX_DEPTH, and whatever the text, the
outcome is a document or a problem; nothing here recurses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from forwarder.errors import ConfigError, Problem

Node = str | list["Node"] | dict[str, "Node"]
"""What YAML comes down to here."""

MAX_DEPTH = 8
"""Lists and mappings within each other; the settings need five."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML was built with it: ten times as fast on a long file."""

_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML 1.2 section 5.1 takes nowhere in a file, not even in quotes."""

MAX_SHOWN = 60
"""Characters of what somebody wrote that a problem repeats: enough to find it."""


def shown(text: str) -> str:
    """What was written, in quotes, short, and on one line whatever it holds."""
    ending = "..." if len(text) > MAX_SHOWN else ""
    return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:MAX_SHOWN]) + ending + '"'


def below(path: str, key: str) -> str:
    """The path of an entry of a mapping: `zones[1].upstreams`, `hosts.records["keydb-0.keydb"]`."""
    if re.fullmatch(r"[A-Za-z0-9_]{1,40}", key) is None:
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says."""

    root: Node | None
    """None: nothing, or comments only."""
    repeated: tuple[tuple[str, str], ...]
    """Keys that were written twice: path and sentence. The last one counts, so that reading can go on."""


def composed(text: str, where: str) -> Document:
    """The document in this text; raises ConfigError with one problem, line and column in it, when it has no end or no sense."""
    if (found := _FORBIDDEN.search(text)) is not None:
        line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
        raise _problem(where, line, column, f"the character {found[0]!a} has no place in YAML: take it out")
    composing = _Composing(where)
    line, column = 1, 1
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            line, column = _position(event.end_mark)
            composing.take(event)
    except yaml.YAMLError as error:
        if (mark := getattr(error, "problem_mark", None)) is not None:
            line, column = _position(mark)
        why = getattr(error, "problem", None) or "it cannot be read from here on"
        raise _problem(where, line, column, f"this is not YAML: {why}") from None
    except (ValueError, OverflowError):  # PyYAML without libyaml, at an escape such as "\UFFFFFFFF"
        raise _problem(where, line, column, "this is not YAML from here on: mend or quote what follows") from None
    return Document(composing.root, tuple(composing.repeated))


def _position(mark: Any) -> tuple[int, int]:  # noqa: ANN401 - libyaml's marks and PyYAML's own are unrelated classes
    """Line and column, counted from one as editors do."""
    return mark.line + 1, mark.column + 1


def _problem(where: str, line: int, column: int, what: str) -> ConfigError:
    return ConfigError((Problem(f"{where}: line {line}, column {column}", what),))


@dataclass(slots=True)
class _Open:
    """A list or mapping that has not ended yet."""

    node: list[Node] | dict[str, Node]
    path: str
    key: str | None = None
    """Of the mapping's entry whose value comes next."""
    lines: dict[str, int] = field(default_factory=dict)
    """Where each key of a mapping stands."""


class _Composing:
    """Builds nodes from events, one after the other."""

    def __init__(self, where: str) -> None:
        self.root: Node | None = None
        self.repeated: list[tuple[str, str]] = []
        self._where = where
        self._open: list[_Open] = []

    def take(self, event: yaml.Event) -> None:
        """Add the next event; raises ConfigError for what is YAML but not taken here."""
        line, column = _position(event.start_mark)
        if (refusal := next(self._refusals(event), None)) is not None:
            raise _problem(self._where, line, column, refusal)
        if isinstance(event, yaml.ScalarEvent):
            self._add(event.value, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            self._open.append(_Open(items, self._add(items, line)))
        elif isinstance(event, yaml.MappingStartEvent):
            entries: dict[str, Node] = {}
            self._open.append(_Open(entries, self._add(entries, line)))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def _refusals(self, event: yaml.Event) -> Iterator[str]:
        if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            yield "a second document begins: a file holds one, leave out what follows the line ---"
        if getattr(event, "anchor", None) is not None:
            yield "anchors (&) and aliases (*) are not taken: write the value itself, in quotes if it begins with & or *"
        if getattr(event, "tag", None) not in {None, "!"}:
            yield "tags (!) are not taken: write the value alone"
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) == MAX_DEPTH:
                yield f"more than {MAX_DEPTH} lists and mappings stand within each other: no setting goes that deep"
            if self._open and isinstance(self._open[-1].node, dict) and self._open[-1].key is None:
                yield "a list or mapping stands where the name of a setting should"

    def _add(self, node: Node, line: int) -> str:
        """Put a node where it belongs; its path."""
        if not self._open:
            self.root = node
            return ""
        parent = self._open[-1]
        if isinstance(parent.node, list):
            parent.node.append(node)
            return f"{parent.path}[{len(parent.node) - 1}]"
        if parent.key is None and isinstance(node, str):
            if node in parent.lines:
                sentence = f"is written twice, on line {parent.lines[node]} and on line {line}: leave one out"
                self.repeated.append((below(parent.path, node), sentence))
            parent.key, parent.lines[node] = node, line
            return ""
        key, parent.key = parent.key or "", None
        parent.node[key] = node
        return below(parent.path, key)
