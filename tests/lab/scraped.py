"""The text of /metrics, read the way Prometheus reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from forwarder.observe import metrics


@dataclass(frozen=True)
class Scraped:
    """One page of figures."""

    text: str

    @cached_property
    def families(self) -> Mapping[str, Metric]:
        """By name."""
        found = list(text_string_to_metric_families(self.text))
        assert len({family.name for family in found}) == len(found), "a family stands there twice"
        return {family.name: family for family in found}

    def values(self, name: str, **labels: str) -> list[float]:
        """Of every series of this name with these labels."""
        return [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Of the one series there is."""
        (value,) = self.values(name, **labels)
        return value

    def labels(self, name: str) -> set[frozenset[str]]:
        """The names of the labels that series of this name have."""
        samples = (sample for family in self.families.values() for sample in family.samples)
        return {frozenset(sample.labels) for sample in samples if sample.name == name}


def scraped(slots: Sequence[int], figures: metrics.Figures) -> Scraped:
    """What is shown of these counters and figures."""
    return Scraped(metrics.rendered(metrics.Collector(lambda: slots, lambda: figures)).decode())
