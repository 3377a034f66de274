"""An event loop whose clock stands still until it is told, over real descriptors of this process.

It offers what the worker's rooms use of asyncio's: readers, writers and `call_later`; anything else is an AttributeError.
Always holds: everything runs in the calling thread; when `settle` returns, whatever was sent over loopback has arrived and
nobody has anything left to do at this time; `pass_time` goes from timer to timer and settles after each.
"""

import heapq
import itertools
import os
import select
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

START = 1000.0
"""Seconds the clock shows first: any number but zero, as a host that has run for a while."""
HANG = 10.0
"""Seconds of real time for a datagram over loopback; it takes microseconds."""
QUIET_ROUNDS = 3
"""Looks without anything to do before it is believed: a TCP handshake is three segments, each queued by the one before."""
MAX_ROUNDS = 100_000
"""Looks in one settling: more is a callback that never takes what it is called for."""

Callback = Callable[[], None]


class VirtualLoop:
    """To be used as a context: the thread stays on one processor in it, so that loopback keeps its order."""

    def __init__(self) -> None:
        self.now = START
        self._poll = select.poll()
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Callback]] = []
        self._numbers = itertools.count()
        self._probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._probe.bind(("127.0.0.1", 0))
        self._probe.connect(self._probe.getsockname())
        self._probe.settimeout(HANG)
        self._processors = os.sched_getaffinity(0)

    def __enter__(self) -> Self:
        os.sched_setaffinity(0, {min(self._processors)})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        os.sched_setaffinity(0, self._processors)
        self._probe.close()
        self._readers.clear()
        self._writers.clear()
        self._timers.clear()

    def clock(self) -> float:
        """The time, seconds; what the worker takes for its clock."""
        return self.now

    def add_reader(self, descriptor: int, callback: Callback) -> None:
        """Call it when there is something to read."""
        self._readers[descriptor] = callback
        self._register(descriptor)

    def remove_reader(self, descriptor: int) -> bool:
        """Whether it was watched."""
        found = self._readers.pop(descriptor, None) is not None
        self._register(descriptor)
        return found

    def add_writer(self, descriptor: int, callback: Callback) -> None:
        """Call it when there is room to write."""
        self._writers[descriptor] = callback
        self._register(descriptor)

    def remove_writer(self, descriptor: int) -> bool:
        """Whether it was watched."""
        found = self._writers.pop(descriptor, None) is not None
        self._register(descriptor)
        return found

    def call_later(self, delay: float, callback: Callback) -> None:
        """Call it once, `delay` seconds from now, when time passes."""
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), callback))

    def settle(self) -> None:
        """Serve descriptors until nothing is ready and nothing is on its way; no time passes."""
        quiet = 0
        for _ in range(MAX_ROUNDS):
            quiet = 0 if self._serve() else quiet + 1
            if quiet == QUIET_ROUNDS:
                return
            self._await_loopback()
        raise AssertionError("the descriptors do not settle: something is called again and again and takes nothing")

    def pass_time(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Let so much time pass, timer by timer; stop where it is `enough`."""
        until = self.now + seconds
        self.settle()
        while not enough():
            if not self._timers or self._timers[0][0] > until:
                self.now = until
                return
            due, _, callback = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            callback()
            self.settle()

    def _serve(self) -> bool:
        """Call whoever is ready, once; whether anybody was."""
        ready = self._poll.poll(0)
        for descriptor, events in ready:
            assert not events & select.POLLNVAL, f"descriptor {descriptor} was closed while it was watched"
            if events & ~select.POLLOUT and (reader := self._readers.get(descriptor)):
                reader()
            if events & ~select.POLLIN and (writer := self._writers.get(descriptor)):
                writer()
        return bool(ready)

    def _await_loopback(self) -> None:
        """Send a datagram behind all others, and wait for it: on one processor loopback is one queue."""
        self._probe.send(b"\0")
        self._probe.recv(1)

    def _register(self, descriptor: int) -> None:
        events = (select.POLLIN if descriptor in self._readers else 0) | (select.POLLOUT if descriptor in self._writers else 0)
        if events:
            self._poll.register(descriptor, events)
            return
        try:
            self._poll.unregister(descriptor)
        except KeyError:
            return
