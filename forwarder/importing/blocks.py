"""Words into server blocks: keys, directives, and the directives within those.

Snippets are put in where they are imported. Files that are imported are not read: what a file names is nobody's wish that it
be opened. Always holds: every word of the source is in a block, in a snippet or in `unread`; what cannot be is a ConfigError
that names the line; nesting, words and imports are bounded.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from forwarder.config_file.nodes import shown
from forwarder.importing.sources import Place, Source
from forwarder.importing.tokens import MAX_TOKENS, Token, tokens_in

MAX_DEPTH = 8
"""Braces within each other; CoreDNS's own plugins need two."""

_VARIABLE = re.compile(r"\{\$([^{}]+)\}|\{%([^{}%]+)%\}")


@dataclass(frozen=True, slots=True)
class Directive:
    """A plugin, or one of its options."""

    name: str
    args: tuple[str, ...]
    place: Place
    options: tuple["Directive", ...] = ()
    """What stands in its braces."""


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """What is done for some zones."""

    keys: tuple[str, ...]
    """`dns://example.org:53`, as written."""
    directives: tuple[Directive, ...]
    place: Place

    def named(self, name: str) -> tuple[Directive, ...]:
        """The directives of this plugin, in order."""
        return tuple(directive for directive in self.directives if directive.name == name)


@dataclass(frozen=True, slots=True)
class Corefile:
    """All of it."""

    blocks: tuple[ServerBlock, ...]
    unread: tuple[Directive, ...]
    """Imports of files, outside of all blocks."""


def parsed(source: Source, environment: Mapping[str, str]) -> Corefile:
    """The server blocks of this text; `environment` is what `{$NAME}` stands for. Raises ConfigError."""
    return _Reading(source, environment).corefile()


class _Reading:
    """One text being read."""

    def __init__(self, source: Source, environment: Mapping[str, str]) -> None:
        self._source = source
        self._environment = environment
        self._tokens = deque(tokens_in(source))
        self._count = len(self._tokens)
        self._snippets: dict[str, list[Token]] = {}
        self._last = 1
        """The line of the word that was taken last."""

    def corefile(self) -> Corefile:
        blocks: list[ServerBlock] = []
        unread: list[Directive] = []
        while self._tokens:
            token = self._tokens[0]
            if token.text == "import":
                unread += self._imported(self._take())
                continue
            keys, is_braced = self._keys()
            if is_braced and len(keys) == 1 and re.fullmatch(r"\(.+\)", keys[0], re.DOTALL):
                self._define(keys[0][1:-1], token)
                continue
            directives = self._directives(token if is_braced else None, 1)
            blocks.append(ServerBlock(keys, directives, self._source.place(token.line, self._last)))
        return Corefile(tuple(blocks), tuple(unread))

    def _take(self) -> Token:
        token = self._tokens.popleft()
        self._last = token.line
        return token

    def _keys(self) -> tuple[tuple[str, ...], bool]:
        """The addresses before a block, and whether a brace opens it; without one, the block is the rest of the file."""
        first = self._tokens[0]
        keys: list[str] = []
        goes_on = True
        while self._tokens:
            token = self._tokens[0]
            if token.text == "{":
                self._take()
                if not keys:
                    raise self._source.wrong(token.line, "a brace opens here, and no zone stands before it")
                return tuple(keys), True
            if token.begins_line and not goes_on:
                break
            if token.text == "}":
                raise self._source.wrong(token.line, "this brace closes nothing")
            word = self._valued(self._take())
            goes_on = word.endswith(",")
            keys += [word.removesuffix(",")] if word.strip(",") else []
        if keys and goes_on and not self._tokens:
            raise self._source.wrong(first.line, "a comma promises another zone, and the file ends")
        return tuple(keys), False

    def _define(self, name: str, opening: Token) -> None:
        """Keep the words of a snippet."""
        if name in self._snippets:
            raise self._source.wrong(opening.line, f"the snippet ({shown(name)}) is defined twice: leave one out")
        depth = 1
        tokens: list[Token] = []
        while self._tokens:
            token = self._take()
            depth += (token.text == "{") - (token.text == "}")
            if depth == 0:
                self._snippets[name] = [replace(tokens[0], begins_line=True), *tokens[1:]] if tokens else []
                return
            tokens.append(token)
        raise self._source.wrong(opening.line, "the brace that opens here is never closed")

    def _directives(self, opening: Token | None, depth: int) -> tuple[Directive, ...]:
        """Up to the brace that closes, or to the end of the file where none opened."""
        if depth > MAX_DEPTH and opening is not None:
            raise self._source.wrong(opening.line, f"braces within braces, more than {MAX_DEPTH} deep: no plugin needs that")
        found: list[Directive] = []
        while self._tokens:
            token = self._take()
            if token.text == "}":
                if opening is None:
                    raise self._source.wrong(token.line, "this brace closes nothing")
                return tuple(found)
            if token.text == "{":
                raise self._source.wrong(token.line, "a brace opens here, and nothing stands before it")
            if token.text == "import":
                found += self._imported(token)
                continue
            found.append(self._directive(token, depth))
        if opening is not None:
            raise self._source.wrong(opening.line, "the brace that opens here is never closed")
        return tuple(found)

    def _directive(self, token: Token, depth: int) -> Directive:
        args = self._arguments()
        options: tuple[Directive, ...] = ()
        if self._tokens and self._tokens[0].text == "{":
            options = self._directives(self._take(), depth + 1)
        return Directive(self._valued(token), args, self._source.place(token.line, max(token.line, self._last)), options)

    def _arguments(self) -> tuple[str, ...]:
        """The rest of the line, braces left out."""
        args = []
        while self._tokens and not self._tokens[0].begins_line and self._tokens[0].text not in {"{", "}"}:
            args.append(self._valued(self._take()))
        return tuple(args)

    def _imported(self, token: Token) -> list[Directive]:
        """Put a snippet in; what is a file's name stays a directive that nobody carried out."""
        args = self._arguments()
        if len(args) != 1:
            raise self._source.wrong(token.line, "import needs one name, of a snippet or a file")
        name = args[0]
        if name not in self._snippets:
            return [Directive("import", args, self._source.place(token.line))]
        if name in token.imported_by:
            way = " > ".join((*token.imported_by[token.imported_by.index(name) :], name))
            raise self._source.wrong(token.line, f"a snippet imports itself: {shown(way)}")
        self._count += len(self._snippets[name])
        if self._count > MAX_TOKENS:
            raise self._source.wrong(token.line, f"with its snippets, the file has more than {MAX_TOKENS} words")
        way_here = (*token.imported_by, name)
        self._tokens.extendleft(replace(one, imported_by=way_here) for one in reversed(self._snippets[name]))
        return []

    def _valued(self, token: Token) -> str:
        """The word with its environment variables put in."""

        def value(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            if name not in self._environment:
                what = f"the environment has no {shown(name)}: set it as CoreDNS has it, such as env NAME=VALUE forwarder ..."
                raise self._source.wrong(token.line, what)
            return self._environment[name]

        return _VARIABLE.sub(value, token.text)
