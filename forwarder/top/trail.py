"""What was seen so far: the last moment, and how the figures moved to get there.

Pure. Always holds: a rate is worked out between two moments of the same daemon; where counting began anew there is a gap.
"""

from collections import deque
from dataclasses import dataclass, field

from forwarder.observe.overview import Moment, Overview, Pace, pace

KEPT = 600
"""Points; as many as the widest terminal has columns."""


@dataclass(slots=True)
class Trail:
    """What is drawn."""

    moment: Moment | None = None
    """The last one."""
    pace: Pace | None = None
    """Between the last two."""
    problem: str = ""
    """Why there is no later one; else empty."""
    ratios: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Hit ratio, 0 to 1, of each time between two moments; None where nothing was answered, or nobody said."""
    rates: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Queries a second."""

    def add(self, moment: Moment) -> None:
        """It said how it is."""
        before, self.moment, self.problem = self.moment, moment, ""
        is_next = before is not None and _is_before(before.overview, moment.overview)
        self.pace = pace(before.overview, moment.overview) if before is not None and is_next else moment.pace
        self.ratios.append(self.pace.hit_ratio if self.pace else None)
        self.rates.append(self.pace.queries if self.pace else None)

    def miss(self, problem: str) -> None:
        """It said nothing."""
        self.problem = problem
        self.ratios.append(None)
        self.rates.append(None)


def _is_before(before: Overview, now: Overview) -> bool:
    """Whether one counted on from the other: the same daemon, or one that took its counters over."""
    return before.at < now.at and all(now.sources.get(source, 0) >= count for source, count in before.sources.items())
