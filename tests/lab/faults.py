"""The faults an upstream must be able to play: each with a name, and what a client may hear when another upstream is well.

Always holds: what a faulty upstream says and nobody may believe is another answer than the true one, so that one look tells
whether the daemon passed it on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle

import dns.message
import dns.rcode

from tests.lab.behaviours import (
    Behaviour,
    Move,
    Received,
    addresses,
    answer,
    close_after,
    close_mid_length,
    close_mid_message,
    compression_loop,
    edns_ignored,
    garbage,
    late,
    query_bit,
    refusal,
    silent,
    sized,
    truncate,
    truncated_records,
    two_opts,
    wrong_case,
    wrong_id,
    wrong_port,
    wrong_question,
    wrong_type,
)
from tests.lab.clients import rdatas
from tests.lab.scripted import ScriptedUpstream

MANY = 4080
"""A records that fill a message of 64 KiB."""
HIGHEST_TTL = (1 << 32) - 1
"""Top bit set: counts as positive, and as more than anybody keeps (RFC 8767 section 4)."""


def by_type(*, a: Behaviour, aaaa: Behaviour) -> Behaviour:
    """One for AAAA, the other for everything else."""
    return lambda received: (aaaa if received.qtype == "AAAA" else a)(received)


def by_edns(*, edns: Behaviour, plain: Behaviour) -> Behaviour:
    """One for queries with an OPT record, another for those without."""
    return lambda received: (edns if received.has_opt else plain)(received)


def hang_up(received: Received) -> list[Move]:
    """Over TCP, close the connection instead of answering."""
    del received
    return [Move(close=True)]


def looped(received: Received) -> list[Move]:
    """Forward it, as a server does that has our client's resolver for its own."""
    return [Move(received.octets, is_forwarded=True)]


def in_rotation(*behaviours: Behaviour) -> Behaviour:
    """The first query gets the first, the next the next; after the last comes the first again."""
    turns = cycle(behaviours)

    def behaviour(received: Received) -> list[Move]:
        now = next(turns)
        return now(received)

    return behaviour


def told_by(number: int, *, ttl: int = 300) -> Behaviour:
    """Addresses that say who answered: 192.0.2.N and 2001:db8::N."""
    return by_type(a=answer(f"@ {ttl} IN A 192.0.2.{number}"), aaaa=answer(f"@ {ttl} IN AAAA 2001:db8::{number}"))


OUTCOMES: Mapping[tuple[str, ...], str] = {
    ("192.0.2.1",): "first",
    ("2001:db8::1",): "first",
    ("192.0.2.2",): "second",
    ("2001:db8::2",): "second",
}


def outcome(response: dns.message.Message) -> str:
    """`first` or `second` upstream's truth, `many` addresses, `NODATA`, another RCODE, or the records nobody should see."""
    if response.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(response.rcode())
    told = tuple(rdatas(response))
    if len(told) > 1 and set(told) <= {address.split()[-1] for address in addresses(MANY)}:
        return "many"
    return OUTCOMES.get(told, " ".join(told)) if told else "NODATA"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to be a bad upstream."""

    behaviour: Behaviour
    """What it does about a query."""
    outcomes: tuple[str, ...] = ("second",)
    """What a client may hear (`outcome`) when a second upstream is well."""
    transports: tuple[str, ...] = ("udp", "tcp")
    """Where it makes sense."""
    prepare: Callable[[ScriptedUpstream], None] = lambda _: None
    """What is more to be set; makes a behaviour that counts queries anew."""

    def play(self, upstream: ScriptedUpstream) -> None:
        """From now on, about every name that is not in the script."""
        upstream.closes_at_accept = upstream.is_serial = False
        upstream.default = self.behaviour
        self.prepare(upstream)


def _close_at_accept(upstream: ScriptedUpstream) -> None:
    upstream.closes_at_accept = True


def _serve_serially(upstream: ScriptedUpstream) -> None:
    upstream.is_serial = True


def _rotating(*behaviours: Behaviour) -> Callable[[ScriptedUpstream], None]:
    def prepare(upstream: ScriptedUpstream) -> None:
        upstream.default = in_rotation(*behaviours)

    return prepare


TCP = ("tcp",)
EITHER = ("first", "second")
"""What is answered a little late may have been asked of the second meanwhile: attempts last as long as answers have taken."""
MANY_ADDRESSES = by_type(a=sized(answer(*addresses(MANY))), aaaa=told_by(1))


def faults_with(truth_with: Callable[[int], Behaviour], forged: Behaviour) -> dict[str, Fault]:
    """All faults by name, played by an upstream that knows this truth (by TTL), and says `forged` when nobody may believe it.

    Dying pools of connections are made by `drop_connections`, `reset_connections` and `freeze_connections`.
    """
    truth = truth_with(300)
    edns_refused = {rcode: edns_ignored(refusal(rcode)) for rcode in ("FORMERR", "NOTIMP")}
    return {
        "silent": Fault(silent),
        "late by 2 ms": Fault(late(0.002, truth), EITHER),
        "late by 300 ms": Fault(late(0.3, truth), EITHER),
        "late by 10 s": Fault(late(10.0, truth)),
        "A answered, AAAA dropped": Fault(by_type(a=truth, aaaa=silent), EITHER),
        "every second query dropped": Fault(truth, EITHER, prepare=_rotating(silent, truth)),
        "SERVFAIL": Fault(refusal("SERVFAIL")),
        "REFUSED": Fault(refusal("REFUSED")),
        "FORMERR": Fault(refusal("FORMERR")),
        "NOTIMP": Fault(refusal("NOTIMP")),
        "SERVFAIL without the question": Fault(refusal("SERVFAIL", with_question=False)),
        "NODATA without SOA, AA=0, RA=0": Fault(answer(flags=()), ("NODATA", "second")),
        "TC=1 always": Fault(truncate(answer())),
        "wrong ID": Fault(wrong_id(forged)),
        "wrong question": Fault(wrong_question(forged)),
        "wrong type": Fault(wrong_type(forged)),
        "wrong case": Fault(wrong_case(truth), EITHER),
        "wrong port": Fault(wrong_port(forged), transports=("udp",)),
        "a query back": Fault(query_bit(forged)),
        "garbage": Fault(garbage),
        "truncated records": Fault(truncated_records(forged)),
        "compression loop": Fault(compression_loop),
        "two OPT records": Fault(two_opts(truth), EITHER),
        "EDNS ignored": Fault(edns_ignored(truth), EITHER),
        "EDNS answered with FORMERR": Fault(by_edns(edns=edns_refused["FORMERR"], plain=truth), EITHER),
        "EDNS answered with a bare FORMERR": Fault(by_edns(edns=refusal("FORMERR", with_question=False), plain=truth), EITHER),
        "EDNS answered with NOTIMP": Fault(by_edns(edns=edns_refused["NOTIMP"], plain=truth), EITHER),
        "EDNS met with silence": Fault(by_edns(edns=silent, plain=truth), EITHER),
        "closes at accept": Fault(truth, transports=TCP, prepare=_close_at_accept),
        "closes instead of an answer": Fault(hang_up, transports=TCP),
        "closes after one query": Fault(close_after(truth), EITHER, TCP),
        "closes within a length": Fault(close_mid_length, transports=TCP),
        "closes within a message": Fault(close_mid_message(truth), transports=TCP),
        "answers out of order": Fault(truth, EITHER, prepare=_rotating(late(0.05, truth), truth)),
        "one query at a time": Fault(late(0.01, truth), EITHER, TCP, _serve_serially),
        "64 KiB": Fault(MANY_ADDRESSES, ("many", *EITHER)),
        "TTL 0": Fault(truth_with(0), EITHER),
        "TTL of 2^31": Fault(truth_with(1 << 31), EITHER),
        "TTL of 2^32 - 1": Fault(truth_with(HIGHEST_TTL), EITHER),
        "loops our query back": Fault(looped),
    }


FAULTS: Mapping[str, Fault] = faults_with(lambda ttl: told_by(1, ttl=ttl), told_by(66))
PLAYED = [(name, transport) for name, fault in FAULTS.items() for transport in fault.transports]
"""Each fault over each transport that it makes sense on."""
