"""What an off-path attacker must not guess: message IDs and the case of QNAME (RFC 5452, draft-vixie-dnsext-dns0x20).

Always holds: every octet comes from the system's generator and is used once.
"""

import secrets
from array import array

POOL = 4096
"""Octets fetched at a time: one system call for some 50 to 100 queries."""


class Unpredictable:
    """Octets of the system's generator, fetched in bulk."""

    __slots__ = ("_ids", "_octets", "_position")

    def __init__(self) -> None:
        self._ids = array("H")
        """Not a list: two thousand small objects made in a moment of many questions would keep the memory of that moment."""
        self._octets = b""
        self._position = 0

    def message_id(self) -> int:
        """16 random bits."""
        if not self._ids:
            self._ids.frombytes(secrets.token_bytes(POOL))
        return self._ids.pop()

    def spelled(self, name: bytes) -> bytes:
        """The lower-cased wire name with each letter's case drawn at random. Length octets are below 64, letters above."""
        size = len(name)
        position = self._position
        if position + size > len(self._octets):
            self._octets = secrets.token_bytes(POOL)
            position = 0
        self._position = position + size
        plain = int.from_bytes(name)
        letters = plain ^ int.from_bytes(name.upper())
        return (plain ^ (letters & int.from_bytes(self._octets[position : position + size]))).to_bytes(size)
