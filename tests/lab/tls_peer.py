"""A TLS server of the standard library in a thread, one connection after the other, whose talk the test plays.

Always holds: inside its `with` only; a connection that ends badly ends alone.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from forwarder.upstream.network import Address, address_for
from tests.lab.clients import HANG

Served = Callable[[ssl.SSLSocket], None]


class TlsPeer:
    """A server of this certificate; `serve` plays each of its connections after the handshake, `greet` what comes before it."""

    def __init__(self, context: ssl.SSLContext, serve: Served, *, greet: Callable[[socket.socket], None] | None = None) -> None:
        self._context = context
        self._serve, self._greet = serve, greet
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(HANG)
        self.address: Address = address_for("127.0.0.1", self._listener.getsockname()[1])
        self.dialled = 0
        self.secured: list[tuple[str | None, bool]] = []
        """Of each connection: TLS version, and whether a session was taken up again."""
        self.asked_for: list[str | None] = []
        """The names that clients gave (SNI)."""
        context.sni_callback = self._note_name
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._is_over.set()
        with suppress(OSError), socket.create_connection(self.address.sockaddr[:2]):
            pass  # what it waits for in `accept`
        self._thread.join()
        self._listener.close()

    def _note_name(self, _tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self.asked_for.append(name)

    def _run(self) -> None:
        while not self._is_over.is_set():
            connection, _ = self._listener.accept()
            connection.settimeout(HANG)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection, suppress(OSError):
                if self._is_over.is_set():
                    return
                self.dialled += 1
                if self._greet is not None:
                    self._greet(connection)
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self.secured.append((secured.version(), bool(secured.session_reused)))
                    self._serve(secured)


def read(connection: ssl.SSLSocket, size: int) -> bytes:
    octets = b""
    while len(octets) < size:
        more = connection.recv(size - len(octets))
        if not more:
            raise ConnectionResetError
        octets += more
    return octets


def receive(connection: ssl.SSLSocket) -> bytes:
    """The next query."""
    return read(connection, int.from_bytes(read(connection, 2)))
