"""Names that do not exist because a name above them does not (RFC 8020), inside the clients' search path.

A search path turns `api.example.com` into `api.example.com.svc.cluster.local` and more, all NXDOMAIN, and never twice the same.
For a name below a search base the cut candidates are its ancestors below that base, from the top down, two levels at most.
Once two names below a candidate were denied, it is to be asked itself, A and AAAA; when both are NXDOMAIN, there is a cut: for
as long as that may be kept everything below is denied from here. When it exists, the candidate below it is next.

Pure. Nothing is signed, so a cut is made only inside domains that the operator or a resolv.conf named. Always holds: no cut
without the SOA of both answers, none behind an alias, at or above a search base, the apex of a zone or a pinned name, at or
through a label that begins with an underscore; none while something at or below it is known to exist, and it ends when that is
learnt; clients that ask for DNSSEC proofs, or check for themselves, are told nothing from here.
"""

from collections.abc import Callable, Iterable
from math import ceil

import msgspec

from forwarder.cache.answers import Answer
from forwarder.cache.bounded import Bounded, Entry
from forwarder.cache.lifetime import Limits, lifetime_for
from forwarder.cache.pairs import ADDRESS_TYPES
from forwarder.wire.message import KEY_BEHIND_NAME, Qtype, Query, Rcode, key_for
from forwarder.wire.names import ancestors, is_at_or_below
from forwarder.wire.records import Kind, Response, denial, soa_of

LEVELS_OF_SERVICES = 2
"""Below `svc.` of the cluster domain: a namespace, and a service. Elsewhere one level."""
NEVER_CUT = (b"\x03svc", b"\x03pod")
"""Labels of the Kubernetes DNS specification that stand directly below the cluster domain. CoreDNS may deny `pod` itself and
know names below it."""
UNDERSCORE = ord("_")
"""What the labels of services begin with (RFC 8552): `_tcp.web` may be NXDOMAIN where `_http._tcp.web` has an SRV."""
EXISTS_FOR = 300.0
"""Seconds for which what was seen to exist is not asked about. When it has gone since, names below it go on being denied one by
one, or one level down."""
ASK_AGAIN = 1.0
"""Seconds until a candidate is asked again about which no answer said anything."""
PLAIN = 0
"""The last octet of a question's key where neither DO nor CD is set."""
MAX_LATELY = 1024
"""Questions remembered that were denied by a cut, 600 KB, so that those asked twice can be answered by the exact cache. Names
that are asked once each must not fill it."""
ENTRY_OVERHEAD = 400
"""Octets a candidate costs beyond three times its name (its key, the name denied below, the SOA)."""


class Denied(Answer, eq=False, gc=False):
    """An answer that came of a cut; its key is that of the cut's own A question."""


class Candidate(Entry, kw_only=True, eq=False, gc=False):
    """A name at which may be cut."""

    denied: bytes = b""
    """A name below it that was proved not to exist."""
    is_doubted: bool = False
    """Whether another one was too."""
    exists_until: float = 0.0
    asked_again_at: float = 0.0
    denied_until: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    """Until when its A is NXDOMAIN, and its AAAA."""
    soa: tuple[bytes, bytes] = (b"", b"")
    """Owner and RDATA, as the last of the two had it."""
    cut_at: float = 0.0
    cut_until: float = 0.0
    """0: there is no cut."""


class Denial:
    """The cuts, and the names at which there may be one."""

    __slots__ = ("_bases", "_candidates", "_kept", "_lately", "_on_change", "_recall", "suffixes")

    def __init__(self, budget: int, on_change: Callable[[], None]) -> None:
        """`budget` in octets; `on_change`: an answer from here that may be held elsewhere is wrong from now on."""
        self._candidates: Bounded[Candidate] = Bounded(budget)
        self._recall = self._candidates.entries.get
        self._on_change = on_change
        self._bases: dict[bytes, int] = {}
        self._kept: set[bytes] = set()
        self._lately: dict[bytes, Denied] = {}
        """What was denied lately, by the question's key; good while its cut is the one that it came of."""
        self.suffixes: tuple[bytes, ...] = ()
        """What names end with that may be of interest here; others need not be brought."""

    @property
    def used(self) -> int:
        """Octets charged."""
        return self._candidates.used

    def search_in(self, cluster_domain: bytes | None, domains: Iterable[bytes], kept: Iterable[bytes]) -> None:
        """Cut inside these domains from now on, never at or above what is `kept`; what was known is forgotten.

        All names in lower-cased wire form. `learn_found` is to follow, with what the answers cache knows.
        """
        bases = dict.fromkeys(domains, 1)
        if cluster_domain is not None:
            bases |= {cluster_domain: 1, NEVER_CUT[0] + cluster_domain: LEVELS_OF_SERVICES}
        self._bases = bases
        self.suffixes = tuple(bases)
        inside = (name for name in kept if name.endswith(self.suffixes))
        special = (label + base for base in bases for label in NEVER_CUT)
        self._kept = {above for name in (*bases, *inside, *special) for above in ancestors(name)}
        self._candidates.clear()
        self._on_change()

    def learn_found(self, names: Iterable[bytes], now: float) -> None:
        """These names are known to exist."""
        for name in names:
            if name.endswith(self.suffixes):
                self._exists(name, now)

    def forget(self, suffix: bytes) -> None:
        """Forget the cuts that deny the name `suffix` or a name below it."""
        for candidate in list(self._candidates.entries.values()):
            if is_at_or_below(candidate.key, suffix) or is_at_or_below(suffix, candidate.key):
                self._candidates.remove(candidate)
        self._on_change()

    def answer_to(self, query: Query, now: float) -> Denied | None:
        """NXDOMAIN, where the name stands below a cut; `visited` says that the question was denied before."""
        key = query.key
        if key[-1] != PLAIN:
            return None
        for name in self._candidates_above(query.name):
            candidate = self._recall(name)
            if candidate is None or now >= candidate.cut_until:
                continue
            candidate.visited = True
            known = self._lately.get(key)
            if known is not None and known.stored_at == candidate.cut_at:
                known.visited = True
                return known
            if len(self._lately) >= MAX_LATELY:
                self._lately.clear()
            response = denial(query.question, candidate.soa, ceil(candidate.cut_until - candidate.cut_at))
            told = Denied(
                key_for(name, Qtype.A), 0, response=response, stored_at=candidate.cut_at, expires_at=candidate.cut_until
            )
            self._lately[key] = told
            return told
        return None

    def learn(self, query: Query, response: Response, limits: Limits, now: float) -> bytes | None:
        """What a response of an upstream says. Returns the candidate that is to be asked, if one is."""
        if response.rcode == Rcode.NOERROR:
            return self._exists(query.name, now)
        if response.kind is not Kind.NXDOMAIN or response.counts[0] or response.negative_ttl < 0:
            return None
        known = self._recall(query.name)
        if known is not None and known.is_doubted and query.qtype in ADDRESS_TYPES and query.key[-1] == PLAIN:
            known.denied_until[query.qtype == Qtype.AAAA] = now + lifetime_for(response, limits)
            self._cut(known, response, now)
        return self._to_ask(query.name, now)

    def may_ask(self, name: bytes, now: float) -> bool:
        """Whether this candidate may be asked again already; whoever is told so does."""
        candidate = self._recall(name)
        if candidate is None or now < candidate.asked_again_at:
            return False
        candidate.asked_again_at = now + ASK_AGAIN
        return True

    def to_renew(self, denied: Denied) -> bytes | None:
        """The candidate that is to be asked again so that the cut goes on; None: that was done, or there is none."""
        name = denied.key[:-KEY_BEHIND_NAME]
        candidate = self._recall(name)
        return name if candidate is not None and 0.0 < candidate.cut_until <= denied.expires_at else None

    def _exists(self, name: bytes, now: float) -> bytes | None:
        """A name was found, hence all above it: no cut there. Returns what is to be asked instead."""
        denied = b""
        for above in self._line_to(name):
            if above in self._kept or above[1] == UNDERSCORE:
                continue
            candidate = self._ensured(above)
            candidate.exists_until = now + EXISTS_FOR
            if candidate.is_doubted:
                denied = candidate.denied
            candidate.denied, candidate.is_doubted = b"", False
            candidate.denied_until = [0.0, 0.0]
            if candidate.cut_until:
                candidate.cut_until = 0.0
                self._on_change()
        return self._to_ask(denied, now) if denied else None

    def _cut(self, candidate: Candidate, response: Response, now: float) -> None:
        """Cut here, or go on doing so, for as long as both halves are denied."""
        until = min(candidate.denied_until)
        if until > now:
            candidate.soa = soa_of(response)
            candidate.cut_at, candidate.cut_until = now, until

    def _to_ask(self, denied: bytes, now: float) -> bytes | None:
        """The topmost candidate above a denied name that may not exist either, once another name says so too."""
        found: Candidate | None = None
        for above in self._candidates_above(denied):
            candidate = self._ensured(above)
            if now < candidate.exists_until:
                continue
            if not candidate.denied:
                candidate.denied = denied
            elif candidate.denied != denied:
                candidate.is_doubted = True
            found = found or candidate
        return found.key if found is not None and found.is_doubted and now >= found.cut_until else None

    def _ensured(self, name: bytes) -> Candidate:
        candidate = self._recall(name)
        if candidate is None:
            candidate = Candidate(name, ENTRY_OVERHEAD + 3 * len(name))
            self._candidates.put(candidate)
        return candidate

    def _candidates_above(self, name: bytes) -> list[bytes]:
        """The candidates strictly above a name, from the top down; none through an underscore."""
        above = self._line_to(name, is_through_underscore=False)
        return [candidate for candidate in above if len(candidate) < len(name) and candidate not in self._kept]

    def _line_to(self, name: bytes, *, is_through_underscore: bool = True) -> list[bytes]:
        """The names from the first below the longest base on down towards this one, itself included, two at most."""
        starts: list[int] = []
        position = 0
        while length := name[position]:
            if position and (levels := self._bases.get(name[position:])):
                starts.reverse()
                return [name[start:] for start in starts[:levels]]
            if name[position + 1] == UNDERSCORE and not is_through_underscore:
                return []
            starts.append(position)
            position += 1 + length
        return []
