"""Names the operator pinned, into records: `hosts.records` of the configuration and files in the syntax of hosts(5).

Never resolves anything and never answers half of what was written: one wrong line is a problem, and the caller keeps what it
had. Always holds: names are lower-cased wire form of at most 255 octets, no record stands twice, every address has a PTR
(the unspecified ones, which block lists use, excepted), and a name in `hosts.records` is not taken from the files too.
"""

import ipaddress
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dnslib import AAAA, PTR, QTYPE, RD, TXT, A, DNSBuffer, DNSLabel

from forwarder.errors import ConfigError, Problem
from forwarder.link import Pinned, PinnedRecords

TTL = 30
"""Seconds: what an operator takes out again is forgotten as soon as CoreDNS forgets its own names."""
MAX_NAME_SIZE = 255
"""Octets on the wire (RFC 1035 section 3.1)."""
MAX_TEXT_SIZE = 1000
"""Octets of a TXT record: what fits into a datagram of 1232 beside the rest of the response."""
MAX_STRING_SIZE = 255
"""Octets of one of the strings that a TXT record consists of (RFC 1035 section 3.3)."""
MAX_ADDRESSES = 256
"""Of one name and family: no client tries more, and a response must hold them."""
MAX_POINTERS = 8
"""PTR records of one address; a block list gives one address to 100,000 names, and programs look at the first."""
MAX_FILE_SIZE = 4 << 20
"""Octets: more names than a message to a worker holds."""
MAX_PROBLEMS_PER_FILE = 20
"""Shown at one time: a file with more is another kind of file."""

_LABEL = re.compile(r"[a-z0-9_/-]{1,63}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def pinned(records: Mapping[str, Sequence[str]], files: Sequence[str]) -> Pinned:
    """All pinned records. Raises ConfigError with every problem, by setting, or by file and line."""
    problems: list[Problem] = []
    book = _Book()
    for name, values in records.items():
        for number, value in enumerate(values):
            try:
                book.add(name, value)
            except ValueError as error:
                problems.append(Problem(f'hosts.records["{name}"][{number}]', str(error)))
    book.close()
    for file in files:
        problems += _read(file, book)
    if problems:
        raise ConfigError(tuple(problems))
    return Pinned(records=book.records())


def _read(file: str, book: "_Book") -> list[Problem]:
    """Add what a hosts file says; what is wrong with it."""
    try:
        data = _content(Path(file))
    except OSError as error:
        return [Problem(file, f"cannot be read: {error.strerror or error}")]
    except ValueError as error:
        return [Problem(file, str(error))]
    problems = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            book.add_line(line)
        except ValueError as error:
            problems.append(Problem(f"{file}:{number}", str(error)))
    if len(problems) > MAX_PROBLEMS_PER_FILE:
        more = len(problems) - MAX_PROBLEMS_PER_FILE
        problems[MAX_PROBLEMS_PER_FILE:] = [Problem(file, f"{more} more lines are wrong: is this a hosts file?")]
    return problems


def _content(path: Path) -> bytes:
    """The whole file. O_NONBLOCK: to open a pipe must not wait for a writer."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is not a regular file: name one")
        data = file.read(MAX_FILE_SIZE + 1)
    if len(data) > MAX_FILE_SIZE:
        raise ValueError(f"is larger than {MAX_FILE_SIZE >> 20} MiB: pin fewer names")
    return data


class _Book:
    """The records so far."""

    def __init__(self) -> None:
        self._rdatas: dict[tuple[bytes, int], dict[bytes, None]] = {}
        self._closed: frozenset[bytes] = frozenset()

    def records(self) -> list[PinnedRecords]:
        return [
            PinnedRecords(name=name, qtype=qtype, ttl=TTL, rdatas=list(rdatas))
            for (name, qtype), rdatas in self._rdatas.items()
        ]

    def close(self) -> None:
        """From here on the names known so far stay as they are."""
        self._closed = frozenset(name for name, qtype in self._rdatas if qtype != QTYPE.PTR)

    def add(self, name: str, value: str) -> None:
        """One entry of `hosts.records`: an address, or a text in double quotes of its own."""
        label = _label(name)
        if value[:1] == '"':
            self._put(label, QTYPE.TXT, _text(value))
            return
        address = _address(value)
        self._add_address(label, address)
        self._add_pointer(address, label)

    def add_line(self, line: bytes) -> None:
        """One line of a hosts file: address, canonical name, aliases; the PTR goes to the canonical name."""
        try:
            words = line.partition(b"#")[0].decode("ascii").split()
        except UnicodeDecodeError:
            raise ValueError("holds characters that are not ASCII: write names in their xn-- form") from None
        if not words:
            return
        address, labels = _address(words[0]), [_label(name) for name in words[1:]]
        if not labels:
            raise ValueError(f"{words[0]} has no name behind it: write address and name on one line")
        for label in labels:
            if _wire(label) not in self._closed:
                self._add_address(label, address)
        self._add_pointer(address, labels[0])

    def _add_address(self, label: DNSLabel, address: Address) -> None:
        if address.version == 4:  # noqa: PLR2004 - the version of IP
            self._put(label, QTYPE.A, A(tuple(address.packed)))
        else:
            self._put(label, QTYPE.AAAA, AAAA(tuple(address.packed)))

    def _add_pointer(self, address: Address, label: DNSLabel) -> None:
        owner = DNSLabel(address.reverse_pointer)
        known = self._rdatas.get((_wire(owner), QTYPE.PTR), {})
        if not address.is_unspecified and len(known) < MAX_POINTERS:
            self._put(owner, QTYPE.PTR, PTR(label))

    def _put(self, owner: DNSLabel, qtype: int, record: RD) -> None:
        rdatas = self._rdatas.setdefault((_wire(owner), qtype), {})
        buffer = DNSBuffer()
        record.pack(buffer)
        rdatas[bytes(buffer.data)] = None
        if len(rdatas) > MAX_ADDRESSES:
            raise ValueError(f"{str(owner).rstrip('.')} has more than {MAX_ADDRESSES} addresses of one family: leave some out")


def _address(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text[:60]!a} is no IP address: write one such as 192.0.2.1 or 2001:db8::1") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError(f"{text[:60]!a}: an interface (%) means nothing to clients, write the address alone")
    return address


def _label(text: str) -> DNSLabel:
    """A name, lower-cased; with or without the dot at its end."""
    name = text.lower().removesuffix(".")
    parts = name.split(".")
    if not all(_LABEL.fullmatch(part) for part in parts) or len(name) + 2 > MAX_NAME_SIZE:
        bounds = "parts of 1 to 63 letters, digits, -, _ and /, 253 characters in all"
        raise ValueError(f"{text[:60]!a} is no domain name: {bounds}")
    return DNSLabel([part.encode() for part in parts])


def _wire(label: DNSLabel) -> bytes:
    buffer = DNSBuffer()
    buffer.encode_name_nocompress(label)
    return bytes(buffer.data)


def _text(value: str) -> TXT:
    data = value[1:-1].encode(errors="replace")
    if len(value) < 2 or not value.endswith('"'):  # noqa: PLR2004 - the two quotes
        raise ValueError("the text begins with a quote and has none at its end: write '\"some text\"'")
    if len(data) > MAX_TEXT_SIZE:
        raise ValueError(f"the text is longer than {MAX_TEXT_SIZE} octets: no response could hold it")
    return TXT(list(_strings(data)) or [b""])


def _strings(data: bytes) -> Iterator[bytes]:
    """The pieces of 255 octets in which a TXT record carries a longer text."""
    for start in range(0, len(data), MAX_STRING_SIZE):
        yield data[start : start + MAX_STRING_SIZE]
