"""Figures as scrapers read them: Prometheus' text format, version 0.0.4.

Pure. Never writes a timestamp, nor a name or label that it was not given. Always holds: whatever a label's value is, its series
stays one line (format: prometheus.io/docs/instrumenting/exposition_formats).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format every scraper reads; one format only, so that no Accept header has to be understood."""
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
SERIES_REMEMBERED = 8192
"""Written out once: a daemon with all its rows for upstreams has 4,000. A scrape is a moment that the core could answer in."""

Labels = tuple[str, ...]
"""Values, in the order of the family's label names."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric and its series."""

    name: str
    """Without `_total`, `_bucket`, `_sum` and `_count`."""
    kind: str
    sentence: str
    """For HELP."""
    labels: Labels = ()
    """Names of the labels of every series."""
    lines: list[str] = field(default_factory=list)

    def add(self, values: Labels, figure: float) -> None:
        """One series of a counter or a gauge."""
        suffix = "_total" if self.kind == COUNTER else ""
        self.lines.append(f"{_series(self.name + suffix, self.labels, values)} {figure}")

    def add_histogram(self, values: Labels, buckets: Iterable[tuple[str, int]], total: float) -> None:
        """One histogram: upper bounds with how many were no longer, the last of them all; and the sum."""
        count = 0
        names = (*self.labels, "le")
        for bound, count in buckets:
            self.lines.append(f"{_series(self.name + '_bucket', names, (*values, bound))} {count}")
        self.lines.append(f"{_series(self.name + '_count', self.labels, values)} {count}")
        self.lines.append(f"{_series(self.name + '_sum', self.labels, values)} {total}")


def counter(name: str, sentence: str, figure: float) -> Family:
    """A counter of one series."""
    return _single(Family(name, COUNTER, sentence), figure)


def gauge(name: str, sentence: str, figure: float) -> Family:
    """A gauge of one series."""
    return _single(Family(name, GAUGE, sentence), figure)


def written(families: Iterable[Family]) -> bytes:
    """The whole page. A family without series is left out."""
    lines: list[str] = []
    for family in families:
        if family.lines:
            name = f"{family.name}_total" if family.kind == COUNTER else family.name
            lines.append(f"# HELP {name} {_escaped(family.sentence)}")
            lines.append(f"# TYPE {name} {family.kind}")
            lines += family.lines
    lines.append("")
    return "\n".join(lines).encode()


def _single(family: Family, figure: float) -> Family:
    family.add((), figure)
    return family


@lru_cache(SERIES_REMEMBERED)
def _series(name: str, labels: Labels, values: Labels) -> str:
    if not labels:
        return name
    pairs = (f'{label}="{_escaped(value, quotes=True)}"' for label, value in sorted(zip(labels, values, strict=True)))
    return f"{name}{{{','.join(pairs)}}}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text
