"""What holds for every test: Hypothesis asserts no time and draws the same examples where tests must run; Ctrl-C ends.

It ends programs that tests start too, where whoever started the tests has it ignored (`make test &`). Servers that are played
in this process are not held up by its collector. What was measured while the machine stood still is measured again.
"""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.lab.measured_again import MeasuredAgain

settings.register_profile("here", deadline=None)  # how fast the machine is today is no property of the code
settings.register_profile("must_run", deadline=None, derandomize=True)  # new counter-examples belong on a desk
settings.load_profile("must_run" if os.environ.get("FORWARDER_TESTS_MUST_RUN") == "1" else "here")

signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Have the tests of real daemons with a real clock watched."""
    here = Path(__file__).parent
    config.pluginmanager.register(MeasuredAgain((here / "scenarios", here / "incidents")))


@pytest.fixture(scope="module", autouse=True)
def _only_what_is_new_is_collected() -> None:
    """A collection then takes no time: of 190,000 objects, most of them the tests themselves, it is 0.1 to 0.2 s."""
    gc.collect()
    gc.freeze()
