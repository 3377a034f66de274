"""The data of a record in letters, as master files write it (RFC 1035 section 5.1).

Pure. dnslib prints the less common types, and is shown nothing but the octets of one record of bounded size, found within its
message, compressed names never among them. Always holds: the text is printable ASCII; what cannot be read stands in the form
of RFC 3597 section 5.
"""

import contextlib
import ipaddress
import struct
from collections.abc import Callable

from dnslib import RDMAP, DNSBuffer

from forwarder.errors import WireError
from forwarder.wire.names import Names, text_from_name
from forwarder.wire.walking import NAMES_IN_RDATA, Record, names_in

MOST_FOR_DNSLIB = 2048
"""Octets of RDATA that dnslib is shown: keys and service parameters fit, and it is read at once."""
MOST_SHOWN = 1024
"""Characters of one record that are shown."""
FIRST_PRINTABLE, LAST_PRINTABLE = 0x20, 0x7E

_read_soa = struct.Struct("!IIIII").unpack_from
_read_srv = struct.Struct("!HHH").unpack_from


def printable(octets: bytes) -> str:
    """The octets as ASCII, what does not print as backslash and three digits."""
    return "".join(
        chr(octet) if FIRST_PRINTABLE <= octet <= LAST_PRINTABLE and octet != ord("\\") else f"\\{octet:03d}"
        for octet in octets
    )


def text_of(message: bytes, record: Record, names: Names) -> str:
    """The data of one record of a message, for a person: cut where it is long. Raises WireError when names do not fit."""
    octets = message[record.rdata : record.end]
    try:
        text = _read(message, record, names, octets)
    except (ValueError, struct.error, IndexError):
        text = unknown(octets)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def master_text_of(message: bytes, record: Record, names: Names) -> str:
    """The same for programs: whole, and read by whatever reads master files; unknown is all that cannot be trusted to be.

    Those are the types whose text dnslib writes with quotes or names in it.
    """
    octets = message[record.rdata : record.end]
    if record.rtype in _TRUSTED:
        with contextlib.suppress(ValueError, struct.error, IndexError, WireError):
            text = _read(message, record, names, octets)
            if text and not text.endswith(" "):  # else a part of it is empty, which nobody reads
                return text
    position, parts = record.rdata, []
    for place, after in names_in(record, names):
        parts += [message[position:place], names.spelled(place)[0]]
        position = after
    return unknown(b"".join(parts) + message[position : record.end])


def unknown(octets: bytes) -> str:
    """Data of a type nobody here knows (RFC 3597 section 5)."""
    return f"\\# {len(octets)} {octets.hex()}".rstrip()


def _read(message: bytes, record: Record, names: Names, octets: bytes) -> str:
    if record.rtype in NAMES_IN_RDATA:
        places = names_in(record, names)
        texts = [text_from_name(names.spelled(place)[0]) for place, _ in places]
        if record.rtype == _SRV:
            return " ".join((*map(str, _read_srv(octets)), *texts))
        if record.rtype == _SOA:
            after = places[-1][1]
            if after + _SOA_NUMBERS != record.end:
                raise WireError("an SOA that is not as long as its RDATA")
            return " ".join((*texts, *map(str, _read_soa(message, after))))
        prefix = NAMES_IN_RDATA[record.rtype][0]
        numbers = [str(int.from_bytes(octets[:prefix]))] if prefix == _PREFERENCE else []
        return " ".join((*numbers, *texts)) if prefix in {0, _PREFERENCE} else unknown(octets)
    reader = _READERS.get(record.rtype, _by_dnslib(record.rtype))
    return reader(octets)


def _strings(octets: bytes) -> str:
    """The character strings of TXT (RFC 1035 section 3.3.14), each in quotes."""
    strings = []
    position = 0
    while position < len(octets):
        end = position + 1 + octets[position]
        if end > len(octets):
            raise ValueError("a character string runs past the end")
        strings.append('"' + printable(octets[position + 1 : end]).replace('"', '\\"') + '"')
        position = end
    return " ".join(strings)


def _by_dnslib(rtype: int) -> Callable[[bytes], str]:
    reader = RDMAP.get(_DNSLIB_NAMES.get(rtype, ""))

    def read(octets: bytes) -> str:
        if reader is None or len(octets) > MOST_FOR_DNSLIB:
            return unknown(octets)
        try:
            text = str(reader.parse(DNSBuffer(octets), len(octets)))
            return printable(text.encode("latin-1", "replace")).replace("\\092", "\\")
        except Exception:  # noqa: BLE001 - dnslib raises errors of many kinds on octets it does not expect, RecursionError too
            return unknown(octets)

    return read


_SOA, _SRV = 6, 33
_SOA_NUMBERS = 20
"""Octets of serial, refresh, retry, expire and minimum."""
_PREFERENCE = 2
"""Octets before the name of MX, KX and the like: a number."""
_DNSLIB_NAMES = {29: "LOC", 35: "NAPTR", 43: "DS", 44: "SSHFP", 48: "DNSKEY", 52: "TLSA", 64: "HTTPS", 65: "HTTPS", 257: "CAA"}
"""SVCB has the form of HTTPS (RFC 9460 section 2)."""
_TRUSTED = frozenset((1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 44, 48, 52))
"""Types whose text is read back as what it was: written here, or numbers and hexadecimal digits."""
_READERS: dict[int, Callable[[bytes], str]] = {
    1: lambda octets: str(ipaddress.IPv4Address(octets)),
    16: _strings,
    28: lambda octets: str(ipaddress.IPv6Address(octets)),
}
