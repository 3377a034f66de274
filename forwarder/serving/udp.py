"""The door for datagrams: what waits is taken in one call, hits are answered in the same call, in place.

A response from the exact cache is written over the query it answers, behind the ID, and the kernel's own address goes back
with it. Always holds: a response goes to where its query came from, from the address that was asked; nobody outside
`listen.allow` gets one; none is longer than `max_udp_size`.
"""

import socket
from bisect import bisect_left

from forwarder.observe.counters import (
    EXACT,
    HISTOGRAMS,
    MICROSECOND_BUCKETS,
    PER_DOOR,
    REFUSED_CLIENTS,
    SUM_IN_HISTOGRAM,
)
from forwarder.serving.allow import AllowedClients
from forwarder.serving.answering import Answering
from forwarder.serving.datagrams import ADDRESS, BATCH, Datagrams
from forwarder.serving.noting import NOTED_OCTETS
from forwarder.upstream.turn import Turn
from forwarder.wire.message import Query

ADDRESS_IN_SOCKADDR = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}
PORT_IN_SOCKADDR = slice(2, 4)
NO_PORT = b"\0\0"
HITS_TOOK = HISTOGRAMS[EXACT]
MANY = 16
"""Hits in one batch from which on there is no time to lose: of such batches one in TIMED_EVERY is timed, and those behind
it are taken to have taken as long."""
TIMED_EVERY = 8

Peer = tuple[bytes, bytes]


class UdpDoor:
    """One bound socket."""

    __slots__ = (
        "_address", "_allowed", "_answering", "_answers", "_bucket", "_clock", "_counts", "_exact", "_incoming", "_noting",
        "_outgoing", "_replies", "_sampler", "_took", "_turn", "_untimed", "is_stream", "row",
    )  # fmt: skip

    def __init__(
        self, endpoint: socket.socket, answering: Answering, allowed: AllowedClients, turn: Turn, row: int, max_udp_size: int
    ) -> None:
        self.row = row
        self.is_stream = False
        self._answering = answering
        self._allowed = None if allowed.everybody else allowed
        self._turn = turn
        self._clock, self._counts = answering.clock, answering.counts
        self._answers = answering.counts[row : row + PER_DOOR]
        self._exact = answering.memory.exact
        self._noting = noting = answering.noting
        self._sampler = None if noting is None else noting.hits
        self._address = ADDRESS_IN_SOCKADDR[socket.AddressFamily(endpoint.family)]
        is_wildcard = endpoint.getsockname()[0] in {"0.0.0.0", "::"}  # noqa: S104 - asked, not bound
        self._incoming = Datagrams(endpoint, max_udp_size, with_control=is_wildcard)
        self._outgoing = Datagrams(endpoint, max_udp_size, with_control=is_wildcard)
        self._replies: list[tuple[Peer, bytes]] = []
        self._bucket = HITS_TOOK
        self._took = self._untimed = 0

    def on_readable(self) -> None:
        """Take a batch of queries: answer what memory answers, have the rest asked. The loop calls again if more wait."""
        incoming = self._incoming
        sizes = incoming.receive()
        if not sizes:
            return
        now = self._turn.begin()
        self._exact.begin(now)
        octets, stride, out_sizes = incoming.octets, incoming.stride, incoming.sizes
        exact, allowed = self._exact, self._allowed
        recall, former = exact.recall, exact.former
        incoming.forget_interfaces(len(sizes))
        hits: list[int] = []
        tell_hit = hits.append
        first = place = start = 0
        try:
            for size in sizes:
                query = octets[start + 2 : start + size]
                known = recall(query)
                if known is None and query in former:
                    known = exact.renew(query, now)
                if known is not None and (allowed is None or self._permits(place)):
                    response, slot, _, _ = known
                    end = start + 2 + len(response)
                    octets[start + 2 : end] = response
                    out_sizes[place] = end - start
                    tell_hit(slot)
                else:
                    if first < place:
                        incoming.send(first, place - first)
                    first = place + 1
                    self._at_length(place, octets[start : start + size], now)
                place += 1
                start += stride
            if first < place:
                incoming.send(first, place - first)
            if (sampler := self._sampler) is not None:
                sampler.left -= place
                if sampler.left < 0:
                    self._note(place, now)
        finally:
            incoming.reset(len(sizes))
        if exact.ending:
            self._answering.ask_ahead(now)
        if hits:
            self._count(hits, now)
        self._turn.end()

    def reply(self, peer: object, message: bytes) -> None:
        """Send a response at the end of the turn; an empty one is nothing to send."""
        if not message:
            return
        if not self._replies:
            self._turn.at_end(self._flush)
        self._replies.append((peer, message))  # type: ignore[arg-type]  # what we gave `ask` comes back

    def client(self, peer: object) -> bytes:
        """The address of a client."""
        return peer[0][self._address]  # type: ignore[index,no-any-return]  # what we gave `ask` comes back

    def _count(self, hits: list[int], now: float) -> None:
        """Count the hits of a batch, each by its slot, and how long they took."""
        answers, count = self._answers, len(hits)
        if hits.count(hits[0]) == count:
            answers[hits[0]] += count
        else:
            for slot in set(hits):
                answers[slot] += hits.count(slot)
        if count < MANY or not self._untimed:
            self._took = int((self._clock() - now) * 1e6)
            self._bucket = HITS_TOOK + bisect_left(MICROSECOND_BUCKETS, self._took)
            self._untimed = TIMED_EVERY if count >= MANY else 1
        self._untimed -= 1
        self._counts[self._bucket] += count
        self._counts[HITS_TOOK + SUM_IN_HISTOGRAM] += self._took * count

    def _note(self, count: int, now: float) -> None:
        """Note those of so many datagrams that are sampled and were hits, before their places are used again."""
        sampler, noting, incoming = self._sampler, self._noting, self._incoming
        if sampler is None or noting is None:
            return
        microseconds = int((self._clock() - now) * 1e6)
        place = sampler.left + count
        while place < count:
            stands_for = sampler.take()
            response = incoming.written_over(place, NOTED_OCTETS)
            if response:
                noting.hit(response, self, incoming.peer(place), microseconds, stands_for)
            place += 1 + sampler.gap()
        sampler.left = place - count

    def _at_length(self, place: int, message: bytes, now: float) -> None:
        """A datagram that the exact cache does not know."""
        peer = self._incoming.peer(place)
        if peer[0][PORT_IN_SOCKADDR] == NO_PORT:
            return
        if not self._permits(place):
            self._counts[REFUSED_CLIENTS] += 1
            return
        if self._noting is not None:
            self._noting.peer = peer
        outcome = self._answering.at_once(message, self, now)
        if isinstance(outcome, Query):
            self._answering.ask(outcome, self, peer, now)
        elif outcome is not None:
            self.reply(peer, outcome)

    def _permits(self, place: int) -> bool:
        if self._allowed is None:
            return True
        start = place * ADDRESS
        return self._allowed.permits(self._incoming.addresses[start : start + ADDRESS][self._address])

    def _flush(self) -> None:
        replies, outgoing = self._replies, self._outgoing
        try:
            for first in range(0, len(replies), BATCH):
                batch = replies[first : first + BATCH]
                outgoing.put(batch)
                outgoing.send(0, len(batch))
        finally:
            replies.clear()
