"""Waiting for what must come: as long as it takes, and no longer than a test may hang."""

import time
from collections.abc import Callable

from tests.lab.clients import HANG

_STEP = 0.02
"""Seconds between two looks."""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until it holds; fails with `what` when it does not within HANG seconds."""
    until = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < until, f"not within {HANG:.0f} s: {what}"
        time.sleep(_STEP)
