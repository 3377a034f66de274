"""What holds for every test: Hypothesis asserts no time and draws the same examples where tests must run; Ctrl-C ends.

It ends programs that tests start too, where whoever started the tests has it ignored (`make test &`). Servers that are played
in this process are not held up by its collector. Where real daemons are measured on a real clock, a failure counts when it
happens three times in a row: a clock on shared cores says as much about the neighbours. At the end of the run each failure
before that is told in full, and only so many tests are run again at all (pyproject.toml).
"""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("here", deadline=None)  # how fast the machine is today is no property of the code
settings.register_profile("must_run", deadline=None, derandomize=True)  # new counter-examples belong on a desk
settings.load_profile("must_run" if os.environ.get("FORWARDER_TESTS_MUST_RUN") == "1" else "here")

signal.signal(signal.SIGINT, signal.default_int_handler)


MEASURED = tuple(Path(__file__).parent / folder for folder in ("scenarios", "incidents"))
AGAIN = pytest.mark.flaky(reruns=2, reruns_delay=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that are run again when they fail."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in MEASURED):
            item.add_marker(AGAIN)


@pytest.fixture(scope="module", autouse=True)
def _only_what_is_new_is_collected() -> None:
    """A collection then takes no time: of 190,000 objects, most of them the tests themselves, it is 0.1 to 0.2 s."""
    gc.collect()
    gc.freeze()
