"""A Corefile's words, as CoreDNS parts them."""

import pytest

from forwarder.errors import ConfigError
from forwarder.importing.sources import source_of
from forwarder.importing.tokens import MAX_TOKENS, tokens_in


def words(text: str) -> list[tuple[str, int, bool]]:
    return [(token.text, token.line, token.begins_line) for token in tokens_in(source_of(text, "Corefile"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a b\n\tc", [("a", 1, True), ("b", 1, False), ("c", 2, True)]),
        ("# nothing\na # b\nc#d", [("a", 2, True), ("c", 3, True)]),
        ('"a # b" c', [("a # b", 1, True), ("c", 1, False)]),
        (r'"say \"no\" \n"', [(r'say "no" \n', 1, True)]),
        ('x"y z"', [('x"y', 1, True), ('z"', 1, False)]),
        ('"two\nlines" here', [("two\nlines", 1, True), ("here", 2, True)]),
        ('""', [("", 1, True)]),
        ("a{ {b", [("a{", 1, True), ("{b", 1, False)]),
    ],
)
def test_words(text: str, expected: list[tuple[str, int, bool]]) -> None:
    assert words(text) == expected


def test_a_quote_without_an_end_is_named_by_its_line() -> None:
    with pytest.raises(ConfigError, match=r"Corefile: line 2: the quote .* is never closed"):
        words('a\nb "c\nd\n')


def test_too_many_words() -> None:
    assert len(words("a " * MAX_TOKENS)) == MAX_TOKENS
    with pytest.raises(ConfigError, match="line 1: has more than 100000 words"):
        words("a " * (MAX_TOKENS + 1))
