"""The garbage collector put aside: the worker's is off, so what is made must be freed by reference counting alone.

It also runs whenever it likes, and Hypothesis has it call Python: what is counted while it may run is not the same twice.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collector() -> Iterator[None]:
    """In here nothing is freed but by reference counting, and nothing runs but what was called."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def no_garbage() -> Iterator[None]:
    """What happens in here leaves nothing that only the collector would find."""
    gc.collect()
    with no_collector():
        yield
        assert gc.collect() == 0
