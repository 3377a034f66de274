"""The last minutes: one `Pace` a second, and from where the warnings look back.

Never asks anybody: it is told. Always holds: it takes the same memory after a year as after ten minutes.
"""

from collections import deque

from forwarder.observe.overview import Overview, Pace, pace

KEPT_SECONDS = 600
"""As long as a person who opens the page late wants to look back; Prometheus has the rest."""
BASELINE_SECONDS = 60.0
"""Between two overviews that are kept: what happened "lately" began nine to ten minutes ago."""
BASELINES = 10


class History:
    """What was, as far as it is kept."""

    def __init__(self) -> None:
        self.paces: deque[Pace] = deque(maxlen=KEPT_SECONDS)
        """The oldest first."""
        self._last: Overview | None = None
        self._baselines: deque[Overview] = deque(maxlen=BASELINES)

    @property
    def former(self) -> Overview | None:
        """The oldest overview that is kept: ten minutes old, or the first there was; None before that."""
        return self._baselines[0] if self._baselines else None

    def add(self, now: Overview) -> None:
        """This is how it is now, a second or so later than the one before. A clock that was set back begins anew."""
        if self._last is not None and now.at <= self._last.at:
            self._last = None
            self._baselines.clear()
            self.paces.clear()
        if self._last is not None:
            self.paces.append(pace(self._last, now))
        self._last = now
        if not self._baselines or now.at - self._baselines[-1].at >= BASELINE_SECONDS:
            self._baselines.append(now)
