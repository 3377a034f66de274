"""Server blocks: keys, directives, snippets, and what cannot be read."""

import pytest

from forwarder.errors import ConfigError
from forwarder.importing.blocks import MAX_DEPTH, Corefile, Directive, parsed
from forwarder.importing.sources import source_of


def read(text: str, **environment: str) -> Corefile:
    return parsed(source_of(text, "Corefile"), environment)


def told(directives: tuple[Directive, ...]) -> list[str]:
    """Name, arguments and options of each, in one line."""
    return [
        " ".join((one.name, *one.args)) + (f" [{'; '.join(told(one.options))}]" if one.options else "") for one in directives
    ]


def test_keys_and_directives() -> None:
    (block,) = read("a b:53, \n c {\n errors\n cache 30 {\n success 1 2\n}\n forward . 1.1.1.1 }").blocks
    assert block.keys == ("a", "b:53", "c")
    assert told(block.directives) == ["errors", "cache 30 [success 1 2]", "forward . 1.1.1.1"]
    assert (block.place.line, block.place.last) == (1, 7)
    assert [(one.place.line, one.place.last) for one in block.directives] == [(3, 3), (4, 6), (7, 7)]


def test_a_brace_may_open_on_the_next_line() -> None:
    assert [block.keys for block in read("a\n{\n}\nb {\n}").blocks] == [("a",), ("b",)]


def test_one_server_needs_no_braces() -> None:
    (block,) = read("a:53\nerrors\ncache {\n success 1\n}\n").blocks
    assert (block.keys, told(block.directives)) == (("a:53",), ["errors", "cache [success 1]"])


def test_variables_of_the_environment() -> None:
    (block,) = read("{$ZONE}:53 {\n forward . {$A}{%B%} x{$A}y\n}", ZONE="z", A="1", B="2").blocks
    assert (block.keys, told(block.directives)) == (("z:53",), ["forward . 12 x1y"])
    with pytest.raises(ConfigError, match=r'line 2: the environment has no "A"'):
        read("a {\n forward . {$A}\n}")


def test_snippets_stand_where_they_are_imported() -> None:
    text = "(s) {\n errors\n cache {\n success 1\n}\n}\n(t) {\n import s\n log\n}\na {\n loop\n import t\n reload\n}\n"
    (block,) = read(text).blocks
    assert told(block.directives) == ["loop", "errors", "cache [success 1]", "log", "reload"]
    assert [one.place.line for one in block.directives] == [12, 2, 3, 9, 14]


def test_snippets_within_options_and_around_blocks() -> None:
    corefile = read("(o) {\n force_tcp\n}\n(b) {\n z {\n errors\n }\n}\na {\n forward . x {\n import o\n}\n}\nimport b\n")
    assert [(block.keys, told(block.directives)) for block in corefile.blocks] == [
        (("a",), ["forward . x [force_tcp]"]),
        (("z",), ["errors"]),
    ]


def test_files_that_are_imported_are_not_read() -> None:
    corefile = read("a {\n import /etc/passwd\n}\nimport custom/*.server\n")
    assert told(corefile.blocks[0].directives) == ["import /etc/passwd"]
    assert told(corefile.unread) == ["import custom/*.server"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a {\n cache {\n}\n", "line 1: the brace that opens here is never closed"),
        ("a {\n cache {\n", "line 2: the brace that opens here is never closed"),
        ("(s) {\n a\n", "line 1: the brace that opens here is never closed"),
        ("a {\n}\n}\n", "line 3: this brace closes nothing"),
        ("a\nerrors\n}\n", "line 3: this brace closes nothing"),
        ("{\n}\n", "line 1: a brace opens here, and no zone stands before it"),
        ("a {\n {\n }\n}", "line 2: a brace opens here, and nothing stands before it"),
        ("a,\n", "line 1: a comma promises another zone, and the file ends"),
        ("a {\n import\n}\n", "line 2: import needs one name"),
        ("(s) {\n}\n(s) {\n}\n", r'line 3: the snippet \("s"\) is defined twice'),
        ("(s) {\n import s\n}\na {\n import s\n}\n", 'line 2: a snippet imports itself: "s > s"'),
        ("(s) {\n import t\n}\n(t) {\n import s\n}\na {\n import s\n}\n", 'line 5: a snippet imports itself: "s > t > s"'),
        ("a {\n" + "b {\n" * MAX_DEPTH, f"line {MAX_DEPTH + 1}: braces within braces, more than {MAX_DEPTH} deep"),
    ],
)
def test_what_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^Corefile: {problem}"):
        read(text)


def test_snippets_that_multiply_are_bounded() -> None:
    text = (
        "".join(f"(s{n}) {{\n import s{n + 1}\n import s{n + 1}\n}}\n" for n in range(40))
        + "(s40) {\n a\n}\nz {\n import s0\n}\n"
    )
    with pytest.raises(ConfigError, match="with its snippets, the file has more than 100000 words"):
        read(text)
