"""What CoreDNS's `hosts` becomes."""

import pytest

from forwarder.importing.blocks import Directive, parsed
from forwarder.importing.pinning import MAX_ADDRESSES, Pins, pin, zones_above
from forwarder.importing.sources import source_of


def pinned(text: str) -> tuple[Pins, list[tuple[str, str]]]:
    """Of `hosts` in a block of example.org; what is said of its lines."""
    (block,) = parsed(source_of(f"example.org {{\n{text}\n}}", "Corefile"), {}).blocks
    said: list[tuple[str, str]] = []
    pins = Pins()

    def remark(directive: Directive, sentence: str) -> None:
        said.append((directive.name, sentence))

    pin(block.directives[0], ("example.org",), pins, remark)
    return pins, said


def test_lines_and_files() -> None:
    text = "hosts /etc/more {\n 192.0.2.1 a.example.org B.example.org.\n 2001:db8::1 a.example.org\n fallthrough\n}"
    pins, said = pinned(text)
    assert pins.mapping() == {"a.example.org": ("192.0.2.1", "2001:db8::1"), "b.example.org": ("192.0.2.1",)}
    assert (list(pins.files), said) == (["/etc/more"], [])


def test_the_file_of_the_host_is_read_where_none_is_named() -> None:
    assert list(pinned("hosts {\n fallthrough\n}")[0].files) == ["/etc/hosts"]


@pytest.mark.parametrize(
    ("text", "about", "words"),
    [
        ("hosts", "hosts", "without fallthrough, none exist"),
        ("hosts more {\n fallthrough\n}", "hosts", "whole path"),
        ("hosts /etc/more example.org {\n fallthrough\n}", "hosts", "whatever zone"),
        ("hosts {\n fallthrough a.example.org\n}", "fallthrough", "always asked upstream"),
        ("hosts {\n ttl 60\n fallthrough\n}", "ttl", "30 s"),
        ("hosts {\n no_reverse\n fallthrough\n}", "no_reverse", "PTR"),
        ("hosts {\n reload 5s\n fallthrough\n}", "reload", "watched"),
        ("hosts {\n odd\n fallthrough\n}", "odd", "not known here"),
        ("hosts {\n 192.0.2.1 *.example.org\n fallthrough\n}", "192.0.2.1", "wildcards"),
        ("hosts {\n 192.0.2.1 a.elsewhere\n fallthrough\n}", "192.0.2.1", "not in the zone"),
        ("hosts {\n 192.0.2.1\n fallthrough\n}", "192.0.2.1", "names nothing"),
    ],
)
def test_what_is_other_is_said(text: str, about: str, words: str) -> None:
    pins, said = pinned(text)
    assert any(name == about and words in sentence for name, sentence in said), said
    assert pins.mapping() == {}


def test_a_name_has_a_bounded_number_of_addresses() -> None:
    pins = Pins()
    for number in range(MAX_ADDRESSES):
        pins.add("a", f"192.0.2.{number}")
    pins.add("a", "192.0.2.1")
    with pytest.raises(ValueError, match="64 addresses at most"):
        pins.add("a", "192.0.3.1")


def test_zones_above() -> None:
    assert zones_above("a.b.c") == {".", "a.b.c", "b.c", "c"}
