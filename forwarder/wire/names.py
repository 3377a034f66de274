"""Domain names in wire form: labels with their length octets, ending with the root's zero (RFC 1035 section 3.1).

Names are kept as lower-cased wire octets and never as printed text, so that a label `a.b` and the labels `a`, `b` stay apart
and 8-bit labels are fine. Always holds: a name that was read is at most 255 octets long, pointers went strictly backwards,
and reading it took at most `MAX_POINTERS` jumps, none of them into the header.
"""

from collections.abc import Iterator

from forwarder.errors import WireError
from forwarder.wire.framing import HEADER_SIZE

MAX_NAME = 255
"""Octets of a name, length octets included (RFC 1035 section 2.3.4); it bounds the labels to 127."""
MAX_LABEL = 63
"""Octets of a label (RFC 1035 section 2.3.4)."""
MAX_POINTERS = 16
"""Compression pointers followed for one name. Real servers nest three or four; unbound allows 256, which lets 64 KiB of
pointers to pointers cost what a megabyte should."""
LEAST_STEPS = 512
OCTETS_PER_STEP = 4
"""Labels and pointers followed for one message: this many, and one more for each so many octets. A record takes 12 octets at
least and an owner seen before costs one step."""
POINTER = 0xC0
"""The two top bits that make a length octet the start of a pointer (RFC 1035 section 4.1.4)."""
ROOT = b"\0"
TO_QNAME = b"\xc0\x0c"
"""A compression pointer to the question's name, which always starts behind the header."""


class Names:
    """The names of one message, each decompressed once, the work bounded by the size of the message.

    Without the bound a message of many records, each owned by a pointer into one long name, costs its size times 127.
    """

    __slots__ = ("_known", "_message", "_steps_left")

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._known: dict[int, tuple[bytes, int]] = {}
        self._steps_left = LEAST_STEPS + len(message) // OCTETS_PER_STEP

    def spelled(self, position: int) -> tuple[bytes, int]:
        """The name at `position`, uncompressed and spelled as it stands, and the position of what follows it."""
        known = self._known.get(position)
        if known is None:
            known = self._known[position] = self._read(position)
        return known

    def lowered(self, position: int) -> tuple[bytes, int]:
        """The same, lower-cased."""
        name, after = self.spelled(position)
        return name.lower(), after

    def _read(self, position: int) -> tuple[bytes, int]:
        message = self._message
        labels: list[bytes] = []
        size = 1
        after = 0
        lowest = position
        jumps = 0
        try:
            while length := message[position]:
                self._steps_left -= 1
                if self._steps_left < 0:
                    raise WireError("more names than a message of this size has use for")
                if length <= MAX_LABEL:
                    end = position + 1 + length
                    size += end - position
                    if size > MAX_NAME:
                        raise WireError("name longer than 255 octets")
                    labels.append(message[position:end])
                    position = end
                    continue
                if length < POINTER:
                    raise WireError("label type 0x40 or 0x80")
                target = (length & MAX_LABEL) << 8 | message[position + 1]
                after = after or position + 2
                jumps += 1
                known = self._known.get(target)
                if known is not None and size + len(known[0]) - 1 <= MAX_NAME and target < lowest:
                    return b"".join(labels) + known[0], after
                if not HEADER_SIZE <= target < lowest or jumps > MAX_POINTERS:
                    raise WireError("compression pointer into the header, not backwards, or one of too many")
                position = lowest = target
        except IndexError:
            raise WireError("name runs past the end") from None
        labels.append(ROOT)
        return b"".join(labels), after or position + 1


def read_name(message: bytes, position: int) -> tuple[bytes, int]:
    """One name of a message, uncompressed and lower-cased, and the position of what follows it."""
    return Names(message).lowered(position)


def skip_name(message: bytes | bytearray, position: int) -> int:
    """The position of what follows the name at `position`; pointers are not followed."""
    try:
        while length := message[position]:
            if length <= MAX_LABEL:
                position += 1 + length
            elif length >= POINTER:
                return position + 2
            else:
                raise WireError("label type 0x40 or 0x80")
    except IndexError:
        raise WireError("name runs past the end") from None
    return position + 1


def ancestors(name: bytes) -> Iterator[bytes]:
    """The name itself, then each name above it, the root last."""
    position = 0
    while length := name[position]:
        yield name[position:]
        position += 1 + length
    yield ROOT


def is_at_or_below(name: bytes, zone: bytes) -> bool:
    """Whether `zone` encloses the name (RFC 9499 section 7); both lower-cased wire form."""
    if not name.endswith(zone):
        return False
    cut = len(name) - len(zone)
    position = 0
    while position < cut:
        position += 1 + name[position]
    return position == cut


def name_from_text(text: str) -> bytes:
    r"""Lower-cased wire form of a name as people write it, with or without the final dot; `\.` and `\046` escape.

    Raises ValueError that says what is wrong. International names must be given as A-labels (`xn--`).
    """
    if text in {"", "."}:
        return ROOT
    labels: list[bytes] = []
    label = bytearray()
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == ".":
            labels.append(bytes(label))
            label.clear()
            continue
        if character == "\\":
            octet, position = _escaped(text, position)
            label.append(octet)
            continue
        if not " " < character <= "~":
            raise ValueError(f"{character!r} is no character of a domain name; write it as an A-label (xn--...)")
        label.append(ord(character))
    if label:
        labels.append(bytes(label))
    if not all(0 < len(label) <= MAX_LABEL for label in labels):
        raise ValueError(f"{text!r} has a label that is empty or longer than 63 octets")
    name = b"".join(bytes((len(label),)) + label for label in labels) + ROOT
    if len(name) > MAX_NAME:
        raise ValueError(f"{text[:40]!r}... is longer than 255 octets")
    return name.lower()


def _escaped(text: str, position: int) -> tuple[int, int]:
    digits = text[position : position + 3]
    if len(digits) == 3 and digits.isascii() and digits.isdigit() and int(digits) <= 0xFF:  # noqa: PLR2004 - three digits of \DDD
        return int(digits), position + 3
    if not digits or digits[0].isdigit() or not " " < digits[0] <= "~":
        raise ValueError(f"{text!r} has a backslash with nothing to escape behind it")
    return ord(digits[0]), position + 1


def text_from_name(name: bytes) -> str:
    """The name as people read it, with its final dot; what does not print, or would mislead, is escaped."""
    if name == ROOT:
        return "."
    parts: list[str] = []
    position = 0
    while length := name[position]:
        for octet in name[position + 1 : position + 1 + length]:
            if octet in b'.\\"();@$':
                parts.append("\\" + chr(octet))
            elif 0x20 < octet < 0x7F:  # noqa: PLR2004 - what prints in ASCII
                parts.append(chr(octet))
            else:
                parts.append(f"\\{octet:03d}")
        parts.append(".")
        position += 1 + length
    return "".join(parts)
