"""The answers cache as octets that outlive the process: a header, then a record for each answer, the oldest first.

Pure. A header holds what proves the rest (magic, version, size, checksum) and when it was written; a record holds a question,
its response and how old that was. How long an answer is good for is never written: it follows from the TTLs and from what the
zone allows now. Always holds: what is put back was read like a response from the network and is all that `scrubbing` would
keep of it; nothing is put back under another zone than it came from, nor over something newer; time that may have passed is
taken as passed, so that what is old is never fresh.
"""

import contextlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import msgspec

from forwarder.cache.answers import Answer, AnswerCache
from forwarder.cache.lifetime import Limits, lifetime_for, stale_lifetime_for
from forwarder.errors import SnapshotError, WireError
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import AD, CLASS_IN, QR, Match, Qtype, match_for, write_header
from forwarder.wire.names import MAX_LABEL, MAX_NAME, ROOT
from forwarder.wire.records import Kind, Response, parse_response

MAGIC = b"\x89fwd\r\n\x1a\n"
"""Not text, and broken by what turns line ends into others (the reasons are PNG's, RFC 2083 section 12.11)."""
VERSION = 1
"""Of all that follows; another version is not read."""
MAX_AGE = 0xFFFFFFFF
"""Milliseconds, seven weeks: longer than the longest life (7 days) and the longest maximum_stale_timer (7 days) together."""
SLICE_RECORDS = 100
SLICE_SIZE = 1 << 16
"""Records and octets after which a slice ends: about a millisecond, which no client notices."""

_proof = struct.Struct("!8sHQQQQ")
_sum = struct.Struct("!I")
_read_flags = struct.Struct("!H").unpack_from
HEADER_OCTETS = _proof.size + _sum.size
_record = struct.Struct("!HBHI")
_read_record = _record.unpack_from
MAX_RECORD = _record.size + MAX_NAME + 5 + 0xFFFF
"""Octets of the longest record."""
KEY_BEYOND_NAME = 5
"""Octets of a key behind QNAME: QTYPE, QCLASS, DO and CD."""
DO_IN_KEY = 2
_LAST_TAIL = b"\3"
_CLASS_IN = CLASS_IN.to_bytes(2)
_MATCHES = frozenset({Match.EXACT, Match.OTHER_CASE})
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a zone says about the answers that it gave."""

    limits: Limits
    trust_ad: bool


class Moment(msgspec.Struct, frozen=True):
    """A time by both clocks, milliseconds."""

    wall: int
    """Since 1970. It may be set forward and back."""
    running: int
    """Since the host was started, time asleep included (CLOCK_BOOTTIME)."""


def passed_between(written: Moment, now: Moment) -> float:
    """Seconds from one moment to a later one, rather too many than too few; infinite when the wall clock went backwards.

    The host runs for at most as long as has passed since, whether it was started again meanwhile or not.
    """
    wall = now.wall - written.wall
    if wall < 0:
        return math.inf
    return max(wall, now.running - written.running) / _MILLISECONDS


# ----------------------------------------------------------------------------------------------------------- writing


class Writing:
    """A snapshot in the making: slices of records in their order, then the header that stands before them."""

    def __init__(self, answers: AnswerCache, zones: Mapping[bytes, Conditions], now: float) -> None:
        self._waiting = iter(answers.kept())
        self._zones = zones
        self._now = now
        self._checksum = 0
        self.count = 0
        """Answers written so far."""
        self.octets = 0
        """Of their records."""

    def slice(self) -> bytes | None:
        """The next records, of which there may be none; None when all answers were looked at."""
        records: list[bytes] = []
        size = 0
        is_over = True
        for answer in islice(self._waiting, SLICE_RECORDS):
            is_over = False
            record = self._record_of(answer)
            if record:
                records.append(record)
                size += len(record)
                if size >= SLICE_SIZE:
                    break
        if is_over:
            return None
        data = b"".join(records)
        self._checksum = zlib.crc32(data, self._checksum)
        self.count += len(records)
        self.octets += size
        return data

    def header(self, moment: Moment) -> bytes:
        """What stands before the records, once all are written; `moment` is that of `now`."""
        proof = _proof.pack(MAGIC, VERSION, moment.wall, moment.running, self.count, self.octets)
        return proof + _sum.pack(zlib.crc32(proof, self._checksum))

    def _record_of(self, answer: Answer) -> bytes:
        """One answer; empty when it is of no use any more."""
        key, response = answer.key, answer.response
        place = zone_place(key[:-KEY_BEYOND_NAME], self._zones)
        age = math.ceil((self._now - answer.stored_at) * _MILLISECONDS)
        if place < 0 or response.kind is Kind.FAILURE or not 0 <= age <= MAX_AGE:
            return b""
        limits = self._zones[key[place:-KEY_BEYOND_NAME]].limits
        if self._now >= answer.expires_at + stale_lifetime_for(response, limits):
            return b""
        flags = QR | (AD if response.is_authentic else 0) | response.rcode
        header = write_header(0, flags, 1, *response.counts)
        return _record.pack(len(key), place, len(response.message), age) + key + header + response.message[HEADER_SIZE:]


def zone_place(name: bytes, zones: Mapping[bytes, Conditions]) -> int:
    """Where in the name (lower-cased wire form) the longest of these zones that encloses it begins; -1: none does."""
    position = 0
    while name[position:] not in zones:
        if not name[position]:
            return -1
        position += 1 + name[position]
    return position


# ----------------------------------------------------------------------------------------------------------- reading


class Reading:
    """A snapshot on its way back: the header, then a look at all octets, then the records."""

    def __init__(self, header: bytes, size: int) -> None:
        """`header` are the first HEADER_OCTETS octets of `size`, which may hold more than this one.

        Raises SnapshotError that says what is wrong.
        """
        if header[: len(MAGIC)] != MAGIC[: len(header)] or not header:
            raise SnapshotError("is no snapshot of a cache" if header else "is empty")
        if len(header) < HEADER_OCTETS:
            raise SnapshotError("is cut off in its header")
        _, version, wall, running, self.count, self.octets = _proof.unpack_from(header)
        if version != VERSION:
            raise SnapshotError(f"is a snapshot of version {version}, and only version {VERSION} is read")
        self.size = HEADER_OCTETS + self.octets
        if size < self.size:
            raise SnapshotError(f"has {size} octets where {self.size} were written")
        self.written = Moment(wall, running)
        self._proof = header[: _proof.size]
        (self._announced,) = _sum.unpack_from(header, _proof.size)
        self._checksum = 0

    def look_at(self, octets: bytes) -> None:
        """Some of the octets behind the header, in their order."""
        self._checksum = zlib.crc32(octets, self._checksum)

    def prove(self) -> None:
        """All was looked at. Raises SnapshotError when it is not what was written."""
        if zlib.crc32(self._proof, self._checksum) != self._announced:
            raise SnapshotError("is damaged: its checksum is wrong")


@dataclass(frozen=True, slots=True)
class Record:
    """One answer as it stands there."""

    key: bytes
    """Of its question, `Query.key`."""
    place: int
    """Where in the name of the question that of the zone begins which it came from."""
    message: bytes
    age: float
    """Seconds, when it was written."""
    end: int
    """Where the next one begins."""

    @property
    def name(self) -> bytes:
        """Of its question, lower-cased wire form."""
        return self.key[:-KEY_BEYOND_NAME]


def whole_records(octets: bytes) -> Iterator[Record]:
    """The records that stand whole at the beginning of these octets."""
    position = 0
    while position + _record.size <= len(octets):
        key_size, place, message_size, age = _read_record(octets, position)
        start = position + _record.size + key_size
        end = start + message_size
        if end > len(octets):
            return
        yield Record(octets[start - key_size : start], place, octets[start:end], age / _MILLISECONDS, end)
        position = end


class Restoring:
    """Answers put back, a slice of records at a time."""

    def __init__(
        self,
        answers: AnswerCache,
        zones: Mapping[bytes, Conditions],
        is_ours: Callable[[bytes], bool],
        now: float,
        passed: float,
    ) -> None:
        """`is_ours`: whether answers for this name belong here; `passed` are the seconds between the writing and `now`."""
        self._answers = answers
        self._zones = zones
        self._is_ours = is_ours
        self._now = now
        self._passed = passed
        self.restored = 0
        """Answers put back so far."""

    def restore(self, octets: bytes) -> int:
        """Put back the first SLICE_RECORDS records that stand whole in these octets; how many octets these take.

        One that no upstream could have brought is passed over: somebody made it up, for the checksum was right.
        """
        position = 0
        for record in islice(whole_records(octets), SLICE_RECORDS):
            with contextlib.suppress(WireError):
                self._restore_one(record)
            position = record.end
        return position

    def _restore_one(self, record: Record) -> None:
        """Raises WireError when this is no question, or not a response to it."""
        name = record.name
        if name[-1:] != ROOT or len(name) > MAX_NAME or not self._is_ours(name):
            return
        response = response_in(record.message, record.key)
        if zone_place(name, self._zones) != record.place:
            return  # another zone is responsible now: its upstreams may say something else
        conditions = self._zones[name[record.place :]]
        lifetime = lifetime_for(response, conditions.limits)
        stale = stale_lifetime_for(response, conditions.limits)
        # The wall clock went backwards and nobody knows how old it is: then it is stale.
        age = max(record.age, lifetime + 1 / _MILLISECONDS) if self._passed == math.inf else record.age + self._passed
        if age >= lifetime + stale:
            return
        response.is_authentic = response.is_authentic and conditions.trust_ad
        self.restored += self._answers.restore(record.key, response, conditions.limits, self._now - age)


def response_in(message: bytes, key: bytes) -> Response:
    """The response to the question of a record. Raises WireError when it is not just what the wire room would keep of one."""
    name, question, tail = key[:-KEY_BEYOND_NAME], key[:-1], key[-1:]
    if not is_name(name) or question[-2:] != _CLASS_IN or tail > _LAST_TAIL:
        raise WireError("no question that a client may have asked")
    qtype = question[-4] << 8 | question[-3]
    if Qtype.TKEY <= qtype <= Qtype.ANY:
        raise WireError("a type that has no records (RFC 6895 section 3.1)")
    if match_for(message, 0, question) not in _MATCHES:
        raise WireError("a response to another question")
    (flags,) = _read_flags(message, 2)
    response = parse_response(message, name, qtype, do=bool(tail[0] & DO_IN_KEY))
    if flags & ~AD != QR | response.rcode or response.message != message:
        raise WireError("more than answers the question")
    if response.kind is Kind.FAILURE:
        raise WireError("a failure")
    return response


def is_name(octets: bytes) -> bool:
    """Whether this is one whole name in lower-cased wire form, uncompressed."""
    position = 0
    last = len(octets) - 1
    while position < last and 0 < octets[position] <= MAX_LABEL:
        position += 1 + octets[position]
    return position == last < MAX_NAME and octets[last:] == ROOT and octets == octets.lower()
