"""What is measured while the machine itself stands still is measured again: a clock says nothing at such times.

It is a plugin of pytest for the tests of real daemons with a real clock; those of pure code keep their first result. Always
holds: without a standstill that explains it a failure is a failure, and at the end each test that was run again is named.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab.standstills import Standstills

TIMES = 2
"""How often a test is run again at most."""
LATE = 0.02
"""Seconds. What is shorter busy programs do to each other."""
LONG = 0.1
"""Seconds of one standstill: the daemon, its clients and its upstreams have such times for what they measure."""
SHARE = 0.05
"""Of a test's time. Usually it is a fiftieth at most."""


class MeasuredAgain:
    """Watches the machine while tests below one of these folders run: what others start is theirs alone."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._machine = Standstills(LATE)
        self._is_watching = False
        self._begun = 0.0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark these tests."""
        for item in items:
            if any(item.path.is_relative_to(folder) for folder in self._folders):
                item.add_marker(pytest.mark.flaky(reruns=TIMES, condition=self._is_explained))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test begins, for the first time or again."""
        self._watch(is_wanted=item.get_closest_marker("flaky") is not None)
        self._begun = time.monotonic()

    def pytest_unconfigure(self) -> None:
        """All tests are over."""
        self._watch(is_wanted=False)

    def _watch(self, *, is_wanted: bool) -> None:
        if is_wanted and not self._is_watching:
            self._machine.__enter__()
        elif self._is_watching and not is_wanted:
            self._machine.__exit__(None, None, None)
        self._is_watching = is_wanted

    def _is_explained(self) -> bool:
        """Whether the machine stood still too long, since the test began, to believe what it measured."""
        now = time.monotonic()
        self._machine.look()
        longest, total = self._machine.longest(self._begun, now), self._machine.between(self._begun, now)
        return longest > LONG or total > max(LONG, SHARE * (now - self._begun))
