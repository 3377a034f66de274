"""YAML into nodes: text stays text, nothing is larger or deeper than it looks, every refusal says where."""

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forwarder.config_file import nodes
from forwarder.config_file.nodes import MAX_DEPTH, below, composed, shown
from forwarder.errors import ConfigError


@pytest.fixture(params=sorted({nodes._LOADER.__name__, "SafeLoader"}), autouse=True)  # noqa: SLF001 - its default
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers where there is libyaml, for an installation has one or the other."""
    monkeypatch.setattr(nodes, "_LOADER", getattr(yaml, request.param))


def problem_in(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        composed(text, "f.yaml")
    (problem,) = caught.value.problems
    return str(problem)


def test_scalars_stay_text() -> None:
    text = "a: off\nb: 0x10\nc: 1:30\nd: [1.0, true, ~, 2001-01-01]\ne: 'x'\nf:\n1: no\n"
    assert composed(text, "f.yaml").root == {
        "a": "off", "b": "0x10", "c": "1:30", "d": ["1.0", "true", "~", "2001-01-01"], "e": "x", "f": "", "1": "no",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n...\n"])
def test_nothing(text: str) -> None:
    assert not composed(text, "f.yaml").root


def test_repeated_keys() -> None:
    document = composed("zones:\n- zone: a\n  x.y: 1\n  x.y: 2\nzones: []\n", "f.yaml")
    assert document.repeated == (
        ('zones[0]["x.y"]', "is written twice, on line 3 and on line 4: leave one out"),
        ("zones", "is written twice, on line 1 and on line 5: leave one out"),
    )


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: [1, 2\nb: 3\n", "line 2, column", "not YAML"),
        ("a: 1\n\tb: 2\n", "line 2, column 1", "not YAML"),
        ("a: b: c\n", "line 1, column 5", "not YAML"),
        ("a: &x 1\n", "line 1, column 4", "aliases"),
        ("a: *x\n", "line 1, column 4", "aliases"),
        ("a: !!python/object:os.system 1\n", "line 1, column 4", "tags"),
        ("a: !!str 1\n", "line 1, column 4", "tags"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1", "second document"),
        ("? [a]\n: 1\n", "line 1, column 3", "name of a setting"),
        ("a: 1\nb: \x07\n", "line 2, column 4", r"'\x07'"),
        ("a: \ud800\n", "line 1, column 4", r"'\ud800'"),
        ('a: "\\UFFFFFFFF"\n', "line 1, column", "YAML"),
        ("%YAML 1." + "9" * 5000 + "\n--- a\n", "line 1, column", "YAML"),
    ],
)
def test_refused_with_line_and_column(text: str, where: str, what: str) -> None:
    problem = problem_in(text)
    assert problem.startswith(f"f.yaml: {where}")
    assert what in problem
    assert "\n" not in problem


def test_depth() -> None:
    assert composed("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f.yaml").root is not None
    assert "within each other" in problem_in("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert "within each other" in problem_in("[" * 100_000)
    assert "within each other" in problem_in("{a: " * 100_000)


def test_bomb_of_aliases() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "line 1, column 5" in problem_in("\n".join(lines))


def test_a_long_file() -> None:
    assert composed("a:\n" + "- 192.0.2.1\n" * 5000, "f.yaml").root == {"a": ["192.0.2.1"] * 5000}


def test_shown_is_short_and_on_one_line() -> None:
    assert shown("a") == '"a"'
    assert shown("a\nb\u202e") == '"a\\nb\\u202e"'
    assert len(shown("x" * 1000)) < 70


def test_below() -> None:
    assert below("", "zones") == "zones"
    assert below("cache", "max_ttl") == "cache.max_ttl"
    assert below("hosts.records", "a.test") == 'hosts.records["a.test"]'


Json = Any
json_values = st.recursive(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"], exclude_characters="\ufeff"), max_size=20
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_.", max_size=8), inner, max_size=4),
    max_leaves=10,
)


def depth(node: Json) -> int:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(json_values.filter(lambda value: depth(value) <= MAX_DEPTH))
def test_reads_json_as_it_is(value: Json) -> None:
    assert composed(json.dumps(value, ensure_ascii=False), "f.yaml").root == value


@given(
    st.text() | st.text("[]{}:-,?!&*|>'\"%@ \n#ab1\\uUx.", max_size=60) | st.binary().map(lambda data: data.decode("latin-1"))
)
def test_any_text_is_a_document_or_one_problem(text: str) -> None:
    try:
        composed(text, "f.yaml")
    except ConfigError as error:
        (problem,) = error.problems
        assert re.match(r"f\.yaml: line [0-9]+, column [0-9]+$", problem.where)
