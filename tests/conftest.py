"""What holds for every test: Hypothesis asserts no time, and draws the same examples in every run that must pass."""

import os

from hypothesis import settings

settings.register_profile("here", deadline=None)  # how fast the machine is today is no property of the code
settings.register_profile("must_run", deadline=None, derandomize=True)  # new counter-examples belong on a desk
settings.load_profile("must_run" if os.environ.get("FORWARDER_TESTS_MUST_RUN") == "1" else "here")
