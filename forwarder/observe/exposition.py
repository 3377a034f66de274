"""Figures as scrapers read them: families of series, and the page of them all in Prometheus' text format.

Never writes a timestamp, nor a name or label that it was not given. Always holds: whatever a label's value is, its series stays
one line.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import Metric, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format every scraper reads; one format only, so that no Accept header has to be understood."""
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

Labels = tuple[str, ...]
"""Values, in the order of the family's label names."""


class Family:
    """One metric and its series."""

    def __init__(self, name: str, kind: str, sentence: str, labels: Labels = ()) -> None:
        """`name` is without `_total`, `_bucket`, `_sum`, `_count`; `sentence` is for HELP; `labels`: names, of each series."""
        self.metric = Metric(name, sentence, kind)
        self._labels = labels

    def add(self, values: Labels, figure: float) -> None:
        """One series of a counter or a gauge."""
        suffix = "_total" if self.metric.type == COUNTER else ""
        self._add(suffix, self._labelled(values), figure)

    def add_histogram(self, values: Labels, buckets: Iterable[tuple[str, int]], total: float) -> None:
        """One histogram: upper bounds with how many were no longer, the last of them all; and the sum."""
        count = 0
        labelled = self._labelled(values)
        for bound, count in buckets:
            self._add("_bucket", {**labelled, "le": bound}, count)
        self._add("_count", labelled, count)
        self._add("_sum", labelled, total)

    def _labelled(self, values: Labels) -> dict[str, str]:
        return dict(zip(self._labels, values, strict=True))

    def _add(self, suffix: str, labelled: dict[str, str], figure: float) -> None:
        self.metric.add_sample(self.metric.name + suffix, labelled, figure)


def counter(name: str, sentence: str, figure: float) -> Family:
    """A counter of one series."""
    return _single(Family(name, COUNTER, sentence), figure)


def gauge(name: str, sentence: str, figure: float) -> Family:
    """A gauge of one series."""
    return _single(Family(name, GAUGE, sentence), figure)


def written(families: Iterable[Family]) -> bytes:
    """The whole page. A family without series is left out."""
    return generate_latest(_Page(families))


def _single(family: Family, figure: float) -> Family:
    family.add((), figure)
    return family


@dataclass(frozen=True, slots=True)
class _Page:
    """What `generate_latest` wants of a registry."""

    families: Iterable[Family]

    def collect(self) -> Iterator[Metric]:
        """One after the other, and whoever waits for the core comes between: on a small node it answers queries."""
        for family in self.families:
            os.sched_yield()
            if family.metric.samples:
                yield family.metric
