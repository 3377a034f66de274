"""TLS between a connection and its socket: who the server must prove to be, and a socket that sends and receives through it.

Strict (RFC 8310 section 5): a server that does not prove to be who it should is asked nothing, and nothing else is tried with
it. The records are made and read in memory, so that one `recv` takes all that has come, however many records that is. Never
reads a file and never blocks. Always holds: no octet of a query leaves before the handshake is done and the certificate
checked; a certificate that is refused is said in one line, and again only when something else is wrong.
"""

import logging
import math
import socket
import ssl
from contextlib import suppress

from forwarder.upstream.network import Address
from forwarder.upstream.readiness import READ, WRITE
from forwarder.upstream.servers import Failed

logger = logging.getLogger(__name__)

RECEIVE_SIZE = 65536
QUIET_SECONDS = 10.0
"""Between two complaints about one server, for a name whose servers fail each in a way of its own."""

EXPIRED, NOT_YET_VALID, HOSTNAME_MISMATCH = 10, 9, 62
UNKNOWN_ISSUERS = (18, 19, 20, 21)
"""Verify results of OpenSSL (x509_vfy.h); the last four: signed by itself, by an authority unknown here, or none sent along."""


def context_for(authorities: bytes) -> ssl.SSLContext:
    """What all connections share that trust these certificates (DER, one after the other). Raises ssl.SSLError for others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # certificate and name are checked
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996: what was before it is not to be used
    context.hostname_checks_common_name = False  # RFC 8310 section 8.1: the name is in subjectAltName
    context.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9325 section 3.5: TLS 1.2 would begin again in the middle
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # what the operator trusts ends the chain, root or not
    context.load_verify_locations(cadata=authorities)
    return context


class ServerIdentity:
    """Who one upstream must prove to be, and how it last went."""

    __slots__ = ("_context", "_is_wrong", "_name", "_said_at", "session", "text")

    def __init__(self, context: ssl.SSLContext, address: Address, name: str) -> None:
        self._context = context
        self._name = name
        self._is_wrong = ""
        self._said_at = -math.inf
        self.text = f"{address.text}@{name}"
        """As people write it: `192.0.2.1:853@dns.example`."""
        self.session: ssl.SSLSession | None = None
        """Of the last connection that was answered; the next handshake is shorter with it (RFC 8446 section 2.2)."""

    def tls(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """One connection's TLS; SNI names the server."""
        return self._context.wrap_bio(incoming, outgoing, server_hostname=self._name, session=self.session)

    def proved(self) -> None:
        """A handshake succeeded."""
        self._is_wrong = ""

    def failed(self, error: ssl.SSLError, now: float) -> None:
        """A handshake did not: say why, unless that was said already."""
        self.session = None
        wrong = self._reason(error)
        if wrong != self._is_wrong and now - self._said_at >= QUIET_SECONDS:
            self._is_wrong, self._said_at = wrong, now
            logger.warning("upstream %s is not used: %s", self.text, wrong)

    def _reason(self, error: ssl.SSLError) -> str:
        """What is wrong, and the mend."""
        if not isinstance(error, ssl.SSLCertVerificationError):
            return f"no TLS came about ({error.reason or error}): does it serve DNS over TLS, 1.2 or newer, at this port?"
        if error.verify_code == HOSTNAME_MISMATCH:
            return f"its certificate is not for {self._name}: write a name behind @ that stands in its subjectAltName"
        if error.verify_code == EXPIRED:
            return "its certificate has expired: renew it there, or set the clock of this host"
        if error.verify_code == NOT_YET_VALID:
            return "its certificate is not valid yet: set the clock of this host"
        if error.verify_code in UNKNOWN_ISSUERS:
            return f"nobody trusted here vouches for its certificate ({error.verify_message}): name who does in ca_file"
        return f"its certificate is refused ({error.verify_message}): mend it there"


class TlsSocket:
    """What `connection.Connection` uses of a socket, through TLS; made around a TCP socket that is connected or about to be."""

    __slots__ = ("_identity", "_incoming", "_is_new", "_outgoing", "_sealed", "_sealed_for", "_tcp", "_tls", "fileno")

    def __init__(self, tcp: socket.socket, identity: ServerIdentity) -> None:
        self._tcp = tcp
        self._identity = identity
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = identity.tls(self._incoming, self._outgoing)
        self._sealed = b""
        """Records that have not left."""
        self._sealed_for = 0
        """Octets at the front of what is to be sent next that are in these records already."""
        self._is_new = True
        self.fileno = tcp.fileno

    def handshake(self, now: float) -> int | Failed:
        """Go on with it once TCP is connected: 0 when it is done, which of READ and WRITE to wait for, or why there is none."""
        try:
            self._take_in()
            self._tls.do_handshake()
            self._put_out()
        except ssl.SSLWantReadError:
            return self._wanted()
        except ssl.SSLError as error:
            self._identity.failed(error, now)
            return Failed.CERTIFICATE if isinstance(error, ssl.SSLCertVerificationError) else Failed.NETWORK
        except OSError:
            return Failed.NETWORK
        self._identity.proved()
        return 0

    def send(self, data: bytes) -> int:
        """All of it or BlockingIOError: then what is sent next is to begin with the same octets. Raises OSError."""
        rest = memoryview(data)[self._sealed_for :]
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._sealed_for = len(data)
        self._put_out()
        if self._sealed:
            raise BlockingIOError
        self._sealed_for = 0
        return len(data)

    def recv(self, size: int) -> bytes:
        """What has come, all of it; empty at the end. Raises BlockingIOError when nothing has, OSError."""
        data = self._tcp.recv(size)
        if not data:
            return b""
        self._incoming.write(data)
        pieces = []
        try:
            while piece := self._tls.read(RECEIVE_SIZE):
                pieces.append(piece)
            self._tcp.shutdown(socket.SHUT_RD)  # the server took leave: the next `recv` is the end, and there will be one
        except ssl.SSLWantReadError:
            pass
        if self._outgoing.pending:
            self._put_out()  # it asked for new keys (RFC 8446 section 4.6.3)
        if not pieces:
            raise BlockingIOError
        if self._is_new:
            self._is_new = False
            self._identity.session = self._tls.session  # not before: TLS 1.3 has it sent behind the handshake
        return b"".join(pieces)

    def close(self) -> None:
        """Take leave of the server and close."""
        with suppress(OSError):
            self._tls.unwrap()
        with suppress(OSError):
            self._put_out()
        self._tcp.close()

    def _take_in(self) -> None:
        try:
            data = self._tcp.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError
        self._incoming.write(data)

    def _wanted(self) -> int | Failed:
        """The handshake waits for the server, and to have written."""
        try:
            self._put_out()
        except OSError:
            return Failed.NETWORK
        return READ | WRITE if self._sealed else READ

    def _put_out(self) -> None:
        """Send what there is, as far as the socket takes it."""
        self._sealed += self._outgoing.read()
        if self._sealed:
            with suppress(BlockingIOError):
                self._sealed = self._sealed[self._tcp.send(self._sealed) :]
