"""A glibc that waits for nothing: how `send_dg` of 2.17 to 2.40 asks for A and AAAA of a name, before bug 30081 was mended.

What it models, for one nameserver, `timeout:5` and `attempts:2`, its defaults:

- A and AAAA leave one socket together. Where 5 s bring a usable response to one of them only, the thread asks the second when
  the first was answered, from then on (RES_SNGLKUP: the latch); where that brings it no further, from another socket
  (RES_SNGLKUPREOP). Neither is ever taken back.
- SERVFAIL, NOTIMP, REFUSED, and NOERROR without any record that is neither authoritative nor from a server that recurses, are
  no response: it goes on waiting for the other one. Latched, it has not sent the other one yet, and does not: it waits for the
  rest of the 5 s (bug 30081). Then comes the second attempt, from the same port, with the same IDs.
- What has come when both attempts are over is all there is.

Left out: TCP after a truncated response, several nameservers, the search list.
"""

import select
import socket
import time
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode

from tests.lab.clients import Address

_ATTEMPTS = 2
_TIMEOUT = 5.0
"""Seconds."""
_NO_RESPONSE = (dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED)
_A, _AAAA = 0, 1


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one lookup."""

    seconds: float
    rcodes: tuple[str, ...]
    """Of the usable responses, that to A first."""

    @property
    def has_failed(self) -> bool:
        """Whether there was none: EAI_AGAIN."""
        return not self.rcodes


class OldGlibc:
    """One thread of a program that lives long. To be made, and used, where its sockets are to be."""

    def __init__(self, server: Address) -> None:
        self.server = server
        """Whom it asks; may change under it, as where a service address is taken over."""
        self.is_latched = False
        """RES_SNGLKUP."""
        self.reopens = False
        """RES_SNGLKUPREOP."""

    def look_up(self, name: str) -> Told:
        """getaddrinfo for any family, of a name that is complete."""
        begin = time.monotonic()
        pair = [dns.message.make_query(name, qtype) for qtype in ("A", "AAAA")]
        pair[_AAAA].id = pair[_A].id ^ 1
        usable: dict[int, dns.message.Message] = {}
        end = self._opened()
        try:
            for _ in range(_ATTEMPTS):
                end, usable = self._attempt(end, pair)
                if usable:
                    break
        finally:
            end.close()
        rcodes = tuple(dns.rcode.to_text(usable[half].rcode()) for half in sorted(usable))
        return Told(time.monotonic() - begin, rcodes)

    def _attempt(
        self, end: socket.socket, pair: list[dns.message.QueryMessage]
    ) -> tuple[socket.socket, dict[int, dns.message.Message]]:
        """One send_dg: the socket it ends with, and the usable responses; none of them where there is to be another attempt."""
        while True:
            usable: dict[int, dns.message.Message] = {}
            answered: set[int] = set()
            until = time.monotonic() + _TIMEOUT
            for query in pair[: 1 if self.is_latched else 2]:
                end.send(query.to_wire())
            while (response := self._received(end, until)) is not None:
                half = next((half for half in {_A, _AAAA} - answered if response.id == pair[half].id), None)
                if half is None:
                    continue
                answered.add(half)
                if _is_usable(response):
                    usable[half] = response
                if len(answered) == len(pair):
                    return end, usable
                if self.is_latched and usable:  # the mistake: without one, nothing is on its way any more
                    if self.reopens:
                        end.close()
                        end = self._opened()
                    end.send(pair[_AAAA].to_wire())
            if not usable or self.reopens:
                return end, usable
            if self.is_latched:
                self.reopens = True
                end.close()
                end = self._opened()
            self.is_latched = True

    def _opened(self) -> socket.socket:
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        end.connect(self.server)
        return end

    def _received(self, end: socket.socket, until: float) -> dns.message.Message | None:
        ready, _, _ = select.select([end], [], [], max(0.0, until - time.monotonic()))
        return dns.message.from_wire(end.recv(65535)) if ready else None


def _is_usable(response: dns.message.Message) -> bool:
    is_lame = (
        response.rcode() == dns.rcode.NOERROR
        and not response.answer
        and not response.additional
        and response.edns < 0
        and not response.flags & (dns.flags.AA | dns.flags.RA)
    )
    return response.rcode() not in _NO_RESPONSE and not is_lame
