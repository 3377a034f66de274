"""Samples of all rounds, and what follows from them: medians, spreads, ratios.

Always holds: a ratio is made of two figures of the same round, and the median is taken of the ratios; machines wander by
half between rounds, and only neighbours can be compared.
"""

import statistics
from dataclasses import dataclass, field

from benchmarks.measurements import Sample

SATURATED = 0.95
"""From this share of its core on, the server and not the client was the limit."""
BY_RATE, BY_CPU = "rates", "CPU time per answer"


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times a figure of one peer is that of another, larger is better or not as the figure is."""

    spread: Spread
    basis: str
    """What was divided; for throughput, whether the server or the client was the limit decides."""


@dataclass(slots=True)
class Results:
    """All samples, in the order of the rounds."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    """(measurement, peer) -> one sample per round."""
    repeated: int = 0
    """Measurements that failed once and were made again."""

    def add(self, measurement: str, peer: str, sample: Sample) -> None:
        """Keep the sample of the current round."""
        self.samples.setdefault((measurement, peer), []).append(sample)

    def spread(self, measurement: str, peer: str, figure: str) -> Spread | None:
        """A figure over all rounds; none when it was not measured."""
        samples = self.samples.get((measurement, peer))
        return _spread([sample[figure] for sample in samples]) if samples else None

    def ratio(self, measurement: str, figure: str, peer: str, other: str) -> Ratio | None:
        """The peer's figure over the other's."""
        pairs = self._pairs(measurement, peer, other)
        return Ratio(_spread([ours[figure] / theirs[figure] for ours, theirs in pairs]), figure) if pairs else None

    def throughput_ratio(self, measurement: str, peer: str, other: str) -> Ratio | None:
        """How many times as many answers: rates where both servers were the limit, else the inverse of CPU per answer."""
        pairs = self._pairs(measurement, peer, other)
        if not pairs:
            return None
        limits = [statistics.median(sample["core_busy"] for sample in samples) for samples in zip(*pairs, strict=True)]
        if min(limits) >= SATURATED:
            return Ratio(_spread([ours["rate"] / theirs["rate"] for ours, theirs in pairs]), BY_RATE)
        return Ratio(_spread([theirs["cpu_us"] / ours["cpu_us"] for ours, theirs in pairs]), BY_CPU)

    def _pairs(self, measurement: str, peer: str, other: str) -> list[tuple[Sample, Sample]]:
        ours, theirs = (self.samples.get((measurement, name), []) for name in (peer, other))
        # A run that was broken off leaves one of them a round short.
        return list(zip(ours, theirs, strict=False))


def _spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
