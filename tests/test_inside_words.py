"""Figures as people read them, and text that is safe in a terminal."""

import pytest

from forwarder.inside import words
from tests.lab.moments import HOSTILE


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (words.counted(12_345_678), "12,345,678"),
        (words.rate(0.0), "0/s"),
        (words.rate(0.34), "0.3/s"),
        (words.rate(1204.4), "1,204/s"),
        (words.ratio(None), "-"),
        (words.ratio(0.9739), "97.3 %"),
        (words.ratio(0.99999), "99.9 %"),
        (words.ratio(1.0), "100.0 %"),
        (words.duration(None), "-"),
        (words.duration(8e-6), "8 us"),
        (words.duration(0.00042), "0.42 ms"),
        (words.duration(0.0123), "12 ms"),
        (words.duration(0.4), "400 ms"),
        (words.duration(1.8), "1.80 s"),
        (words.span(45.9), "45 s"),
        (words.span(-1), "0 s"),
        (words.span(720), "12 min"),
        (words.span(11_520), "3 h 12 min"),
        (words.span(5 * 86_400 + 3 * 3600), "5 d 3 h"),
        (words.mebioctets(12_900_000), "12.3 MiB"),
    ],
)
def test_as_people_read_it(told: str, text: str) -> None:
    assert told == text


def test_what_does_not_print_is_shown_and_not_done() -> None:
    assert words.tame("www.example. 100 %") == "www.example. 100 %"
    told = words.tame(HOSTILE)
    assert told.isascii()
    assert told.isprintable()
    assert told.startswith("\\u001b[2J\\u001b]0;owned\\u0007 [red]")
