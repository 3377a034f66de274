"""Steering: which of N workers a name belongs to, as a program for the kernel and as a function that decides the same.

The kernel runs the program over each datagram and puts it into the queue of that worker, so that one name always meets the
same cache. Never opens a socket: attaching the program is the part of `sockets`. Always holds: `program_for` and `worker_for`
agree on every QNAME that stands uncompressed in a query, in any case, for any QTYPE, with or without OPT. For every other
datagram the program ends with some worker's index too.

What is hashed is QNAME in wire form up to its first zero octet. That is the whole name, for only the root's label has length
zero; a name with a zero octet inside a label, which no client asks for, is hashed up to there. So nobody needs to follow the
labels: 127 of them unrolled (classic BPF cannot jump backwards) would take more memory than most kernels grant a program.
"""

import struct
from enum import IntEnum

HEADER_SIZE = 12
"""Octets in front of QNAME (RFC 1035 section 4.1.1)."""
WORDS = 64
"""Words of four octets in a name of 255 octets and its padding (RFC 1035 section 2.3.4)."""
WORDS_PER_GROUP = 16
"""After so many words the program has an ending, for conditional jumps reach 255 instructions far: 16 words take 192."""

CASE_BITS = 0x20202020
"""Set in each octet: `A` becomes `a`. Other octets meet too, `@` and the backquote; such names share a worker, that is all."""
MULTIPLIER = 0x9E3779B1
"""The prime next to 2**32 over the golden ratio (Knuth, The Art of Computer Programming, volume 3, section 6.4)."""
SHIFT = 15
"""Multiplying moves differences to higher bits only; this brings them down again, once for each word."""
LAST_MULTIPLIER = 0x85EBCA6B
"""From the finalizer of MurmurHash3: all bits of the hash reach the upper half, which is what is divided among the workers."""
HALF = 16
"""Bits. `(hash >> 16) * workers >> 16` is even to one part in 65,536, and has no bias for low numbers as a remainder has."""

OCTET_MASKS = (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF)
"""The octets of a word in the order in which they stand in the message."""
KEPT_BEFORE = (0x00000000, 0xFF000000, 0xFFFF0000)
"""What of the last word belongs to the name when its first, second or third octet is the zero. At the fourth, all does."""


class _Code(IntEnum):
    """Codes of classic BPF (linux/bpf_common.h): A is the accumulator, X the index register, k stands in the instruction."""

    LOAD_WORD = 0x20
    """A = the four octets of the payload at k, in network order. Beyond the datagram: the program ends with 0."""
    JUMP = 0x05
    JUMP_IF_ANY_BIT = 0x45
    """Over `if_true` instructions when A has a bit of k, else over `if_false`."""
    AND = 0x54
    OR = 0x44
    XOR_X = 0xAC
    MULTIPLY = 0x24
    SHIFT_RIGHT = 0x74
    A_TO_X = 0x07
    RETURN = 0x06
    RETURN_A = 0x16


_INSTRUCTION = struct.Struct("HBBI")
"""struct sock_filter: code, jumps when true and when false, k; in the byte order of this machine."""
_MIXING = 7
"""Instructions of `_mixed`."""
_WORD_SIZE = 1 + len(OCTET_MASKS) + _MIXING
"""Instructions of `_word`."""
_ENDING_SIZE = len(KEPT_BEFORE) + _MIXING + 5
"""Instructions of `_ending`."""

_FOLD = bytes(octet | CASE_BITS & 0xFF for octet in range(256))
_PADDING = b" "
"""A zero with the case bit."""
_UNPACKED = tuple(struct.Struct(f">{words}I") for words in range(WORDS + 1))


def program_for(workers: int) -> bytes:
    """A classic BPF program over the UDP payload that returns an index, 0 to workers - 1: an array of struct sock_filter.

    workers: 1 to 65,536. For a malformed or truncated datagram the index says nothing, but is in range: where a load fails the
    kernel takes 0. The program has 832 instructions and takes less than 16 KiB of the kernel, which grants 20 KiB at least.
    """
    groups = WORDS // WORDS_PER_GROUP
    parts: list[bytes] = []
    for group in range(groups):
        parts += [_word(group, place) for place in range(WORDS_PER_GROUP)]
        # Behind the last group there is no name: QNAME has no end within 256 octets.
        parts.append(_one(_Code.JUMP, _ENDING_SIZE) if group < groups - 1 else _one(_Code.RETURN, 0))
        parts.append(_ending(workers))
    return b"".join(parts)


def worker_for(name: bytes, workers: int) -> int:
    """The index that the program returns for a query of this name, given in wire form and in any case, 255 octets at most.

    Raises ValueError where no zero octet ends the name.
    """
    end = name.index(0)
    folded = name[:end].translate(_FOLD).ljust((end | 3) + 1, _PADDING)
    mixed = 0
    for word in _UNPACKED[len(folded) >> 2].unpack(folded):
        mixed = (mixed ^ word) * MULTIPLIER & 0xFFFFFFFF
        mixed ^= mixed >> SHIFT
    return ((mixed * LAST_MULTIPLIER & 0xFFFFFFFF) >> HALF) * workers >> HALF


def _word(group: int, place: int) -> bytes:
    """Mix the word at this place of the group into X, the hash so far; at a zero octet jump into the group's ending.

    A word that holds the zero of a well-formed query lies within the datagram: QTYPE and QCLASS follow, four octets.
    """
    offset = HEADER_SIZE + 4 * (group * WORDS_PER_GROUP + place)
    # Test n enters the ending at instruction n, so all four jump equally far. A jump counts from the next instruction.
    tests = (_one(_Code.JUMP_IF_ANY_BIT, mask, if_false=(WORDS_PER_GROUP - place) * _WORD_SIZE - 1) for mask in OCTET_MASKS)
    return _one(_Code.LOAD_WORD, offset) + b"".join(tests) + _mixed()


def _mixed() -> bytes:
    """The word in A into the hash in X: folded, exclusive or, multiplied, shifted."""
    return b"".join(
        (
            _one(_Code.OR, CASE_BITS),
            _one(_Code.XOR_X),
            _one(_Code.MULTIPLY, MULTIPLIER),
            _one(_Code.A_TO_X),
            _one(_Code.SHIFT_RIGHT, SHIFT),
            _one(_Code.XOR_X),
            _one(_Code.A_TO_X),
        )
    )


def _ending(workers: int) -> bytes:
    """Mix in the last word, from A, and return the index: entered at instruction n where octet n is the zero, both from 0."""
    return b"".join(
        (
            *(_one(_Code.AND, kept) for kept in KEPT_BEFORE),
            _mixed(),
            _one(_Code.MULTIPLY, LAST_MULTIPLIER),
            _one(_Code.SHIFT_RIGHT, HALF),
            _one(_Code.MULTIPLY, workers),
            _one(_Code.SHIFT_RIGHT, HALF),
            _one(_Code.RETURN_A),
        )
    )


def _one(code: _Code, k: int = 0, *, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, 0, if_false, k)
