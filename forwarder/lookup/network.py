"""The sockets of a lookup: does what a resolver says, and says what came of it.

Decides nothing. Always holds: it waits no longer than it is told, beyond what the operating system takes; all sockets are
closed when the `with` is left; errors of the network are events, never exceptions.
"""

import errno
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from forwarder.errors import WireError
from forwarder.lookup.steps import Action, Arrived, Await, Break, Broken, Close, Done, Event, Kind, Link, Send, TimeOut
from forwarder.wire.framing import Deframer, framed

LARGEST = 65535
SILENCE_BEFORE_TELLING = 1.0
"""Seconds of waiting before whoever watches is told what is waited for."""
REASONS = {
    errno.ECONNREFUSED: Break.NO_LISTENER,
    errno.ECONNRESET: Break.RESET,
    errno.EPIPE: Break.RESET,
}


def endpoint(server: str) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """`ADDRESS:PORT` as the socket module wants it; a scope (`%eth0`) becomes its number. Raises OSError for an unknown one."""
    host, _, port = server.rpartition(":")
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    found = socket.getaddrinfo(host.strip("[]").encode(), port, flags=flags)  # a str would load the IDNA tables
    family, _, _, _, address = found[0]
    return family, address


class _Socket:
    """One socket of ours."""

    def __init__(self, link: Link) -> None:
        family, address = endpoint(link.server)
        self.link = link
        self.is_connecting = link.kind is Kind.STREAM
        self.deframer = Deframer()
        self.unsent = b""
        self.socket = socket.socket(family, socket.SOCK_STREAM if self.is_connecting else socket.SOCK_DGRAM)
        self.socket.settimeout(0)
        try:
            if link.kind is not Kind.FREE:
                with suppress(BlockingIOError):  # a stream that is being dialled
                    self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise


class Network:
    """The sockets of one lookup. `watch` is told what is waited for, and how many seconds at most, when it takes long."""

    def __init__(self, watch: Callable[[Await, float], None]) -> None:
        self._watch = watch
        self._sockets: dict[tuple[str, socket.AddressFamily], _Socket] = {}
        self._links: dict[object, Link] = {}
        """Where a free socket's queries went -> their link."""
        self._events: deque[Arrived | Broken] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for one in self._sockets.values():
            one.socket.close()
        self._sockets.clear()

    def do(self, action: Action) -> Event:
        """The event that an action ends with. Where that is no waiting, its time is that of the beginning."""
        now = time.monotonic()
        if isinstance(action, Await):
            return self._await(action)
        if isinstance(action, Send):
            self._send(action)
        elif isinstance(action, Close):
            for key in [key for key in self._sockets if key[0] == action.link.label]:
                self._sockets.pop(key).socket.close()
            self._events = deque(event for event in self._events if event.link.label != action.link.label)
        return Done(now)

    def _send(self, action: Send) -> None:
        link = action.link
        try:
            one = self._socket(link)
            for query in action.queries:
                if link.kind is Kind.STREAM:
                    one.unsent += framed(query.message)
                elif link.kind is Kind.CONNECTED:
                    one.socket.send(query.message)
                else:
                    self._send_freely(one, link, query.message)
            if link.kind is Kind.STREAM and not one.is_connecting:
                self._write(one)
        except OSError as error:
            if link.kind is not Kind.FREE:
                self._broke(link, error)

    def _send_freely(self, one: _Socket, link: Link, message: bytes) -> None:
        """musl does not look at what became of a datagram."""
        _, address = endpoint(link.server)
        self._links[one.link.label, address] = link
        with suppress(OSError):
            one.socket.sendto(message, address)

    def _socket(self, link: Link) -> _Socket:
        key = (link.label, endpoint(link.server)[0])
        if key not in self._sockets:
            self._sockets[key] = _Socket(link)
        return self._sockets[key]

    def _await(self, action: Await) -> Event:
        labels = {link.label for link in action.links}
        told = False
        begun = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for key, one in self._sockets.items():
                if key[0] in labels:
                    wants = selectors.EVENT_WRITE if one.is_connecting or one.unsent else 0
                    selector.register(one.socket, selectors.EVENT_READ | wants, one)
            while True:
                event = next((event for event in self._events if event.link.label in labels), None)
                if event is not None:
                    self._events.remove(event)
                    return event
                now = time.monotonic()
                if now >= action.until:
                    return TimeOut(now)
                if not told and now - begun >= SILENCE_BEFORE_TELLING:
                    told = True
                    self._watch(action, action.until - now)
                pause = action.until - now if told else min(action.until, begun + SILENCE_BEFORE_TELLING) - now
                for ready, mask in selector.select(max(pause, 0)):
                    self._use(ready.data, mask)
                    wants = selectors.EVENT_WRITE if ready.data.is_connecting or ready.data.unsent else 0
                    selector.modify(ready.fileobj, selectors.EVENT_READ | wants, ready.data)

    def _use(self, one: _Socket, mask: int) -> None:
        """A socket is ready."""
        try:
            if mask & selectors.EVENT_WRITE:
                one.is_connecting = False
                self._write(one)
            if mask & selectors.EVENT_READ:
                self._read(one)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._broke(one.link, error)

    def _write(self, one: _Socket) -> None:
        sent = one.socket.send(one.unsent) if one.unsent else 0
        one.unsent = one.unsent[sent:]

    def _read(self, one: _Socket) -> None:
        if one.link.kind is not Kind.STREAM:
            message, source = one.socket.recvfrom(LARGEST)
            link = self._links.get((one.link.label, source)) if one.link.kind is Kind.FREE else one.link
            if link is not None:
                self._events.append(Arrived(time.monotonic(), link, message))
            return
        octets = one.socket.recv(LARGEST)
        now = time.monotonic()
        if not octets:
            self._events.append(Broken(now, one.link, Break.CLOSED))
            return
        try:
            self._events += [Arrived(now, one.link, message) for message in one.deframer.messages_in(octets)]
        except WireError:
            self._events.append(Broken(now, one.link, Break.GARBLED))

    def _broke(self, link: Link, error: OSError) -> None:
        why = REASONS.get(error.errno or 0, Break.UNREACHABLE)
        self._events.append(Broken(time.monotonic(), link, why))
