r"""A Corefile into words, as CoreDNS reads them.

Words are parted by white space; one that begins with a double quote goes on to the next double quote, over line ends too, and
in it `\"` is a quote. `#` hides the rest of its line wherever it stands outside quotes. Never fails but for a quote that is
not closed, and for too many words. Always holds: words come in order, each with the line on which it begins.
"""

import re
from dataclasses import dataclass

from forwarder.importing.sources import Source

MAX_TOKENS = 100_000
"""Words of one file, snippets put in; the largest Corefiles have a few thousand."""

_PIECE = re.compile(
    r'(?P<line>\n)|(?P<blank>[^\S\n]+)|(?P<comment>#[^\n]*)|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<word>[^\s#]+)', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word."""

    text: str
    """Without its quotes."""
    line: int
    """Of the source's text, from 1."""
    begins_line: bool
    """No other word stands before it on its line."""
    imported_by: tuple[str, ...] = ()
    """The snippets over which it came, the outermost first."""


def tokens_in(source: Source) -> list[Token]:
    """All words; raises ConfigError for a quote without an end, and for too many words."""
    tokens: list[Token] = []
    line, begins_line, at = 1, True, 0
    text = source.text
    while (found := _PIECE.match(text, at)) is not None:
        at = found.end()
        piece = found.group()
        if found.lastgroup in {"word", "quoted"}:
            if found.lastgroup == "word" and piece.startswith('"'):
                raise source.wrong(line, 'the quote (") that opens here is never closed')
            word = piece[1:-1].replace('\\"', '"') if found.lastgroup == "quoted" else piece
            tokens.append(Token(word, line, begins_line))
            begins_line = False
            if len(tokens) > MAX_TOKENS:
                raise source.wrong(line, f"has more than {MAX_TOKENS} words: no Corefile is that long")
        newlines = piece.count("\n")
        line += newlines
        begins_line = begins_line or newlines > 0
    return tokens
