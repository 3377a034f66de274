"""The text that scrapers read, read by a parser of it: every figure comes back, whatever is in a label."""

import pytest

from forwarder.observe.exposition import COUNTER, GAUGE, HISTOGRAM, Family, counter, gauge, written
from tests.lab.scraped import Scraped


def test_single_figures() -> None:
    assert written([counter("sheep", "How many; all of them.", 3), gauge("wool", "Kilograms.", 1.5)]).decode() == (
        "# HELP sheep_total How many; all of them.\n# TYPE sheep_total counter\nsheep_total 3.0\n"
        "# HELP wool Kilograms.\n# TYPE wool gauge\nwool 1.5\n"
    )


def test_nothing_is_an_empty_page() -> None:
    assert written([]) == b""


def test_a_family_without_series_is_left_out() -> None:
    assert written([Family("sheep", COUNTER, "How many.", ("colour",))]) == b""


@pytest.mark.parametrize("value", ["", "black", 'a "b"', "\\", "\\n", "\n# HELP x y\nx 1", "\r", "\t", "<b>", "ä", "a,b=}c{"])
def test_whatever_a_label_says_it_stays_one_series(value: str) -> None:
    family = Family("sheep", GAUGE, 'How\nmany \\ of "them".', ("colour", "size"))
    family.add((value, "large"), 2)
    page = written([family]).decode()
    assert page.count("\n") == 3
    (sample,) = Scraped(page).families["sheep"].samples
    assert (sample.labels, sample.value) == ({"colour": value, "size": "large"}, 2)


def test_a_histogram() -> None:
    family = Family("seconds", HISTOGRAM, "How long.", ("colour",))
    family.add_histogram(("black",), [("0.1", 2), ("1.0", 2), ("+Inf", 5)], 12.5)
    page = Scraped(written([family]).decode())
    assert page.families["seconds"].type == "histogram"
    assert page.value("seconds_bucket", colour="black", le="0.1") == 2
    assert page.value("seconds_bucket", colour="black", le="+Inf") == 5
    assert page.value("seconds_count", colour="black") == 5
    assert page.value("seconds_sum", colour="black") == 12.5
