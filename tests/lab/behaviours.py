"""How an upstream may answer, well or badly: plain named functions for the scripted upstream.

A behaviour takes a query that was received and returns the moves to make, in order; it touches no socket and sleeps never.
Behaviours that take a behaviour change what it would have done: `late(2.5, wrong_id(answer(...)))`.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset

HEADER_SIZE = 12
_QUESTION_FIRST_LETTER = HEADER_SIZE + 1
_OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
"""An OPT record with a payload size of 1232 and no options (RFC 6891 section 6.1.2)."""


@dataclass(slots=True)
class Received:
    """One query that reached the scripted upstream."""

    transport: str
    """`udp` or `tcp`."""
    source: tuple[str, int]
    """Address and port it came from."""
    connection: int
    """Number of the TCP connection, counted from 1; 0 over UDP."""
    octets: bytes
    """The query as it came, without the length over TCP."""
    message: dns.message.Message
    """The same, parsed by dnspython."""
    at: float = field(default_factory=time.monotonic)
    """When it came, seconds of the monotonic clock."""
    answered_at: float | None = None
    """When the first octets went back; None while nothing did."""

    @property
    def port(self) -> int:
        """The source port."""
        return self.source[1]

    @property
    def name(self) -> str:
        """QNAME as it was spelled, with the final dot."""
        return self.message.question[0].name.to_text()

    @property
    def qtype(self) -> str:
        """QTYPE in letters."""
        return dns.rdatatype.to_text(self.message.question[0].rdtype)

    @property
    def has_opt(self) -> bool:
        """Whether the query carried an OPT record."""
        return self.message.edns >= 0

    @property
    def dnssec_ok(self) -> bool:
        """Whether the query had DO set."""
        return bool(self.message.ednsflags & dns.flags.DO)

    @property
    def option_codes(self) -> list[int]:
        """The EDNS options the query carried."""
        return [int(option.otype) for option in self.message.options]


@dataclass(frozen=True, slots=True)
class Move:
    """One thing the upstream does about a query."""

    octets: bytes = b""
    """What to send; nothing when empty."""
    after: float = 0.0
    """Seconds to wait first."""
    is_framed: bool = True
    """Over TCP: put the two octets of length in front."""
    from_other_port: bool = False
    """Over UDP: send it from a port that was not asked; over TCP, do not send it."""
    close: bool = False
    """Over TCP: close the connection afterwards."""
    is_forwarded: bool = False
    """Send it on to `ScriptedUpstream.forwards_to`, and what comes from there back to who asked."""


Behaviour = Callable[[Received], list[Move]]


def answer(
    *records: str,
    authority: Sequence[str] = (),
    additional: Sequence[str] = (),
    flags: Sequence[str] = ("RA",),
    options: Sequence[tuple[int, bytes]] = (),
    rcode: str = "NOERROR",
) -> Behaviour:
    """A well-formed response. Records are lines of a zone file with absolute names; `@` is the name asked for, as spelled.

    They are read here, once: of thousands that would take longer than the daemon waits for a first answer.
    """
    sections = [read_records(lines) for lines in (records, authority, additional)]

    def behaviour(received: Received) -> list[Move]:
        response = dns.message.make_response(received.message)
        response.flags = dns.flags.QR | received.message.flags & dns.flags.RD
        for flag in flags:
            response.flags |= dns.flags.Flag[flag]
        response.set_rcode(dns.rcode.from_text(rcode))
        response.answer, response.authority, response.additional = (rrsets(received, parsed) for parsed in sections)
        if received.has_opt:
            given: list[dns.edns.Option] = [
                dns.edns.GenericOption(dns.edns.OptionType.make(code), value) for code, value in options
            ]
            response.use_edns(0, ednsflags=received.message.ednsflags & dns.flags.DO, payload=1232, options=given)
        return [Move(response.to_wire(max_size=65535))]

    return behaviour


@dataclass(frozen=True, slots=True)
class Records:
    """Neighbours of one owner, TTL and type."""

    owner: str
    """`@` is the name asked for."""
    ttl: int
    rdatas: list[dns.rdata.Rdata]


def read_records(lines: Iterable[str]) -> list[Records]:
    """Lines of a zone file as dnspython holds them."""
    split = [line.split(None, 4) for line in lines]
    return [
        Records(owner, int(ttl), [dns.rdata.from_text(rdclass, rdtype, line[4]) for line in neighbours])
        for (owner, ttl, rdclass, rdtype), neighbours in groupby(split, key=lambda line: line[:4])
    ]


def rrsets(received: Received, parsed: Iterable[Records]) -> list[dns.rrset.RRset]:
    """What was read, in a response to this query."""
    return [
        dns.rrset.from_rdata_list(received.name if records.owner == "@" else records.owner, records.ttl, records.rdatas)
        for records in parsed
    ]


def addresses(count: int, *, ttl: int = 300) -> list[str]:
    """So many A records of the name asked for, 16 octets each in a response."""
    return [f"@ {ttl} IN A 10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(1, count + 1)]


def soa(zone: str, *, ttl: int = 60, minimum: int = 60) -> str:
    """The SOA record that goes with a negative answer (RFC 2308 section 3)."""
    return f"{zone} {ttl} IN SOA ns.{zone} host.{zone} 1 3600 600 86400 {minimum}"


def nodata(zone: str) -> Behaviour:
    """The name exists, the type does not."""
    return answer(authority=[soa(zone)])


def nxdomain(zone: str) -> Behaviour:
    """The name does not exist."""
    return answer(authority=[soa(zone)], rcode="NXDOMAIN")


def refusal(rcode: str, *, with_question: bool = True) -> Behaviour:
    """An empty response with this RCODE; some servers leave out the question of what they refuse."""
    if with_question:
        return answer(rcode=rcode)

    def behaviour(received: Received) -> list[Move]:
        flags = dns.flags.QR | dns.rcode.from_text(rcode)
        return [Move(received.octets[:2] + flags.to_bytes(2, "big") + bytes(8))]

    return behaviour


def silent(received: Received) -> list[Move]:
    """Nothing at all."""
    del received
    return []


def late(seconds: float, behaviour: Behaviour) -> Behaviour:
    """The same, so much later."""
    return lambda received: [replace(move, after=move.after + seconds) for move in behaviour(received)]


def both(*behaviours: Behaviour) -> Behaviour:
    """All of them about one query, in this order: a forged response first, say, then the true one."""
    return lambda received: [move for behaviour in behaviours for move in behaviour(received)]


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first query gets the first, the next the next; the last one stays."""
    left = list(behaviours)

    def behaviour(received: Received) -> list[Move]:
        now = left.pop(0) if len(left) > 1 else left[0]
        return now(received)

    return behaviour


def by_transport(*, udp: Behaviour, tcp: Behaviour) -> Behaviour:
    """One over UDP, another over TCP."""

    def behaviour(received: Received) -> list[Move]:
        return udp(received) if received.transport == "udp" else tcp(received)

    return behaviour


def _changed(behaviour: Behaviour, change: Callable[[bytes], bytes]) -> Behaviour:
    return lambda received: [replace(move, octets=change(move.octets)) for move in behaviour(received)]


def _question_end(octets: bytes) -> int:
    """Where the QNAME ends, its root label included."""
    return octets.index(0, HEADER_SIZE) + 1


def wrong_id(behaviour: Behaviour) -> Behaviour:
    """With the ID of another query."""
    return _changed(behaviour, lambda octets: bytes((octets[0] ^ 0x55, octets[1] ^ 0x55)) + octets[2:])


def wrong_question(behaviour: Behaviour) -> Behaviour:
    """With a question whose first letter is another one."""

    def change(octets: bytes) -> bytes:
        letter = b"z" if octets[_QUESTION_FIRST_LETTER : _QUESTION_FIRST_LETTER + 1].lower() != b"z" else b"y"
        return octets[:_QUESTION_FIRST_LETTER] + letter + octets[_QUESTION_FIRST_LETTER + 1 :]

    return _changed(behaviour, change)


def wrong_type(behaviour: Behaviour) -> Behaviour:
    """With a question whose QTYPE is MX."""

    def change(octets: bytes) -> bytes:
        end = _question_end(octets)
        return octets[:end] + b"\x00\x0f" + octets[end + 2 :]

    return _changed(behaviour, change)


def wrong_case(behaviour: Behaviour) -> Behaviour:
    """With the question spelled the other way round, each letter."""

    def change(octets: bytes) -> bytes:
        end = _question_end(octets)
        return octets[:HEADER_SIZE] + octets[HEADER_SIZE:end].swapcase() + octets[end:]

    return _changed(behaviour, change)


def lower_cased(behaviour: Behaviour) -> Behaviour:
    """With the question in lower case, as servers answer that do not keep the spelling."""

    def change(octets: bytes) -> bytes:
        end = _question_end(octets)
        return octets[:HEADER_SIZE] + octets[HEADER_SIZE:end].lower() + octets[end:]

    return _changed(behaviour, change)


def wrong_port(behaviour: Behaviour) -> Behaviour:
    """From another port of the same address (UDP)."""
    return lambda received: [replace(move, from_other_port=True) for move in behaviour(received)]


def query_bit(behaviour: Behaviour) -> Behaviour:
    """With QR=0, as if it were a query."""
    return _changed(behaviour, lambda octets: octets[:2] + bytes((octets[2] & 0x7F,)) + octets[3:])


def garbage(received: Received) -> list[Move]:
    """The right ID and QR=1, then forty octets that mean nothing."""
    return [Move(received.octets[:2] + b"\x81\x80" + secrets.token_bytes(40))]


def truncated_records(behaviour: Behaviour) -> Behaviour:
    """Cut off three octets before the end, the counts left as they were."""
    return _changed(behaviour, lambda octets: octets[:-3])


def compression_loop(received: Received) -> list[Move]:
    """The owner of the answer points at itself."""
    end = _question_end(received.octets) + 4
    header = received.octets[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
    owner = (0xC000 | end).to_bytes(2, "big")
    rest = b"\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01"
    return [Move(header + received.octets[HEADER_SIZE:end] + owner + rest)]


def truncate(behaviour: Behaviour) -> Behaviour:
    """With TC=1 set; the records, if any, stay."""
    return _changed(behaviour, lambda octets: octets[:2] + bytes((octets[2] | 0x02,)) + octets[3:])


def sized(behaviour: Behaviour) -> Behaviour:
    """As a careful server does it: over UDP, what exceeds the query's payload size goes as TC=1 and the question only."""

    def changed(received: Received) -> list[Move]:
        limit = max(received.message.payload, 512) if received.has_opt else 512
        moves = behaviour(received)
        if received.transport == "tcp" or all(len(move.octets) <= limit for move in moves):
            return moves
        return truncate(answer())(received)

    return changed


def two_opts(behaviour: Behaviour) -> Behaviour:
    """With one OPT record more than there was."""

    def change(octets: bytes) -> bytes:
        additional = int.from_bytes(octets[10:12], "big") + 1
        return octets[:10] + additional.to_bytes(2, "big") + octets[HEADER_SIZE:] + _OPT

    return _changed(behaviour, change)


def edns_ignored(behaviour: Behaviour) -> Behaviour:
    """As a server answers that has never heard of OPT: there is none in the response."""

    def changed(received: Received) -> list[Move]:
        plain = dns.message.from_wire(received.octets)
        plain.use_edns(-1)
        return behaviour(replace(received, message=plain))

    return changed


def close_after(behaviour: Behaviour) -> Behaviour:
    """Then close the connection."""
    return lambda received: [*behaviour(received), Move(close=True)]


def close_mid_message(behaviour: Behaviour) -> Behaviour:
    """Close the connection when half the message is out."""

    def changed(received: Received) -> list[Move]:
        octets = behaviour(received)[0].octets
        framed = len(octets).to_bytes(2, "big") + octets
        return [Move(framed[: len(framed) // 2], is_framed=False, close=True)]

    return changed


def close_mid_length(received: Received) -> list[Move]:
    """Close the connection after the first octet of a length."""
    del received
    return [Move(b"\x00", is_framed=False, close=True)]


TRUTH = answer("@ 300 IN A 192.0.2.1")
"""What an upstream says that is asked for anything, where the test is about something else."""
