"""What supervisor and worker say to each other: every message arrives as it was sent, whole, and anything else is refused."""

import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder import link

RECORDS = st.builds(
    link.PinnedRecords,
    name=st.binary(max_size=255),
    qtype=st.integers(0, 65535),
    ttl=st.integers(0, 2**31 - 1),
    rdatas=st.lists(st.binary(max_size=64), max_size=4),
)
PINNED = st.builds(link.Pinned, records=st.lists(RECORDS, max_size=4))
ZONES = st.builds(link.ZoneUpstreams, zone=st.text(max_size=20), addresses=st.lists(st.text(max_size=20), max_size=3))
UPSTREAMS = st.builds(link.Upstreams, zones=st.lists(ZONES, max_size=4), rows=st.lists(st.text(max_size=20), unique=True))
DESCRIPTORS = st.lists(st.integers(0, 1024), max_size=4)
PARTS = st.lists(st.builds(link.Part, memory=st.integers(0, 1024), size=st.integers(0, 2**40)), max_size=4)
NUMBERS = st.integers(0, 2**63)
ESTATES = st.builds(
    link.Estate,
    sockets=DESCRIPTORS,
    past=st.integers(0, 1024),
    control=st.integers(0, 1024),
    control_path=st.text(max_size=20),
    made_directory=st.booleans(),
    workers=st.integers(1, 64),
)
BEGIN = st.builds(
    link.Begin,
    config=st.binary(max_size=64),
    udp=DESCRIPTORS,
    tcp=DESCRIPTORS,
    counters=st.integers(0, 1024),
    pinned=PINNED,
    upstreams=UPSTREAMS,
    snapshot=st.integers(-1, 1024),
    number=st.integers(0, 63),
    workers=st.integers(1, 64),
    estate=st.none() | ESTATES,
)
FLUSH = st.builds(link.Flush, number=NUMBERS, name=st.binary(max_size=255), is_suffix=st.booleans())
RESTORE = st.builds(link.Restore, parts=PARTS, number=NUMBERS)
SNAPSHOT = st.builds(link.Snapshot, number=NUMBERS)
ORDERS = st.one_of(BEGIN, st.just(link.Open()), PINNED, UPSTREAMS, RESTORE, SNAPSHOT, FLUSH, st.just(link.Drain()))
REPORTS = st.one_of(
    st.builds(link.Serving, pid=st.integers(1, 2**22), unfenced=st.text(max_size=20)),
    st.builds(link.SnapshotRead, number=NUMBERS, answers=NUMBERS, problem=st.text(max_size=20)),
    st.builds(link.SnapshotWritten, number=NUMBERS, size=NUMBERS, problem=st.text(max_size=20)),
    st.builds(link.Flushed, number=NUMBERS, entries=NUMBERS),
)


@given(ORDERS)
def test_an_order_is_read_as_it_was_written(order: link.Order) -> None:
    read = link.read_order(link.written(order))
    assert read == order
    assert type(read) is type(order)


@given(REPORTS)
def test_a_report_is_read_as_it_was_written(report: link.Report) -> None:
    read = link.read_report(link.written(report))
    assert read == report
    assert type(read) is type(report)


@pytest.mark.parametrize(
    ("path", "made_directory", "removable"),
    [
        ("/run/forwarder/control.sock", True, ("/run/forwarder", "/run")),
        ("/run/forwarder/control.sock", False, ("/run/forwarder", "")),
    ],
)
def test_who_leaves_an_estate_removes_what_was_made_and_nothing_else(
    path: str, removable: tuple[str, str], *, made_directory: bool
) -> None:
    estate = link.Estate([3, 4], 5, 6, path, made_directory, 2)
    assert estate.removable == removable
    assert estate.descriptors == [3, 4, 5, 6]


class TestRefused:
    @given(st.binary(max_size=64))
    def test_octets_that_mean_nothing_raise_what_is_documented(self, octets: bytes) -> None:
        for read in (link.read_order, link.read_report):
            with pytest.raises(msgspec.DecodeError):
                read(octets)

    def test_nothing_at_all(self) -> None:
        """What `recv` gives when the other side is gone is no message."""
        with pytest.raises(msgspec.DecodeError):
            link.read_order(b"")

    def test_a_report_is_no_order_and_an_order_no_report(self) -> None:
        with pytest.raises(msgspec.DecodeError):
            link.read_order(link.written(link.Serving(1)))
        with pytest.raises(msgspec.DecodeError):
            link.read_report(link.written(link.Drain()))

    @pytest.mark.parametrize("cut", [1, 10, 60])
    def test_half_a_message(self, cut: int) -> None:
        whole = link.written(link.Pinned([link.PinnedRecords(b"\5hello\0", 1, 30, [bytes(4)] * 10)]))
        with pytest.raises(msgspec.DecodeError):
            link.read_order(whole[:-cut])

    @pytest.mark.parametrize(
        "fields",
        [
            {"type": "Pinned", "records": "none"},
            {"type": "Pinned", "records": [[b"\0", "A", 30, []]]},
            {"type": "Pinned"},
            {"type": "Upstreams", "zones": [[".", "192.0.2.1:53"]]},
            {"type": "Restart"},
        ],
    )
    def test_fields_of_the_wrong_type(self, fields: dict[str, object]) -> None:
        with pytest.raises(msgspec.ValidationError):
            link.read_order(msgspec.msgpack.encode(fields))


class TestNames:
    @pytest.mark.parametrize(
        ("zones", "names"),
        [
            ([], []),
            ([[]], []),
            ([["a", "b"]], ["a", "b"]),
            ([["b", "a"], ["a", "c"]], ["b", "a", "c"]),
            ([["a"], ["a"], ["a", "a"]], ["a"]),
        ],
    )
    def test_each_address_once_in_order_of_appearance(self, zones: list[list[str]], names: list[str]) -> None:
        upstreams = link.Upstreams([link.ZoneUpstreams(f"zone{number}", addresses) for number, addresses in enumerate(zones)])
        assert upstreams.names() == names

    @given(UPSTREAMS)
    def test_both_sides_number_them_alike(self, upstreams: link.Upstreams) -> None:
        read = link.read_order(link.written(upstreams))
        assert isinstance(read, link.Upstreams)
        assert read.names() == upstreams.names()
        assert read.row_numbers() == upstreams.row_numbers()

    @pytest.mark.parametrize(
        ("rows", "numbers"),
        [
            ([], {"b": 0, "a": 1}),
            (["a", "b"], {"b": 1, "a": 0}),
            (["gone", "a", "b"], {"b": 2, "a": 1}),
            (["a", "gone", "the rest"], {"b": 2, "a": 0}),
        ],
    )
    def test_a_row_given_out_stays_and_who_has_none_shares_the_last(self, rows: list[str], numbers: dict[str, int]) -> None:
        upstreams = link.Upstreams([link.ZoneUpstreams(".", ["b", "a"])], rows)
        assert upstreams.row_numbers() == numbers


def test_a_message_is_a_datagram_and_arrives_whole() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        first = link.Pinned([link.PinnedRecords(b"\5hello\0", 1, 30, [bytes(4)] * 1000)])
        ours.send(link.written(first))
        ours.send(link.written(link.Drain()))
        assert link.read_order(theirs.recv(link.MAX_MESSAGE_SIZE)) == first
        assert link.read_order(theirs.recv(link.MAX_MESSAGE_SIZE)) == link.Drain()


def test_a_hosts_file_of_fifty_thousand_names_fits() -> None:
    """The reason that MAX_MESSAGE_SIZE gives for itself, names of the usual length."""
    name = b"\x0bhost-%06d\x07example\x03com\0"
    records = [link.PinnedRecords(name.replace(b"%06d", b"%06d" % number), 1, 30, [b"\x7f\0\0\1"]) for number in range(50_000)]
    assert len(link.written(link.Pinned(records))) < link.MAX_MESSAGE_SIZE
