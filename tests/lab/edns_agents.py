"""Home-made DNS agents: what becomes of a good server's answer where somebody knows the OPT record badly, or not at all.

Each takes a behaviour and gives another, for the scripted upstream. Always holds: to a query without OPT an agent answers as
the good server does, unless its docstring says otherwise; that is why nobody noticed before there were clients with EDNS.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.lab.behaviours import HEADER_SIZE, Behaviour, Move, Received, answer, edns_ignored, refusal, silent, two_opts
from tests.lab.faults import by_edns

_COUNTS = {"answer": 6, "additional": 10}
"""Where the count of each section stands in the header."""


def knows_no_opt(behaviour: Behaviour, *, rcode: str) -> Behaviour:
    """OPT is a mistake to it: it says so with this RCODE."""
    return by_edns(edns=edns_ignored(refusal(rcode)), plain=behaviour)


def swallows_opt(behaviour: Behaviour) -> Behaviour:
    """A query with OPT makes its parser fail, and it says nothing."""
    return by_edns(edns=silent, plain=behaviour)


def copies_query(behaviour: Behaviour) -> Behaviour:
    """Puts its records behind the client's own OPT, payload size, flags, options, version and all."""
    return _with_opts(behaviour, lambda opt: (b"", opt))


def copies_twice(behaviour: Behaviour) -> Behaviour:
    """Copies the client's OPT, and adds one of its own."""
    return by_edns(edns=two_opts(copies_query(behaviour)), plain=behaviour)


def answers_with_opt(behaviour: Behaviour) -> Behaviour:
    """Copies the OPT into the answer section."""
    return _with_opts(behaviour, lambda opt: (opt, b""))


def names_opt(behaviour: Behaviour) -> Behaviour:
    """Takes the OPT for a record of the name asked for, and lets it be owned by that."""
    return _with_opts(behaviour, lambda opt: (b"", b"\xc0\x0c" + opt[1:]))


def forgets_rest_of_opt(behaviour: Behaviour) -> Behaviour:
    """Copies the OPT without its options, and leaves their length as it was."""
    return _with_opts(behaviour, lambda opt: (b"", opt[:11]))


def knows_no_version(behaviour: Behaviour) -> Behaviour:
    """Knows that version 1 is BADVERS, and says so without OPT: the four bits of it that are left are NOERROR."""

    def behave(received: Received) -> list[Move]:
        bad = received.message.edns > 0
        return edns_ignored(answer() if bad else behaviour)(received)

    return behave


def ignores_size(behaviour: Behaviour) -> Behaviour:
    """Sends over UDP, to everybody, what it would send over TCP."""
    return edns_ignored(lambda received: behaviour(replace(received, transport="tcp")))


AGENTS: Mapping[str, Callable[[Behaviour], Behaviour]] = {
    "FORMERR to OPT": lambda good: knows_no_opt(good, rcode="FORMERR"),
    "NOTIMP to OPT": lambda good: knows_no_opt(good, rcode="NOTIMP"),
    "silence to OPT": swallows_opt,
    "OPT copied": copies_query,
    "two OPT": copies_twice,
    "OPT as an answer": answers_with_opt,
    "OPT with a name": names_opt,
    "OPT cut short": forgets_rest_of_opt,
    "BADVERS without OPT": knows_no_version,
    "any size": ignores_size,
}


def _with_opts(behaviour: Behaviour, copied: Callable[[bytes], tuple[bytes, bytes]]) -> Behaviour:
    """The good answer without OPT, with what is made of the query's: one record for the answer section or the additional."""

    def behave(received: Received) -> list[Move]:
        (move,) = edns_ignored(behaviour)(received)
        if not received.has_opt:
            return [move]
        question_end = received.octets.index(0, HEADER_SIZE) + 5
        first, last = copied(received.octets[question_end:])  # clients write nothing else behind the question
        octets = bytearray(move.octets)
        octets[question_end:question_end] = first
        octets += last
        count = _COUNTS["answer" if first else "additional"]
        octets[count : count + 2] = (int.from_bytes(octets[count : count + 2], "big") + 1).to_bytes(2, "big")
        return [Move(bytes(octets))]

    return behave
