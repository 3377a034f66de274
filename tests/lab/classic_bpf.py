"""Classic BPF as the kernel understands it, run in Python: the second opinion on programs that the daemon writes.

Written from Documentation/networking/filter.rst and linux/bpf_common.h, for the instructions that a program over a datagram's
payload has use for. Always holds: what the kernel would refuse to attach raises `RefusedError` before it runs.
"""

import struct
from dataclasses import dataclass

MOST_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""
_FILTER = struct.Struct("HBBI")
_LOAD_WORD, _LOAD_HALF, _LOAD_OCTET = 0x20, 0x28, 0x30
_LOADS = {_LOAD_WORD: 4, _LOAD_HALF: 2, _LOAD_OCTET: 1}
_JUMP, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET = 0x05, 0x15, 0x25, 0x45
_CONDITIONS = (_JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET)
_RETURN, _RETURN_A, _TO_X, _TO_A = 0x06, 0x16, 0x07, 0x87
_FROM_X = 0x08
_ADD, _AND, _OR, _XOR, _MULTIPLY, _LEFT, _RIGHT = 0x04, 0x54, 0x44, 0xA4, 0x24, 0x64, 0x74
_ARITHMETIC = (_ADD, _AND, _OR, _XOR, _MULTIPLY, _LEFT, _RIGHT)
_KNOWN = {*_LOADS, _JUMP, *_CONDITIONS, _RETURN, _RETURN_A, _TO_X, _TO_A}


class RefusedError(Exception):
    """The kernel would not attach this program."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    value: int
    """What the program returned; 0 where a load failed."""
    executed: int
    """Instructions."""
    failed: bool
    """Whether a load beyond the payload ended it."""


def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    """Code, jumps when true and when false, k. Raises RefusedError where the length, a code, a shift or a jump is wrong."""
    if not program or len(program) % _FILTER.size or len(program) > MOST_INSTRUCTIONS * _FILTER.size:
        raise RefusedError(f"{len(program)} octets")
    decoded: list[tuple[int, int, int, int]] = list(_FILTER.iter_unpack(program))
    for position, (code, if_true, if_false, k) in enumerate(decoded):
        if code not in _KNOWN and code & ~_FROM_X not in _ARITHMETIC:
            raise RefusedError(f"{position}: code {code:#x}")
        if code in {_LEFT, _RIGHT} and k > 31:
            raise RefusedError(f"{position}: shift by {k}")
        furthest = k if code == _JUMP else max(if_true, if_false) if code in _CONDITIONS else 0
        if position + 1 + furthest >= len(decoded) and code not in {_RETURN, _RETURN_A}:
            raise RefusedError(f"{position}: leads beyond the end")
    return decoded


def run(decoded: list[tuple[int, int, int, int]], payload: bytes) -> Ended:
    """Run over a payload, as handed to a program of a SO_REUSEPORT group of UDP sockets: offset 0 is behind the UDP header."""
    a = x = position = executed = 0
    while True:
        code, if_true, if_false, k = decoded[position]
        position += 1
        executed += 1
        if code in _LOADS:
            octets = payload[k : k + _LOADS[code]]
            if len(octets) < _LOADS[code]:
                return Ended(0, executed, failed=True)
            a = int.from_bytes(octets, "big")
        elif code == _JUMP:
            position += k
        elif code in _CONDITIONS:
            holds = {_JUMP_EQUAL: a == k, _JUMP_GREATER: a > k, _JUMP_SET: a & k != 0}[code]
            position += if_true if holds else if_false
        elif code in {_RETURN, _RETURN_A}:
            return Ended(k if code == _RETURN else a, executed, failed=False)
        elif code == _TO_X:
            x = a
        elif code == _TO_A:
            a = x
        else:
            a = _calculated(code & ~_FROM_X, a, x if code & _FROM_X else k)


def _calculated(code: int, a: int, operand: int) -> int:
    """32 bits, wrapping."""
    if code == _AND:
        return a & operand
    if code == _OR:
        return a | operand
    if code == _XOR:
        return a ^ operand
    if code == _RIGHT:
        return a >> (operand & 31)
    if code == _LEFT:
        return a << (operand & 31) & 0xFFFFFFFF
    return (a + operand if code == _ADD else a * operand) & 0xFFFFFFFF
