"""What CoreDNS's `cache` becomes."""

import pytest

from forwarder.importing.blocks import Directive, parsed
from forwarder.importing.caching import Limits, limits_of
from forwarder.importing.sources import source_of


def limits(text: str) -> tuple[Limits, list[tuple[str, str]]]:
    """Of `cache` as it is written, in a block of example.org; what is said of its lines."""
    (block,) = parsed(source_of(f"example.org {{\n{text}\n}}", "Corefile"), {}).blocks
    said: list[tuple[str, str]] = []

    def remark(directive: Directive, sentence: str) -> None:
        said.append((directive.name, sentence))

    return limits_of(block.directives[0], ("example.org",), remark), said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cache", Limits(3600, 1800)),
        ("cache 30", Limits(30, 30)),
        ("cache 30 example.org", Limits(30, 30)),
        ("cache example.org", Limits(3600, 1800)),
        ("cache {\n success 9984 30\n denial 9984 5\n}", Limits(30, 5)),
        ("cache 60 {\n denial 9984 5\n}", Limits(60, 5)),
        ("cache 60 {\n success 9984\n}", Limits(60, 60)),
        ("cache {\n disable denial\n}", Limits(3600, 0)),
        ("cache {\n serve_stale\n}", Limits(3600, 1800, 3600)),
        ("cache {\n serve_stale 2h30m\n}", Limits(3600, 1800, 9000)),
        ("cache {\n servfail 10s\n}", Limits(3600, 1800, None, 10)),
    ],
)
def test_carried_over_without_a_word(text: str, expected: Limits) -> None:
    assert limits(text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected", "about", "words"),
    [
        ("cache 30 sub.example.org", Limits(30, 30), "cache", "everything is cached"),
        ("cache 999999999", Limits(7 * 86400, 3 * 3600), "cache", "was cut to that"),
        ("cache {\n success 5000 60\n}", Limits(60, 1800), "success", "cache.memory"),
        ("cache {\n denial 9984 60 30\n}", Limits(3600, 60), "denial", "no least one"),
        ("cache {\n success many\n}", Limits(3600, 1800), "success", "not carried over"),
        ("cache {\n success\n}", Limits(3600, 1800), "success", "not carried over"),
        ("cache {\n prefetch 10 1m 20%\n}", Limits(3600, 1800), "prefetch", "last tenth"),
        ("cache {\n prefetch 0\n}", Limits(3600, 1800), "prefetch", "cache.prefetch: false"),
        ("cache {\n serve_stale 1h verify 100ms\n}", Limits(3600, 1800, 3600), "serve_stale", "client_response_timer"),
        ("cache {\n serve_stale soon\n}", Limits(3600, 1800), "serve_stale", "no duration"),
        ("cache {\n servfail\n}", Limits(3600, 1800), "servfail", "no duration"),
        ("cache {\n disable success\n}", Limits(1, 1800), "disable", "1 s is the least"),
        ("cache {\n disable denial sub.example.org\n}", Limits(3600, 1800), "disable", "zones of their own"),
        ("cache {\n keepttl\n}", Limits(3600, 1800), "keepttl", "what is left of it"),
        ("cache {\n new_option 1\n}", Limits(3600, 1800), "new_option", "not known here"),
    ],
)
def test_what_is_other_is_said(text: str, expected: Limits, about: str, words: str) -> None:
    found, said = limits(text)
    assert found == expected
    assert any(name == about and words in sentence for name, sentence in said), said
