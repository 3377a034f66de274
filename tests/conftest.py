"""What holds for every test: Hypothesis asserts no time and draws the same examples where tests must run; Ctrl-C ends.

It ends programs that tests start too, where whoever started the tests has it ignored (`make test &`).
"""

import os
import signal

from hypothesis import settings

settings.register_profile("here", deadline=None)  # how fast the machine is today is no property of the code
settings.register_profile("must_run", deadline=None, derandomize=True)  # new counter-examples belong on a desk
settings.load_profile("must_run" if os.environ.get("FORWARDER_TESTS_MUST_RUN") == "1" else "here")

signal.signal(signal.SIGINT, signal.default_int_handler)
