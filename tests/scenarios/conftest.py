"""The stage that the scenarios of one file share: a daemon with default settings before one scripted upstream.

Each scenario uses names of its own, so that what one was told is no memory of another's. One whose upstream is silent or
fails sets up its own stage: what the daemon thinks of an upstream must not leak into the next scenario.
"""

from collections.abc import Iterator

import pytest

from tests.lab.behaviours import TRUTH
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage, staged


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Daemon and scripted upstream, for all scenarios of the file."""
    with staged() as made:
        yield made


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """One that tells the truth, for a scenario that starts its daemon itself."""
    with ScriptedUpstream() as made:
        made.default = TRUTH
        yield made
