"""What of a response answers its question; everything else is dropped.

Kept is the CNAME and DNAME chain from QNAME in its order, the records at its end, the SOA of a negative answer, with DO what
DNSSEC proves either with, and the addresses of the hosts that SRV, MX, SVCB and HTTPS name. Always holds: no record answers
another question; names in what is kept lie within their RDATA, and their pointers go backwards, so that the message may be cut
behind any record.
"""

import struct
from dataclasses import dataclass, field

from forwarder.errors import WireError
from forwarder.wire.message import Qtype
from forwarder.wire.names import ROOT, TO_QNAME, Names, ancestors, skip_name
from forwarder.wire.walking import NAMES_IN_RDATA, Record, names_in

MAX_MESSAGE = 65535
"""Octets of a message (RFC 1035 section 4.2.2: its length has two octets)."""
MAX_CHAIN = 16
"""Aliases followed in one response; unbound stops at 12, glibc's buffer at about as many."""
RRSIG, NSEC, NSEC3 = 46, 47, 50
ADDRESS_SIZES = {1: 4, 28: 16}
"""Octets of the RDATA of A and AAAA (RFC 1035 section 3.4.1, RFC 3596 section 2.2)."""
HOST_AT = {Qtype.MX: 2, Qtype.SRV: 6, Qtype.SVCB: 2, Qtype.HTTPS: 2}
"""Types that name a host whose addresses may come along: where in RDATA its name stands."""
OWNER_IS_HOST = {Qtype.SVCB, Qtype.HTTPS}
"""Types in which `.` for the host means the owner itself (RFC 9460 section 2.5.2)."""

_read_soa_numbers = struct.Struct("!IIIII").unpack_from


@dataclass(slots=True)
class Sections:
    """A response's records as they came, and the question they are to answer."""

    message: bytes
    name: bytes
    """QNAME, lower-cased wire form."""
    qtype: int
    do: bool
    answers: list[Record]
    authorities: list[Record]
    additionals: list[Record]
    names: Names = field(init=False)

    def __post_init__(self) -> None:
        self.names = Names(self.message)

    def chain(self) -> tuple[list[Record], list[Record], bytes]:
        """The aliases from QNAME on, the records at their end, and the name where they end (RFC 1034 section 3.6.2)."""
        name = self.name
        owned: dict[bytes, list[Record]] = {}
        for record in self.answers:
            owned.setdefault(self._owner(record), []).append(record)
        aliases: list[Record] = []
        for _ in range(MAX_CHAIN):
            here = owned.pop(name, [])
            final = [record for record in here if record.rtype == self.qtype]
            if final:
                self._check_addresses(final)
                return aliases, final + self._signatures(here, self.qtype), name
            alias = next((record for record in here if record.rtype == Qtype.CNAME), None)
            if alias is None:
                return aliases, [], name
            for above in ancestors(name):
                redirection = next((record for record in owned.get(above, ()) if record.rtype == Qtype.DNAME), None)
                if redirection is not None:
                    aliases += [redirection, *self._signatures(owned.pop(above), Qtype.DNAME)]
            aliases += [alias, *self._signatures(here, Qtype.CNAME)]
            name = self.names.lowered(alias.rdata)[0]
        raise WireError("an alias chain without an end")

    def enclosing_soa(self, last: bytes) -> tuple[Record | None, int]:
        """The SOA that encloses the last name of the chain, and its MINIMUM: no other denies it (RFC 2308 section 2)."""
        enclosing = set(ancestors(last))
        for record in self.authorities:
            if record.rtype == Qtype.SOA and self.names.lowered(record.start)[0] in enclosing:
                return record, self._soa_minimum(record)
        return None, -1

    def proofs(self, *, with_soa: bool) -> list[Record]:
        """NSEC, NSEC3 and their signatures, and that of the SOA where it was kept (RFC 4035 section 3.1.3)."""
        if not self.do:
            return []
        signed = {NSEC, NSEC3, Qtype.SOA} if with_soa else {NSEC, NSEC3}
        return [
            record
            for record in self.authorities
            if record.rtype in {NSEC, NSEC3} or (record.rtype == RRSIG and self._covered_type(record) in signed)
        ]

    def addresses_of_hosts(self, final: list[Record], last: bytes) -> list[Record]:
        """The additional address records of the hosts that the answer names."""
        offset = HOST_AT.get(self.qtype)  # type: ignore[call-overload]  # an IntEnum is an int
        if offset is None:
            return []
        hosts = set()
        for record in final:
            if record.rtype == self.qtype:
                if record.rdata + offset >= record.end:
                    raise WireError("RDATA too short to name a host")
                host, _ = self.names.lowered(record.rdata + offset)
                hosts.add(last if host == ROOT and self.qtype in OWNER_IS_HOST else host)
        return [record for record in self.additionals if record.rtype in ADDRESS_SIZES and self._owner(record) in hosts]

    def cut_to(self, start: int, kept: list[Record]) -> bytes:
        """The message with only these records behind the question, which ends at `start`.

        Where they are the message's first records, cutting behind the last is enough, for pointers go backwards.
        """
        if not kept:
            return self.message[:start]
        ahead = iter((*self.answers, *self.authorities, *self.additionals))
        if all(record is next(ahead) for record in kept):
            for record in kept:
                names_in(record, self.names)
            return self.message[: kept[-1].end]
        rewritten = bytearray(self.message[:start])
        for record in kept:
            self._append_to(rewritten, record)
            if len(rewritten) > MAX_MESSAGE:
                raise WireError("too long without its compression")
        return bytes(rewritten)

    def _append_to(self, rewritten: bytearray, record: Record) -> None:
        """The record behind what was rewritten so far, its names uncompressed."""
        message = self.message
        owner, _ = self.names.spelled(record.start)
        rewritten += TO_QNAME if owner.lower() == self.name else owner
        fixed = len(rewritten)
        rewritten += message[record.fixed : record.rdata]
        position = record.rdata + NAMES_IN_RDATA.get(record.rtype, (0, 0))[0]
        rewritten += message[record.rdata : position]
        for place, after in names_in(record, self.names):
            rewritten += self.names.spelled(place)[0]
            position = after
        rewritten += message[position : record.end]
        rewritten[fixed + 8 : fixed + 10] = (len(rewritten) - fixed - 10).to_bytes(2)

    def _owner(self, record: Record) -> bytes:
        if self.message[record.start : record.start + 2] == TO_QNAME:
            return self.name
        return self.names.lowered(record.start)[0]

    def _check_addresses(self, final: list[Record]) -> None:
        size = ADDRESS_SIZES.get(self.qtype)
        if size is not None and any(record.end - record.rdata != size for record in final):
            raise WireError("an address of the wrong length")

    def _signatures(self, records: list[Record], covered: int) -> list[Record]:
        """The RRSIG records over one type (RFC 4034 section 3.1.1), for those who asked for them."""
        if not self.do or covered == RRSIG:
            return []
        return [record for record in records if record.rtype == RRSIG and self._covered_type(record) == covered]

    def _covered_type(self, signature: Record) -> int:
        if signature.end - signature.rdata < 2:  # noqa: PLR2004 - Type Covered comes first
            raise WireError("RRSIG too short")
        return self.message[signature.rdata] << 8 | self.message[signature.rdata + 1]

    def _soa_minimum(self, soa: Record) -> int:
        """The MINIMUM field, seconds (RFC 1035 section 3.3.13)."""
        numbers = skip_name(self.message, skip_name(self.message, soa.rdata))
        if numbers + 20 != soa.end:
            raise WireError("SOA of the wrong length")
        minimum: int = _read_soa_numbers(self.message, numbers)[4]
        return minimum
