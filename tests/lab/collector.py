"""The garbage collector put aside: the worker's is off, so what is made must be freed by reference counting alone.

It also runs whenever it likes, and Hypothesis has it call Python: what is counted while it may run is not the same twice.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def no_collector() -> Iterator[None]:
    """In here nothing is freed but by reference counting, and nothing runs but what was called."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def garbage_after(action: Callable[[], None], times: int = 1000) -> int:
    """Unreachable objects that only the collector finds, after so many times; once before, for what is made only once."""
    action()
    while gc.collect():  # coroutines that other tests left are closed, and what their last lines hold is found the next time
        pass
    with no_collector():
        for _ in range(times):
            action()
        return gc.collect()
