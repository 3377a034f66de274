"""What is noted of single queries, for the names asked most and for the query log: samples, so that their number is bounded.

Three kinds are sampled apart, so that none is lost among the others: hits of the exact cache, of which nothing is parsed (a
door says how many there were, once a turn); failures, and what took long where that is to be logged; and all else. Never waits:
what the supervisor does not take at once is dropped, and counted. Always holds: of a kind at most so many queries a second are
noted, and a few times as many in the second in which a flood begins; a note says how many queries it stands for; nothing says
who asked but what is for the query log.
"""

import math
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from forwarder.observe.counters import EXACT, FAILURE, QUERY_LOG_DROPS, QUERY_LOG_LEFT_OUT
from forwarder.observe.notes import ANSWERED, MOST_QUESTION, SLOW_MICROSECONDS, Note, written
from forwarder.serving.coalescing import Door
from forwarder.upstream.turn import Turn
from forwarder.upstream.zones import Told
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import Query

NAMES_A_SECOND = 100
"""Notes of a kind where names are all that they are for: after five minutes a name asked as one in a thousand has been seen
thirty times; what the supervisor does with them takes a thousandth of a core."""
LINES_A_SECOND = 1000
"""The same for the query log: a line takes the supervisor some 20 microseconds, so a worker's flood a fiftieth of a core."""
BATCH = 32
"""Notes that are written at the end of the turn; fewer wait for the next second."""
MOST_WAITING = 1024
"""Notes kept until then: more than a turn can bring."""
NOTED_OCTETS = HEADER_SIZE + MOST_QUESTION
"""Octets of a response that are looked at: its question is the query's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration wants to know."""

    names: bool
    """`observe.top_names`."""
    errors: bool
    """`observe.query_log` is not off."""
    slow: bool
    """It is `slow` or `all`."""
    everything: bool


class Sampler:
    """Which queries of one kind are noted: each in turn while there are few, one in so many when there are more."""

    __slots__ = ("_dice", "_most", "_room", "_seen", "_stride", "left")

    def __init__(self, most: int, dice: Callable[[], float]) -> None:
        """`most` a second; `dice` gives numbers from 0 to 1."""
        self.left = 0
        """How many queries are passed over before the next is noted: whoever sees queries counts it down."""
        self._most = most
        self._dice = dice
        self._stride = 1
        self._room = most
        self._seen = 0

    def take(self) -> int:
        """One is noted: how many it stands for. `left` is to be set from `gap` next."""
        stands_for = self._stride
        self._seen += stands_for
        self._room -= 1
        if self._room <= 0:
            self._stride *= 2
            self._room = self._most // 8 or 1
        return stands_for

    def gap(self) -> int:
        """How many to pass over now, by chance: whatever comes in a rhythm is seen as often as it should be."""
        return int(self._dice() * (2 * self._stride - 1)) if self._stride > 1 else 0

    def renew(self) -> None:
        """A second is over: the next is taken to be like it."""
        stride = -(-self._seen // self._most) or 1
        is_quieter = stride < self._stride
        self._stride, self._seen, self._room = stride, 0, self._most
        if is_quieter:
            self.left = min(self.left, self.gap())


class Noting:
    """The notes of one worker."""

    __slots__ = (
        "_counts", "_end", "_notable", "_notes", "_others", "_slow", "_tells_all", "_tells_notable", "_turn", "hits", "peer",
    )  # fmt: skip

    def __init__(
        self, wanted: Wanted, end: socket.socket, turn: Turn, counts: memoryview, dice: Callable[[], float] = random.random
    ) -> None:
        """`end`: non-blocking, of a SOCK_SEQPACKET pair."""
        self.peer: object = None
        """Whose query is looked at, as its door knows it: doors say so before they have it answered."""
        self._end = end
        self._turn = turn
        self._counts = counts
        self._notes: list[Note] = []
        self._tells_notable, self._tells_all = wanted.errors, wanted.everything
        self._slow = SLOW_MICROSECONDS / 1e6 if wanted.slow else math.inf
        most = LINES_A_SECOND if wanted.everything else NAMES_A_SECOND
        has_usual = wanted.names or wanted.everything
        self.hits = Sampler(most, dice) if has_usual else None
        """For hits of the exact cache; None where they are of no interest."""
        self._others = Sampler(most, dice) if has_usual else None
        self._notable = Sampler(LINES_A_SECOND if wanted.errors else NAMES_A_SECOND, dice)

    def answered(self, query: Query, door: Door, source: int, rcode: int, elapsed: float, told: Told) -> None:
        """A query got its response, the seconds that took, and what the asking of upstreams came to."""
        # `is_failing` without the call: every miss comes by here.
        is_notable = source == FAILURE or rcode not in ANSWERED or elapsed >= self._slow
        sampler = self._notable if is_notable else self._others
        if sampler is None:
            return
        sampler.left -= 1
        if sampler.left >= 0:
            return
        stands_for = sampler.take()
        sampler.left = sampler.gap()
        is_told = self._tells_notable if is_notable else self._tells_all
        client = door.client(self.peer) if is_told else b""
        microseconds = int(elapsed * 1e6)
        self._add(Note(time.time(), query.question, door.is_stream, source, rcode, microseconds, stands_for, client, *told))

    def hit(self, response: bytes, door: Door, peer: object, microseconds: int, stands_for: int) -> None:
        """The exact cache answered, and this hit is sampled: the first NOTED_OCTETS of its response."""
        client = door.client(peer) if self._tells_all else b""
        question, rcode = response[HEADER_SIZE:], response[3] & 0xF
        self._add(Note(time.time(), question, door.is_stream, EXACT, rcode, microseconds, stands_for, client))

    def stream_hit(self, response: bytes, door: Door, microseconds: int) -> None:
        """The same of a hit that may be sampled; `peer` asked."""
        sampler = self.hits
        if sampler is not None:
            sampler.left -= 1
            if sampler.left < 0:
                stands_for = sampler.take()
                sampler.left = sampler.gap()
                self.hit(response, door, self.peer, microseconds, stands_for)

    def tidy(self) -> None:
        """Once a second: write what waits, and look at how much there was."""
        self.write()
        for sampler in (self.hits, self._others, self._notable):
            if sampler is not None:
                sampler.renew()

    def write(self) -> None:
        """Write what waits. Where the supervisor is gone, or behind, it is lost."""
        notes, self._notes = self._notes, []
        if notes:
            try:
                self._end.send(written(notes))
            except OSError:
                self._counts[QUERY_LOG_DROPS] += len(notes)

    def _add(self, note: Note) -> None:
        notes = self._notes
        if len(notes) >= MOST_WAITING:
            self._counts[QUERY_LOG_DROPS] += 1
            return
        if note.client:
            self._counts[QUERY_LOG_LEFT_OUT] += note.stands_for - 1
        notes.append(note)
        if len(notes) == BATCH:
            self._turn.at_end(self.write)
