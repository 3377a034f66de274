"""Nodes into settings: walks the types of config.py beside what the file says.

Never stops at a problem and never asks a type twice what it is called: keys, shapes and bounds are those of config.py, so a
setting added there is read here. Always holds: where something is wrong a problem names it, and a stand-in (the default, or
blank text) keeps its place, so that everything else is still checked and paths stay right.
"""

import difflib
from collections.abc import Mapping
from enum import Enum, auto
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec.structs import fields

from forwarder.config import Config, Entries
from forwarder.config_file.contradictions import contradictions
from forwarder.config_file.nodes import MAX_SHOWN, Node, below, shown
from forwarder.config_file.values import Shape, value_for
from forwarder.errors import ConfigError, Problem

NO_OPTIONS: Final[Mapping[str, str]] = {}

MAX_PROBLEMS = 100
"""Shown at one time: nobody reads more. The rest is counted."""

SMALLEST = "zones: [{zone: ., upstreams: [/etc/resolv.conf]}]"
"""A complete file, for those who wrote none."""

NOTHING = ("", "none", "null", "~")
"""What may be written for a setting that can be left out."""

BOOLEANS = {"true": True, "false": False, "on": True, "off": False, "yes": True, "no": False}
"""The booleans of YAML 1.1, which many files are written in."""
REWRITTEN = {"true": "on", "false": "off"}
"""What programs of YAML 1.1 (Helm is one) make of the words `on` and `off` when they write a file again."""

_WANTED = {
    "zones": f"no upstream: write whom to ask, such as {SMALLEST}",
    "upstreams": "no upstream: write whom to ask, such as [/etc/resolv.conf] or [192.0.2.53]",
    "zone": "is missing: write the name it is for, a dot for everything",
}
"""What to say when one of the settings without a default is missing."""

Kind = Any
"""The type of a setting, as annotated in config.py."""
Value = Any
"""A value of that type, or WRONG."""


class Wrong(Enum):
    """The outcome of reading where a problem was found."""

    WRONG = auto()


WRONG: Final = Wrong.WRONG


class Reading:
    """One file (or command line) being read, and what is wrong with it so far."""

    def __init__(self, where: str) -> None:
        self.said: set[str] = set()
        """Paths of the settings that were written."""
        self._where = where
        self._problems: list[Problem] = []
        self._more = 0

    def problem(self, path: str, what: str) -> None:
        """Remember what is wrong at this path."""
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(f"{self._where}: {path}" if path else self._where, what))
        else:
            self._more += 1

    def failed(self) -> ConfigError:
        """All problems found."""
        if self._more:
            more = Problem(self._where, f"{self._more} more problems are not shown: mend these first")
            return ConfigError((*self._problems, more))
        return ConfigError(tuple(self._problems))

    def checked(self, config: Config, options: Mapping[str, str] = NO_OPTIONS) -> Config:
        """This configuration, when nothing is wrong with it as a whole or was before; raises ConfigError otherwise.

        `options`: what the settings below a path were written as, where that was on the command line.
        """
        for path, sentence in contradictions(config):
            setting = path.rpartition("[")[0] or path
            self.problem(options.get(setting, path), sentence)
        if self._problems:
            raise self.failed()
        return config

    def text(self, shape: Shape, written: str, path: str) -> str:
        """One text in its one spelling, blank when it is wrong."""
        value = self._scalar(shape, written, path)
        return "" if value is WRONG else str(value)

    def value(self, kind: Kind, node: Node, path: str) -> Value:
        """What this node means for a setting of this type."""
        origin = _origin(kind)
        if origin is Annotated:
            inner, shape = get_args(kind)
            return self._entries(inner, shape, node, path) if isinstance(shape, Entries) else self._scalar(shape, node, path)
        if origin in {Union, UnionType}:
            return self._either(get_args(kind), node, path)
        if origin is Literal:
            return self._choice({word: word for word in get_args(kind)}, node, path)
        if kind is bool:
            return self._choice(BOOLEANS, node, path)
        if origin is dict:
            return self._named(kind, node, path)
        return self._section(kind, node, path)

    def _scalar(self, shape: Shape, node: Node, path: str) -> Value:
        if not isinstance(node, str):
            self.problem(path, f"holds a {_noun(node)} where one value belongs: write the value alone")
            return WRONG
        if not node:
            self.problem(path, "has no value: write one, or take the line out")
            return WRONG
        try:
            return value_for(shape, node)
        except ValueError as error:
            self.problem(path, str(error))
            return WRONG

    def _choice(self, words: Mapping[str, object], node: Node, path: str) -> Value:
        if isinstance(node, str):
            for spelling in (node, node.lower(), REWRITTEN.get(node.lower(), node)):
                if spelling in words:
                    return words[spelling]
        found = shown(node) if isinstance(node, str) else f"a {_noun(node)}"
        self.problem(path, f"{found} is none of its values: write {_listed(list(words), 'or')}")
        return WRONG

    def _either(self, kinds: tuple[Kind, ...], node: Node, path: str) -> Value:
        """A word or nothing, or else the one other type."""
        words = [word for kind in kinds if _origin(kind) is Literal for word in get_args(kind)]
        if isinstance(node, str) and node in words:
            return node
        if type(None) in kinds and isinstance(node, str) and node in NOTHING:
            return None
        other = next(kind for kind in kinds if kind is not type(None) and _origin(kind) is not Literal)
        before = len(self._problems)
        value = self.value(other, node, path)
        if value is WRONG and words and len(self._problems) > before:
            last = self._problems[-1]
            self._problems[-1] = Problem(last.where, f"{last.what}; or write {_listed(words, 'or')}")
        return value

    def _entries(self, kind: Kind, bounds: Entries, node: Node, path: str) -> Value:
        """A list; entries that are wrong are blank."""
        if node == "":
            node = []
        if not isinstance(node, list):
            short = isinstance(node, str) and len(node) <= MAX_SHOWN and node.isprintable()
            mend = f"[{node}]" if short else "each entry on a line of its own, after a hyphen"
            self.problem(path, f"needs a list, and this is a {_noun(node)}: write {mend}")
            return WRONG
        if not bounds.least <= len(node) <= bounds.most:
            counted = f"has {len(node)} entries: write {bounds.least} to {bounds.most}"
            self.problem(path, counted if node else _WANTED.get(path.rpartition(".")[2], counted))
            if not node:
                return WRONG
        inner = get_args(kind)[0]
        values = [self.value(inner, item, f"{path}[{number}]") for number, item in enumerate(node[: bounds.most])]
        return tuple(_blank(inner) if value is WRONG else value for value in values)

    def _named(self, kind: Kind, node: Node, path: str) -> Value:
        """A mapping whose keys are names somebody chose."""
        if node == "":
            node = {}
        if not isinstance(node, dict):
            self.problem(path, f"needs a mapping, and this is a {_noun(node)}: write name: [address]")
            return WRONG
        name_kind, item_kind = get_args(kind)
        found: dict[str, object] = {}
        for key, item in node.items():
            name = self.value(name_kind, key, below(path, key))
            value = self.value(item_kind, item, below(path, key))
            if name is WRONG or value is WRONG:
                continue
            if name in found:
                self.problem(below(path, key), f"{name} stands here already in another spelling: leave one out")
            found[name] = value
        return found

    def _section(self, kind: type[msgspec.Struct], node: Node, path: str) -> Value:
        """A mapping with the keys of this class; one without entries is all defaults."""
        if node == "":
            node = {}
        if not isinstance(node, dict):
            known = ", ".join(one.name for one in fields(kind))
            self.problem(path, f"needs a mapping, and this is a {_noun(node)}: write key: value, the keys are {known}")
            return WRONG
        known_fields = {one.name: one for one in fields(kind)}
        for key in node:
            if key not in known_fields:
                self.problem(below(path, key), _unknown(key, list(known_fields)))
        values: dict[str, object] = {}
        for name, one in known_fields.items():
            if name in node:
                self.said.add(below(path, name))
                value = self.value(one.type, node[name], below(path, name))
            elif one.required:
                value = WRONG
                self.problem(below(path, name), _WANTED[name])
            else:
                continue
            if value is not WRONG:
                values[name] = value
            elif one.required:
                values[name] = _blank(one.type)
        return kind(**values)


def _origin(kind: Kind) -> object:
    """What a type is an instance of: Annotated, Literal, dict, tuple, a union; None for a class."""
    return get_origin(kind)


def _blank(kind: Kind) -> Value:
    """What keeps the place of a value that is wrong."""
    if _origin(kind) is Annotated:
        return _blank(get_args(kind)[0])
    if _origin(kind) is tuple:
        return ()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**{one.name: _blank(one.type) for one in fields(kind) if one.required})
    return ""


def _noun(node: Node) -> str:
    return "list" if isinstance(node, list) else "mapping" if isinstance(node, dict) else "single value"


def _listed(words: list[str], last: str) -> str:
    """`a, b or c`."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    if near:
        return f"is not a setting: did you mean {near[0]}?"
    return f"is not a setting: here are {_listed(known, 'and')}"
