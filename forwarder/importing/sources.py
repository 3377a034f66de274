"""The text that is imported, line by line, as every comment and complaint names it.

Always holds: a place shows what the person wrote, before variables were put in, short and on one line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from forwarder.config_file.nodes import shown
from forwarder.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the source something stands."""

    line: int
    """Of the file, from 1."""
    last: int
    """The last line of it; the same where it is one line."""
    text: str
    """The first line as the person wrote it, without the blanks around it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text and where it came from."""

    where: str
    """What complaints call the file: its path, or `stdin`."""
    text: str
    """What is read, variables put in."""
    written: tuple[str, ...]
    """The lines as the person wrote them."""
    offset: int = 0
    """Lines of the file before the first of these."""

    def place(self, line: int, last: int | None = None) -> Place:
        """The place of these lines of the text, counted from 1."""
        text = self.written[line - 1].strip() if 0 < line <= len(self.written) else ""
        return Place(line + self.offset, (last or line) + self.offset, text)

    def wrong(self, line: int, what: str) -> ConfigError:
        """What to raise when this line of the text makes it unreadable."""
        return ConfigError((self.problem(line, what),))

    def problem(self, line: int, what: str) -> Problem:
        """What is wrong with this line of the text."""
        return Problem(f"{self.where}: line {line + self.offset}", what)


def source_of(text: str, where: str, offset: int = 0) -> Source:
    """A source in which no variable was replaced yet."""
    return Source(where, text, tuple(text.split("\n")), offset)


def quoted(words: Sequence[str]) -> str:
    """Words of the source in a sentence: in quotes, short, on one line."""
    return ", ".join(shown(word) for word in words[:8]) + (" ..." if len(words) > 8 else "")  # noqa: PLR2004 - enough to find
