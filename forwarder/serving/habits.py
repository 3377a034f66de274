"""What the resolvers of our clients do when they were told a failure, or nothing: it shows which of them wait, and why.

A query that comes again, from the same client and port and with the same ID, is one whose resolver did not go on. When it comes
again, and whether the AAAA of the name came with it, tells one kind of resolver from another. Pure. Always holds: only
failures, and questions that join another in progress, are looked at, never a hit nor a plain miss; memory is a fixed number of
slots, made once.
"""

from array import array
from collections.abc import Mapping

from forwarder.cache.answers import Answer
from forwarder.cache.pairs import ADDRESS_TYPES, other_half
from forwarder.observe.counters import AFTER, CLIENT_REPEATS, SPLIT_PAIRS
from forwarder.serving.coalescing import Asker
from forwarder.wire.message import Qtype

SLOTS = 4096
"""Clients and names whose last failure is remembered, 104 KiB: eight hundred a second for the five that a resolver waits. Where
two fall into one slot, the later one stays."""
GLIBC_WAITS = (4.5, 5.5)
"""Seconds between two tries of glibc, whose timeout is 5 s unless resolv.conf says otherwise, on a host that may be busy."""
MUSL_WAITS = (2.25, 2.75)
"""The same for musl: half its timeout of 5 s. Less is no waiting."""
PAIR_APART = 1.0
"""Seconds, with room to spare, from one half of a pair (A and AAAA of one name) to the other: they come together, or the second
once the first was answered."""
LONG_AGO = -1e9
AFTER_FAILURE, AFTER_FAILURE_MUSL, AFTER_LOST_REPLY, AFTER_SILENCE = (CLIENT_REPEATS + place for place in range(len(AFTER)))
AAAA = int(Qtype.AAAA)


class Habits:
    """What is remembered of failures that clients were told over UDP, and counted of what they did then."""

    __slots__ = ("_aaaa_at", "_counts", "_id", "_seen_at", "_who")

    def __init__(self, counts: memoryview) -> None:
        self._counts = counts
        self._who = array("q", bytes(8 * SLOTS))
        """Hash of client, port and name."""
        self._id = array("H", bytes(2 * SLOTS))
        """The ID of its last A query that failed."""
        self._seen_at = array("d", [LONG_AGO]) * SLOTS
        """When that came; the first of those that came at once."""
        self._aaaa_at = array("d", [LONG_AGO]) * SLOTS
        """When its last AAAA query came that failed."""

    def failed(self, asker: Asker) -> None:
        """This client is told a failure."""
        query, now = asker.query, asker.received_at
        if query.qtype not in ADDRESS_TYPES or asker.door.is_stream:
            return
        who = hash((asker.peer, query.name))
        slot = who % SLOTS
        if self._who[slot] != who:
            self._who[slot] = who
            self._seen_at[slot] = self._aaaa_at[slot] = LONG_AGO
        if query.qtype == AAAA:
            self._aaaa_at[slot] = now
            return
        seen_at = self._seen_at[slot]
        if query.id == self._id[slot]:
            waited = now - seen_at
            if waited < MUSL_WAITS[0]:
                return  # the same try: told a failure, either libc asks once more at once, musl twice
            if waited <= MUSL_WAITS[1]:
                self._counts[AFTER_FAILURE_MUSL] += 1
            elif GLIBC_WAITS[0] <= waited <= GLIBC_WAITS[1]:
                is_alone = self._aaaa_at[slot] < seen_at - PAIR_APART
                self._counts[AFTER_FAILURE if is_alone else AFTER_LOST_REPLY] += 1
        self._id[slot] = query.id
        self._seen_at[slot] = now

    def joined(self, first: Asker, asker: Asker) -> None:
        """This one asks what `first` asked, and it is still in progress."""
        if asker.query.id == first.query.id and asker.peer == first.peer and not asker.door.is_stream:
            self._counts[AFTER_SILENCE] += 1

    def timed_out(self, first: Asker, answers: Mapping[bytes, Answer]) -> None:
        """No upstream answered this question in time; `answers`, by key, are those they gave."""
        query = first.query
        if query.qtype in ADDRESS_TYPES:
            answer = answers.get(other_half(query.key))
            if answer is not None and answer.stored_at > first.received_at - PAIR_APART:
                self._counts[SPLIT_PAIRS] += 1
