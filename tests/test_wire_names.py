"""Names: read and written as dnspython and dnslib do, and bounded where a hostile message would have them unbounded."""

import contextlib
import struct
from io import BytesIO

import dns.exception
import dns.name
import dnslib
import pytest
from dnslib.label import DNSBuffer
from hypothesis import assume, given
from hypothesis import strategies as st

from forwarder.errors import WireError
from forwarder.wire.names import (
    MAX_POINTERS,
    ROOT,
    Names,
    ancestors,
    is_at_or_below,
    name_from_text,
    read_name,
    skip_name,
    text_from_name,
)  # fmt: skip
from tests.lab.messages import dnspython_name, names, work_of

PREFIX = bytes(12)
"""Room for a header, so that offset 0 is no name."""
related = st.lists(names, min_size=1, max_size=6).flatmap(
    lambda found: st.lists(
        st.sampled_from(found + [above for name in found for above in ancestors(name)]), min_size=1, max_size=8
    )
)
"""Names, some of them above others: what compression is for."""


def spelled_name(message: bytes, position: int) -> tuple[bytes, int]:
    return Names(message).spelled(position)


def pointer_to(offset: int) -> bytes:
    return struct.pack("!H", 0xC000 | offset)


# ----------------------------------------------------------------------------------------------- agreeing with others


@given(related)
def test_names_compressed_by_dnspython_are_read(found: list[bytes]) -> None:
    file = BytesIO()
    file.write(PREFIX)
    compress: dict[dns.name.Name, int] = {}
    starts = []
    for name in found:
        starts.append(file.tell())
        dnspython_name(name).to_wire(file, compress)
    message = file.getvalue()
    for name, start, after in zip(found, starts, [*starts[1:], len(message)], strict=True):
        assert read_name(message, start) == (name.lower(), after)
        assert skip_name(message, start) == after
        spelled = dns.name.from_wire(message, start)[0].to_wire()
        assert spelled_name(message, start) == (spelled, after)


@given(related)
def test_names_compressed_by_dnslib_are_read_as_spelled(found: list[bytes]) -> None:
    buffer = DNSBuffer(PREFIX)
    buffer.offset = len(PREFIX)
    starts = []
    for name in found:
        starts.append(buffer.offset)
        label = dnslib.DNSLabel(dnspython_name(name).labels[:-1])
        assume(len(label) <= 253)  # dnslib counts what a name prints as
        buffer.encode_name(label)
    message = bytes(buffer.data)
    for name, start in zip(found, starts, strict=True):
        assert spelled_name(message, start)[0] == name


@given(names)
def test_a_name_as_people_write_it_is_the_same_for_dnspython(name: bytes) -> None:
    text = text_from_name(name)
    assert dns.name.from_text(text).to_wire() == name
    assert name_from_text(text) == name.lower()
    assert name == ROOT or name_from_text(text.removesuffix(".")) == name.lower()
    assert name_from_text(dnspython_name(name).to_text()) == name.lower()


@given(st.text("aB.-_\\019é \x7f", max_size=20))
def test_any_text_is_a_name_or_a_value_error_that_dnspython_shares(text: str) -> None:
    try:
        name = name_from_text(text)
    except ValueError:
        return
    theirs = dns.name.from_text(text) if text else dns.name.root
    assert name == theirs.canonicalize().to_wire()


OCTETS_256 = ".".join(["a" * 63] * 3 + ["a" * 62])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", b"\0"),
        (".", b"\0"),
        ("Www.Example", b"\3www\7example\0"),
        ("www.example.", b"\3www\7example\0"),
        (r"a\.b.c", b"\3a.b\1c\0"),
        (r"a\046b.c", b"\3a.b\1c\0"),
        (r"\000\255", b"\2\0\xff\0"),
        ("_http._tcp.svc", b"\5_http\4_tcp\3svc\0"),
        ("a" * 63, b"\x3f" + b"a" * 63 + b"\0"),
        (OCTETS_256[:-1], (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"),
    ],
)
def test_text_reads_as(text: str, name: bytes) -> None:
    assert name_from_text(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "a..b", ".a", "a..", "..", "a b", "bücher.example", "a\n", "a" * 64, OCTETS_256, ".".join("a" * 128),
        "a\\", "\\", r"a\ b", "a\\\n", "a\\é", r"a\1", r"a\12b", r"a\256",
    ],
)  # fmt: skip
def test_text_that_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        name_from_text(text)


def test_a_dot_in_a_label_is_not_a_dot_between_labels() -> None:
    assert text_from_name(b"\3a.b\0") == r"a\.b."
    assert text_from_name(b"\1a\1b\0") == "a.b."


@given(names, names)
def test_enclosing_is_what_dnspython_calls_a_subdomain(one: bytes, other: bytes) -> None:
    name, zone = one.lower(), other.lower()
    assert is_at_or_below(name, zone) == dnspython_name(name).is_subdomain(dnspython_name(zone))
    for above in ancestors(name):
        assert is_at_or_below(name, above)
        assert is_at_or_below(above, name) == (above == name)


def test_a_label_that_ends_like_the_zone_is_not_below_it() -> None:
    assert not is_at_or_below(name_from_text("notexample.org"), name_from_text("example.org"))
    assert not is_at_or_below(b"\x09a\7example\0", b"\7example\0")


@given(names)
def test_ancestors_go_up_to_the_root_one_label_at_a_time(name: bytes) -> None:
    found = list(ancestors(name))
    theirs = dnspython_name(name)
    assert [dnspython_name(one) for one in found] == [dns.name.Name(theirs.labels[cut:]) for cut in range(len(theirs.labels))]


# -------------------------------------------------------------------------------------------- cut short, added to, wrong


@given(names, st.binary(max_size=20))
def test_what_follows_a_name_does_not_matter(name: bytes, rest: bytes) -> None:
    assert spelled_name(PREFIX + name + rest, 12) == (name, 12 + len(name))
    assert skip_name(PREFIX + name + rest, 12) == 12 + len(name)


@given(names)
def test_a_name_cut_anywhere_is_a_wire_error(name: bytes) -> None:
    for cut in range(len(name)):
        for reader in (read_name, spelled_name, skip_name):
            with pytest.raises(WireError):
                reader(PREFIX + name[:cut], 12)
    with pytest.raises(WireError):
        read_name(PREFIX + b"\1a\0" + b"\1b\xc0", 15)


fragments = st.one_of(
    st.sampled_from([b"\0", b"\1a", b"\2bC", b"\x3f", b"\x40", b"\x80", b"\xff"]),
    st.integers(0, 60).map(pointer_to),
    st.binary(max_size=3),
)
hostile_octets = st.lists(fragments, max_size=40).map(b"".join)


@given(hostile_octets, st.integers(0, 80))
def test_any_octets_are_a_name_that_dnspython_reads_too_or_a_wire_error(message: bytes, start: int) -> None:
    ours: bytes | None = None
    reason = ""
    try:
        ours, after = spelled_name(message, start)
        assert skip_name(message, start) == after
        assert start < after <= len(message)
        assert len(ours) <= 255
    except WireError as error:
        reason = str(error)
    theirs: bytes | None = None
    with contextlib.suppress(dns.exception.DNSException):
        theirs = dns.name.from_wire(message, start)[0].to_wire() if start < len(message) else None
    if ours is None:
        assert theirs is None or "too many" in reason
    elif theirs is not None:  # it also refuses labels behind a pointer that run into where the name began
        assert ours == theirs


# ------------------------------------------------------------------------------------------------- RFC 9267, one by one


@pytest.mark.parametrize(
    ("octets", "start"),
    [
        pytest.param(pointer_to(12), 12, id="a pointer to itself"),
        pytest.param(b"\1a" + pointer_to(12), 12, id="a label that comes back to itself"),
        pytest.param(pointer_to(14) + pointer_to(12), 14, id="two pointers in a circle"),
        pytest.param(pointer_to(14) + b"\1a\0", 12, id="forwards"),
        pytest.param(b"\1a" + pointer_to(12) + b"\1b" + pointer_to(12), 16, id="back, then in a circle"),
        pytest.param(pointer_to(0x3FFF), 12, id="behind the end"),
        pytest.param(b"\xc0", 12, id="half a pointer"),
        pytest.param(pointer_to(16) + b"\0\0\1a\0\0" + pointer_to(12), 20, id="back, then forwards"),
        pytest.param(b"\1a\0\x40\x0c", 15, id="label type 0x40"),
        pytest.param(b"\1a\0\x80\x0c", 15, id="label type 0x80"),
        pytest.param((b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0", 12, id="256 octets"),
        pytest.param(b"\1a" * 128 + b"\0", 12, id="128 labels"),
        pytest.param(b"\1a" * 126 + b"\0" + b"\2bb" + pointer_to(12), 12 + 253, id="256 octets over a pointer"),
        pytest.param(b"\x3f" + b"a" * 62, 12, id="a label past the end"),
        pytest.param(b"", 12, id="nothing"),
        pytest.param(b"\0", 40, id="a start past the end"),
    ],
)
def test_malice_is_a_wire_error(octets: bytes, start: int) -> None:
    with pytest.raises(WireError):
        read_name(PREFIX + octets, start)


@pytest.mark.parametrize(
    "name",
    [
        (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0",
        b"\1a" * 127 + b"\0",
        b"\x3f" + b"a" * 63 + b"\0",
        b"\2\xc0\x0c\0",
    ],
    ids=["255 octets", "127 labels", "63 octets in a label", "a label that looks like a pointer"],
)
def test_what_is_just_allowed_is_read(name: bytes) -> None:
    assert spelled_name(PREFIX + name, 12) == (name, 12 + len(name))


def test_a_name_may_be_255_octets_over_a_pointer() -> None:
    message = PREFIX + b"\1a" * 126 + b"\0" + b"\1b" + pointer_to(12)
    assert read_name(message, 12 + 253) == (b"\1b" + b"\1a" * 126 + b"\0", len(message))


def chain_of_pointers(length: int) -> bytes:
    """`length` pointers, each to the one before it, the first to a name."""
    return PREFIX + b"\1a\0\0" + b"".join(pointer_to(12 if number == 0 else 14 + 2 * number) for number in range(length))


def test_pointers_to_pointers_are_followed_so_many_times() -> None:
    message = chain_of_pointers(MAX_POINTERS)
    assert read_name(message, len(message) - 2) == (b"\1a\0", len(message))
    message = chain_of_pointers(MAX_POINTERS + 1)
    with pytest.raises(WireError):
        read_name(message, len(message) - 2)


def test_a_pointer_into_the_header_is_a_wire_error() -> None:
    """RFC 1035 section 4.1.4: a pointer means a prior occurrence of a name; there is none in the header, and headers change."""
    with pytest.raises(WireError):
        read_name(b"\1a\0" + bytes(9) + pointer_to(0), 12)


def test_the_longest_chain_of_pointers_costs_no_more_than_a_bounded_one() -> None:
    def work(length: int) -> int:
        message = chain_of_pointers(length)

        def reading() -> None:
            with pytest.raises(WireError):
                read_name(message, len(message) - 2)

        return work_of(reading)

    assert work(8000) <= work(2 * MAX_POINTERS) + 5


@given(st.integers(0, 20), st.integers(0, 127))
def test_no_name_costs_more_than_its_labels_and_jumps(jumps: int, count: int) -> None:
    message = PREFIX + b"\1a" * count + b"\0" + b"".join(
        pointer_to(12 if number == 0 else 12 + 2 * count + 1 + 2 * (number - 1)) for number in range(jumps)
    )  # fmt: skip
    start = len(message) - 2 if jumps else 12

    def reading() -> None:
        try:
            spelled_name(message, start)
        except WireError:
            assert jumps > MAX_POINTERS

    assert work_of(reading) <= 40 + 12 * (count + min(jumps, MAX_POINTERS))
