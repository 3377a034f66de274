"""All sockets towards upstreams behind one descriptor: an epoll of our own, itself watched by the loop.

One call of the loop then serves every socket that has something, and output is written once after them all. Always holds: a
socket that was forgotten is not called any more, even within the same turn.
"""

import select
from collections.abc import Callable

from forwarder.upstream.turn import Turn

AT_ONCE = 128
"""Sockets served per turn, so that clients' queries are not kept waiting behind a flood of responses."""
READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Readiness:
    """Which upstream sockets have something to read, or room to write."""

    __slots__ = ("_called", "_epoll", "_turn")

    def __init__(self, turn: Turn) -> None:
        self._epoll = select.epoll()
        self._called: dict[int, Callable[[int], None]] = {}
        self._turn = turn

    def fileno(self) -> int:
        """The descriptor that the loop watches."""
        return self._epoll.fileno()

    def watch(self, descriptor: int, on_ready: Callable[[int], None], events: int = READ) -> None:
        """Call `on_ready` with the epoll events whenever there are some (level-triggered)."""
        self._called[descriptor] = on_ready
        self._epoll.register(descriptor, events)

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events from now on."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Before the socket is closed, which takes it out of the epoll."""
        del self._called[descriptor]

    def serve(self) -> None:
        """Begin a turn, call whoever has something, end the turn."""
        self._turn.begin()
        called = self._called
        for descriptor, events in self._epoll.poll(0, AT_ONCE):
            on_ready = called.get(descriptor)
            if on_ready is not None:
                on_ready(events)
        self._turn.end()

    def close(self) -> None:
        """Nothing is watched any more."""
        self._epoll.close()
