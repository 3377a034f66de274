"""What a line of a scenario is made of: words, numbers, durations, ranges, types and names.

Strict: a word that is not expected is an error that names file and line, what was read and what could have stood there.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WORD = re.compile(r'"[^"]*"|\S+')
"""A text in quotes is one word and keeps them."""
_COUNT = re.compile(r"\d+")
TYPES = frozenset(
    [
        "A",
        "AAAA",
        "CNAME",
        "DNAME",
        "PTR",
        "SRV",
        "TXT",
        "HTTPS",
        "SVCB",
        "MX",
        "NS",
        "SOA",
        "HINFO",
        "ANY",
        "AXFR",
        "IXFR",
        "RRSIG",
    ]
)
"""Types a scenario may name; one that is not here is a misspelt word."""
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS")


class ScenarioError(Exception):
    """A scenario that cannot be read; the message begins with file and line."""


@dataclass(frozen=True, slots=True)
class Range:
    """From the least to the most, both included; seconds or a number of things."""

    least: float
    most: float

    def __contains__(self, value: float) -> bool:
        return self.least - 1e-6 <= value <= self.most + 1e-6

    def __str__(self) -> str:
        return f"{self.least:g}" if self.least == self.most else f"{self.least:g}..{self.most:g}"


class Words:
    """The words of one line, read from left to right."""

    def __init__(self, text: str, file: str, line: int) -> None:
        self.file = file
        self.line = line
        self.text = text
        self._left: list[str] = _WORD.findall(text)
        if text.count('"') % 2:
            raise self.error("a quote that does not end")

    def __bool__(self) -> bool:
        return bool(self._left)

    def error(self, problem: str) -> ScenarioError:
        """The error to raise; says where."""
        return ScenarioError(f"{self.file}:{self.line}: {problem}: {self.text}")

    def unexpected(self, *expected: str) -> ScenarioError:
        """The error for a word that has no place here."""
        read = f'"{self._left[0]}"' if self._left else "the end of the line"
        return self.error(f"{read} where {' or '.join(expected)} should stand")

    @property
    def next(self) -> str:
        """The next word, which stays; empty at the end."""
        return self._left[0] if self._left else ""

    def take(self, what: str) -> str:
        """The next word, whatever it is."""
        if not self._left:
            raise self.unexpected(what)
        return self._left.pop(0)

    def accept(self, phrase: str) -> bool:
        """Whether these words come next; they are taken then."""
        wanted = phrase.split()
        if self._left[: len(wanted)] != wanted:
            return False
        del self._left[: len(wanted)]
        return True

    def one_of(self, *phrases: str) -> str:
        """The first of these phrases that comes next, taken; an error when none does."""
        for phrase in phrases:
            if self.accept(phrase):
                return phrase
        raise self.unexpected(*phrases)

    def end(self) -> None:
        """An error when something is left."""
        if self._left:
            raise self.unexpected("the end of the line")

    def count(self, what: str = "a number") -> int:
        """A whole number."""
        if not _COUNT.fullmatch(self.next):
            raise self.unexpected(what)
        return int(self.take(what))

    def counts(self) -> Range:
        """`3`, or `2..5`."""
        return self._range(_number, "a number such as 3 or 2..5")

    def duration(self) -> float:
        """Seconds of `400ms`, `1.8s`, `5m`, `1h`."""
        what = "a duration such as 400ms or 1.8s"
        return _seconds(self.take(what), self, what)

    def durations(self) -> Range:
        """Seconds of `400ms` (at most that long), or `380ms..420ms`."""
        if ".." not in self.next:
            return Range(0.0, self.duration())
        return self._range(_seconds, "a duration such as 400ms or 380ms..400ms")

    def is_type(self) -> bool:
        """Whether a type comes next."""
        return self.next in TYPES

    def rtype(self) -> str:
        """A type."""
        if not self.is_type():
            raise self.unexpected("a type such as A or AAAA")
        return self.take("a type")

    def is_name(self) -> bool:
        """Whether a domain name comes next: something with a dot in it that is no address and no range."""
        return self.next == "." or ("." in self.next and ".." not in self.next and not re.fullmatch(r"[\d.]+", self.next))

    def name(self) -> str:
        """A domain name with its final dot."""
        if not self.is_name():
            raise self.unexpected("a domain name such as www.example.com")
        return self.take("a name").rstrip(".") + "."

    def quoted(self) -> str:
        """A text in quotes, without them; empty when none comes next."""
        return self.take("a text").strip('"') if self.next.startswith('"') else ""

    def until(self, stops: Iterable[str]) -> str:
        """All words up to one of these or the end, at least one, as one text."""
        stops = frozenset(stops)
        found = []
        while self._left and self._left[0] not in stops:
            found.append(self._left.pop(0))
        if not found:
            raise self.unexpected("the contents of a record")
        return " ".join(found)

    def _range(self, read: "Callable[[str, Words, str], float]", what: str) -> Range:
        text = self.take(what)
        least, _, most = text.partition("..")
        return Range(read(least, self, what), read(most or least, self, what))


def _number(text: str, words: Words, what: str) -> float:
    if not _COUNT.fullmatch(text):
        raise words.error(f'"{text}" where {what} should stand')
    return float(text)


def _seconds(text: str, words: Words, what: str) -> float:
    found = _DURATION.fullmatch(text)
    if not found:
        raise words.error(f'"{text}" where {what} should stand')
    return float(found[1]) * _UNITS[found[2]]
