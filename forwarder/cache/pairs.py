"""A and AAAA of one name, which clients ask for together: what the answer to one says about the other.

A name that does not exist for A does not exist for AAAA (RFC 2308 section 2.1), so that the one answers the other; and while A
is known to exist, an NXDOMAIN for AAAA is a broken server's (RFC 4074 section 4.2), which musl would take for the whole name.
Pure. Always holds: a DNS zone that once had an AAAA beside an NXDOMAIN for A is believed in that no more; only what is fresh
says anything; the other half's answer, where there is one, wins.
"""

from collections.abc import Callable

from forwarder.cache.answers import Answer, AnswerCache
from forwarder.wire.message import Qtype, Rcode
from forwarder.wire.records import POSITIVE, Kind, Response, as_nodata, soa_of

NXDOMAIN = Kind.NXDOMAIN
TYPE_AT = -4
"""Where in a question's key the lower octet of QTYPE stands: QCLASS, DO and CD follow."""
ADDRESS_TYPES = (int(Qtype.A), int(Qtype.AAAA))
"""The two halves."""
OTHER_TYPE: dict[int, bytes] = {Qtype.A: bytes((Qtype.AAAA,)), Qtype.AAAA: bytes((Qtype.A,))}
"""The lower octet of QTYPE, in one half and in the other."""
MAX_WATCHED = 4096
"""Some 700 KB. A denial is seldom kept longer than 30 s; beyond so many the oldest may contradict its other half that long."""
MAX_EXEMPT = 1000
"""DNS zones remembered that filter A. Where more do, no zone is believed any more: it is an IPv6-only world."""


class Pairs:
    """What one half of a pair says about the other."""

    __slots__ = ("_exempt", "_on_change", "_recall", "watched")

    def __init__(self, answers: AnswerCache, on_change: Callable[[], None]) -> None:
        """`on_change`: an answer that may be held elsewhere is wrong from now on."""
        self._recall = answers.entries.get
        self._on_change = on_change
        self._exempt: set[bytes] = set()
        self.watched: dict[bytes, None] = {}
        """Questions, by key, whose answers would say something about a denial of their other half."""

    def denied(self, key: bytes, now: float) -> Answer | None:
        """For an AAAA question without a fresh answer: the answer to its A, if that says that there is no such name."""
        answer = self._recall(other_half(key))
        if answer is None or answer.response.kind is not NXDOMAIN or now >= answer.expires_at:
            return None
        if answer.response.negative_ttl < 0 or len(self._exempt) >= MAX_EXEMPT:
            return None
        stale = self._recall(key)
        if stale is not None and stale.response.kind is POSITIVE:
            return None
        if self._exempt and soa_of(answer.response)[0] in self._exempt:
            return None
        answer.visited = True
        return answer

    def exists_for_a(self, key: bytes, now: float) -> bool:
        """Whether the name of an AAAA question is known to exist by its A."""
        answer = self._recall(other_half(key))
        return answer is not None and answer.response.kind is not NXDOMAIN and now < answer.expires_at

    def learn_denied(self, key: bytes, response: Response, now: float, *, is_other_asked: bool) -> None:
        """NXDOMAIN for one half was kept; `is_other_asked`: the other is in progress."""
        other, is_a = other_half(key), key[TYPE_AT] == Qtype.A
        known = self._recall(other) if is_a else None
        if known is not None and known.response.kind is POSITIVE and now < known.expires_at:
            self._exempt_zone_of(response)
        if is_other_asked or not is_a:
            self._watch(other)

    def learn_watched(self, key: bytes, response: Response, now: float) -> None:
        """The answer to a question that is among the `watched` was kept: what it says about the other half, which is denied."""
        del self.watched[key]
        is_a = key[TYPE_AT] == Qtype.A
        other = self._recall(other_half(key))
        if other is None or other.response.kind is not NXDOMAIN or now >= other.expires_at:
            return
        if is_a and response.rcode == Rcode.NOERROR:
            other.response = as_nodata(other.response)
            self._on_change()
        elif not is_a and response.kind is POSITIVE:
            self._exempt_zone_of(other.response)

    def _watch(self, key: bytes) -> None:
        if len(self.watched) >= MAX_WATCHED:
            del self.watched[next(iter(self.watched))]
        self.watched[key] = None

    def _exempt_zone_of(self, response: Response) -> None:
        if response.negative_ttl >= 0 and len(self._exempt) < MAX_EXEMPT:
            self._exempt.add(soa_of(response)[0])
            self._on_change()


def other_half(key: bytes) -> bytes:
    """The key of the AAAA question that belongs to an A question, or the other way round."""
    return key[:TYPE_AT] + OTHER_TYPE[key[TYPE_AT]] + key[TYPE_AT + 1 :]
