"""What a scripted upstream says: a reply of the scenario language as a behaviour of the laboratory.

Always holds: a reply without changes is a well-formed response of a recursor to the query it answers: ID, question as
spelled, RA=1, and OPT if and only if the query had one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import dns.rdatatype

from tests.lab.behaviours import (
    Behaviour,
    Move,
    Received,
    addresses,
    answer,
    compression_loop,
    edns_ignored,
    garbage,
    late,
    lower_cased,
    refusal,
    silent,
    truncate,
    truncated_records,
    two_opts,
    wrong_case,
    wrong_id,
    wrong_port,
    wrong_question,
)
from tests.rpl.statements import Reply

_AA, _AD = 0x04, 0x20
"""In the third and the fourth octet of the header."""
_COOKIE = bytes((0, 10, 0, 8)) + b"8 octets"
HEALTHY_TTL = 60
"""Seconds, of what a healthy upstream answers."""


def _authentic(behaviour: Behaviour) -> Behaviour:
    """With AD=1."""

    def changed(received: Received) -> list[Move]:
        return [
            replace(move, octets=move.octets[:3] + bytes((move.octets[3] | _AD,)) + move.octets[4:])
            for move in behaviour(received)
        ]

    return changed


def _authoritative(behaviour: Behaviour) -> Behaviour:
    """With AA=1."""

    def changed(received: Received) -> list[Move]:
        return [
            replace(move, octets=move.octets[:2] + bytes((move.octets[2] | _AA,)) + move.octets[3:])
            for move in behaviour(received)
        ]

    return changed


def _with_cookie(behaviour: Behaviour) -> Behaviour:
    """With a cookie in its OPT record, which is the last thing of the message and had no options."""

    def changed(received: Received) -> list[Move]:
        return [replace(move, octets=move.octets[:-2] + len(_COOKIE).to_bytes(2) + _COOKIE) for move in behaviour(received)]

    return changed


def _without_question(behaviour: Behaviour) -> Behaviour:
    """A header alone, with the RCODE: some servers answer so what they cannot read."""

    def changed(received: Received) -> list[Move]:
        return [Move(move.octets[:4] + bytes(8), after=move.after) for move in behaviour(received)]

    return changed


CHANGES: Mapping[str, Callable[[Behaviour], Behaviour]] = {
    "with wrong ID": wrong_id,
    "with wrong question": wrong_question,
    "with wrong case": wrong_case,
    "in lower case": lower_cased,
    "with TC": truncate,
    "with AA": _authoritative,
    "with AD": _authentic,
    "with a cookie": _with_cookie,
    "with a compression loop": lambda _: compression_loop,
    "with records cut short": truncated_records,
    "as garbage": lambda _: garbage,
    "with two OPT": two_opts,
    "without OPT": edns_ignored,
    "without question": _without_question,
    "from another port": wrong_port,
}
"""What may be wrong with a reply, by how a scenario says it."""


def zone_of(name: str) -> str:
    """The last two labels of a name: whose SOA goes with its denial."""
    return ".".join(name.lower().rstrip(".").split(".")[-2:]) + "."


def behaviour_for(reply: Reply, upstream: int) -> Behaviour:
    """The behaviour that a reply of this upstream is."""
    if reply.kind == "silent":
        return silent
    if reply.kind == "healthy":
        said = _healthy(upstream)
    elif reply.records:
        said = answer(
            *(
                f"{record.owner or '@'} {int(record.ttl.least) if record.ttl else 0} IN {record.rtype} {record.rdata}"
                for record in reply.records
            )
        )
    elif reply.addresses:
        said = answer(*addresses(reply.addresses, ttl=reply.ttl))
    elif reply.is_negative:
        said = _denial(reply.rcode, reply.ttl)
    else:
        said = refusal(reply.rcode)
    for change in reply.changes:
        said = CHANGES[change](said)
    return late(reply.delay, said) if reply.delay else said


def _denial(rcode: str, ttl: int) -> Behaviour:
    return lambda received: answer(authority=[_soa(zone_of(received.name), ttl)], rcode=rcode)(received)


def _soa(zone: str, ttl: int) -> str:
    return f"{zone} {ttl} IN SOA ns.example. host.example. 1 3600 600 86400 {ttl}"


def _healthy(upstream: int) -> Behaviour:
    """An upstream that knows every name: addresses that end in its number, the SOA of every zone, nothing else."""
    records = {"A": f"192.0.2.{upstream}", "AAAA": f"2001:db8::{upstream}"}

    def said(received: Received) -> list[Move]:
        rtype = dns.rdatatype.to_text(received.message.question[0].rdtype)
        if rtype == "SOA":
            return answer(_soa("@", HEALTHY_TTL))(received)
        if rtype not in records:
            return _denial("NOERROR", HEALTHY_TTL)(received)
        return answer(f"@ {HEALTHY_TTL} IN {rtype} {records[rtype]}")(received)

    return said
