"""The servers asked: a few dozen queries each, all servers at one time, over sockets of our own.

Judges nothing, and sends to nobody who is not in its list. Always holds: a server is sent less than 320 queries, and all is
over 7 s after the begin, whoever is silent.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec.structs import replace

from forwarder.doctor.facts import NameSaid, Pairs, Reply, SearchLook, Server
from forwarder.doctor.planning import Plan
from forwarder.doctor.questions import (
    CHAOS,
    Asked,
    edns_query,
    is_our_refusal,
    is_response_to,
    option_query,
    plain_query,
    reply_to,
    unanswered,
    version_query,
)
from forwarder.errors import WireError
from forwarder.wire.framing import Deframer, framed

WAIT = 2.0
"""Seconds for a response: a daemon of ours has answered by 1.8, if only with a failure."""
PAIRS = 24
"""Pairs sent from one socket, and as many from two."""
SPACING = 0.05
"""Seconds between two pairs: some 80 queries a second, for a good second; more, and a rate limit looks like loss."""
SEARCH_TRIES = 8
"""Names below one search domain: a daemon of ours has learnt after two or three that there is nothing."""
SEARCH_SECONDS = 3.0
"""After which no further one is begun."""
SEARCH_PAUSE = 0.1
"""Seconds between two of them: it learns in the background."""
SEARCH_TLD = "com"
LARGEST = 65535

T = TypeVar("T")


async def tried(plans: Sequence[Plan]) -> tuple[Server, ...]:
    """All of them at one time; in the same order."""
    return tuple(await asyncio.gather(*(_tried(plan) for plan in plans)))


async def _tried(plan: Plan) -> Server:
    server = plan.server
    asking = _Asking(server.address)
    if server.transport == "tls":
        return replace(server, tcp=await asking.connects())
    base = plan.name
    plain = [asking.by_udp(plain_query(name, qtype, asking.new_id())) for name, qtype in ((plan.apex, "SOA"), (base, "A"))]
    single = [
        asking.by_udp(edns_query(base, "A", asking.new_id())),
        asking.by_udp(option_query(base, "A", asking.new_id())),
        asking.by_udp(version_query(base, "A", asking.new_id())),
        asking.by_udp(edns_query(".", "NS", asking.new_id(), do=True)),
        asking.by_udp(edns_query("id.server.", "TXT", asking.new_id(), qclass=CHAOS)),
        asking.by_tcp(plain_query(base, "A", asking.new_id())),
        asking.by_tcp(edns_query(".", "NS", asking.new_id(), do=True)),
    ]
    names = (asking.about(name) for name in dict.fromkeys(plan.names))
    search = (asking.search_look(domain) for domain in plan.search)
    replies, more, together, apart, said, looks = await asyncio.gather(
        _all(plain), _all(single), asking.pairs(plan, together=True), asking.pairs(plan, together=False),
        _all(names), _all(search),
    )  # fmt: skip
    edns, option, version, large, identity, tcp, large_tcp = more
    return replace(
        server, plain=replies, edns=edns, option=option, version=version, large=large, tcp=tcp, large_tcp=large_tcp,
        is_ours=is_our_refusal(identity), together=together, apart=apart, names=said, search=looks,
    )  # fmt: skip


async def _all(asked: Iterable[Coroutine[object, object, T]]) -> tuple[T, ...]:
    return tuple(await asyncio.gather(*asked))


class _Asking:
    """Queries to one server."""

    def __init__(self, address: str) -> None:
        self._address = address

    @staticmethod
    def new_id() -> int:
        """An ID that nobody guesses."""
        return secrets.randbelow(1 << 16)

    async def by_udp(self, asked: Asked, *, attempts: int = 2) -> Reply:
        """From a fresh socket each time: what is lost once by chance is no silence on that question."""
        reply = unanswered(asked)
        for _ in range(attempts):
            (reply,) = await self._from_one_socket((asked,))
            if reply.is_answered or reply.error:
                break
        return reply

    async def _from_one_socket(self, asked: Sequence[Asked]) -> tuple[Reply, ...]:
        """All of them at once, as a libc sends a pair; each with the first response that is its own."""
        loop = asyncio.get_running_loop()
        try:
            end = _socket(self._address, socket.SOCK_DGRAM)[0]
        except OSError as error:
            return tuple(unanswered(one, _said(error)) for one in asked)
        found: dict[int, Reply] = {}
        errors: dict[int, str] = {}
        with end, suppress(TimeoutError):
            begun = time.monotonic()
            for number, one in enumerate(asked):
                try:
                    end.send(one.message)
                except OSError as error:  # a packet that is dropped on this host comes back as one
                    errors[number] = _said(error)
            async with asyncio.timeout(WAIT):
                while len(found) + len(errors) < len(asked):
                    try:
                        message = await loop.sock_recv(end, LARGEST)
                    except OSError as error:
                        errors |= {number: _said(error) for number in range(len(asked)) if number not in found}
                        break
                    for number, one in enumerate(asked):
                        if number not in found and is_response_to(one, message):
                            found[number] = reply_to(one, message, time.monotonic() - begun)
                            break
        return tuple(found.get(number) or unanswered(one, errors.get(number, "")) for number, one in enumerate(asked))

    async def by_tcp(self, asked: Asked) -> Reply:
        """Over a connection of its own."""
        loop = asyncio.get_running_loop()
        try:
            end, address = _socket(self._address, socket.SOCK_STREAM)
        except OSError as error:
            return unanswered(asked, _said(error))
        with end:
            try:
                begun = time.monotonic()
                async with asyncio.timeout(WAIT):
                    await loop.sock_connect(end, address)
                    await loop.sock_sendall(end, framed(asked.message))
                    deframer = Deframer()
                    while octets := await loop.sock_recv(end, LARGEST):
                        for message in deframer.messages_in(octets):
                            if is_response_to(asked, message):
                                return reply_to(asked, message, time.monotonic() - begun)
            except TimeoutError:
                return unanswered(asked)
            except OSError as error:
                return unanswered(asked, _said(error))
            except WireError as error:
                return unanswered(asked, str(error))
        return unanswered(asked, "the connection was closed")

    async def connects(self) -> Reply:
        """Whether the port takes a connection; nothing is sent."""
        asked = plain_query(".", "SOA", 0)
        loop = asyncio.get_running_loop()
        try:
            end, address = _socket(self._address, socket.SOCK_STREAM)
            with end:
                begun = time.monotonic()
                async with asyncio.timeout(WAIT):
                    await loop.sock_connect(end, address)
                return Reply(question=asked.shown, seconds=time.monotonic() - begun)
        except TimeoutError:
            return unanswered(asked)
        except OSError as error:
            return unanswered(asked, _said(error))

    async def about(self, name: str) -> NameSaid:
        """A and AAAA of a name, each from a socket of its own."""
        a, aaaa = await _all(self.by_udp(plain_query(name, qtype, self.new_id())) for qtype in ("A", "AAAA"))
        return NameSaid(name=name, a=a, aaaa=aaaa)

    async def pairs(self, plan: Plan, *, together: bool) -> Pairs:
        """A and AAAA of names nobody asked before, one pair behind the other."""

        async def pair(number: int) -> tuple[Reply, ...]:
            await asyncio.sleep(number * SPACING)
            name = f"{_made_up()}.{plan.below}" if plan.below else plan.name
            first = self.new_id()
            both = (plain_query(name, "A", first), plain_query(name, "AAAA", first ^ 1))
            if together:
                return await self._from_one_socket(both)
            return await _all(self.by_udp(one, attempts=1) for one in both)

        found = await _all(pair(number) for number in range(PAIRS))
        times = [reply.seconds for replies in found for reply in replies if reply.seconds is not None]
        return Pairs(
            sent=len(found),
            halves=sum(a.is_answered != aaaa.is_answered for a, aaaa in found),
            lost_a=sum(not a.is_answered for a, _ in found),
            lost_aaaa=sum(not aaaa.is_answered for _, aaaa in found),
            slowest=round(max(times, default=0.0), 6),
        )

    async def search_look(self, domain: str) -> SearchLook:
        """Names of the world behind this domain, until one is denied from memory, or the server is silent."""
        asked = denied = synthesised = 0
        until = time.monotonic() + SEARCH_SECONDS
        for _ in range(SEARCH_TRIES):
            name = f"{_made_up()}.{SEARCH_TLD}.{domain}"
            reply = await self.by_udp(edns_query(name, "A", self.new_id()), attempts=1)
            if not reply.is_answered:  # one that knows no EDNS
                reply = await self.by_udp(plain_query(name, "A", self.new_id()), attempts=1)
            asked += 1
            denied += reply.rcode == NXDOMAIN
            synthesised += reply.reason == SYNTHESISED
            if synthesised or not reply.is_answered or time.monotonic() > until:
                break
            await asyncio.sleep(SEARCH_PAUSE)
        return SearchLook(domain=domain, asked=asked, denied=denied, synthesised=synthesised)


NXDOMAIN, SYNTHESISED = 3, 29


def _made_up() -> str:
    """A label that was never asked for."""
    return f"forwarder-doctor-{secrets.token_hex(4)}"


def _said(error: OSError) -> str:
    """`Connection refused`, and not what the event loop makes of it."""
    return os.strerror(error.errno) if error.errno else str(error)


def _socket(address: str, kind: socket.SocketKind) -> tuple[socket.socket, tuple[object, ...]]:
    """A socket that does not block, for datagrams connected already, and where to. Raises OSError."""
    host, _, port = address.rpartition(":")
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    family, _, _, _, where = socket.getaddrinfo(host.strip("[]").encode(), port, flags=flags)[0]
    end = socket.socket(family, kind)
    end.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
    if kind is socket.SOCK_DGRAM:
        try:
            end.connect(where)
        except OSError:
            end.close()
            raise
    return end, where
