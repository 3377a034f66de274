"""Walking: every record found where it stands, and none that is not whole."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.errors import WireError
from forwarder.wire.names import Names
from forwarder.wire.walking import FOREIGN_TYPE, NAMES_IN_RDATA, OPT_TYPE, Record, names_in, walked
from tests.lab.messages import TO_QNAME, raw_record

HEADER = bytes(12)
QUESTION = b"\1q\7example\0\0\1\0\1"
START = len(HEADER) + len(QUESTION)
NAME = b"\3www\7example\0"

rdatas = st.binary(max_size=40)
types = st.integers(1, 0xFFFF).filter(lambda number: number != 41)


def found_in(*records: bytes) -> list[Record]:
    found, end = walked(HEADER + QUESTION + b"".join(records), START, len(records))
    assert end == START + sum(map(len, records))
    return found


@given(st.lists(st.tuples(st.sampled_from([TO_QNAME, NAME, b"\0"]), types, rdatas), max_size=8))
def test_records_stand_one_behind_the_other(records: list[tuple[bytes, int, bytes]]) -> None:
    raw = [raw_record(owner, rtype, rdata) for owner, rtype, rdata in records]
    message = HEADER + QUESTION + b"".join(raw)
    for record, (owner, rtype, rdata), octets in zip(found_in(*raw), records, raw, strict=True):
        assert message[record.start : record.end] == octets
        assert message[record.rdata : record.end] == rdata
        assert (record.rtype, record.fixed - record.start) == (rtype, len(owner))


@given(rdatas)
def test_one_cut_anywhere_is_a_wire_error(rdata: bytes) -> None:
    record = raw_record(NAME, 16, rdata)
    for cut in range(len(record)):
        with pytest.raises(WireError):
            walked(HEADER + QUESTION + record[:cut], START, 1)


def test_another_class_and_opt_have_types_that_nobody_asks_for() -> None:
    chaos, opt = found_in(raw_record(NAME, 16, b"\1x", rclass=3), raw_record(b"\0", 41, b"", rclass=1232))
    assert (chaos.rtype, opt.rtype) == (FOREIGN_TYPE, OPT_TYPE)
    assert max(chaos.rtype, opt.rtype) < 0


def test_a_record_is_itself_and_no_other() -> None:
    first, second = found_in(raw_record(NAME, 1, b"abcd"), raw_record(NAME, 1, b"abcd"))
    twin = Record(first.start, first.fixed, first.rtype, first.ttl, first.end)
    assert first not in {second, twin}


@pytest.mark.parametrize(("rtype", "shape"), NAMES_IN_RDATA.items())
def test_names_fill_their_rdata(rtype: int, shape: tuple[int, int]) -> None:
    prefix, count = shape
    rest = struct.pack("!5I", 1, 2, 3, 4, 5) if rtype == 6 else b""
    for change, is_whole in ((b"", True), (b"x", rtype == 6)):
        rdata = bytes(prefix) + NAME * count + rest + change
        (record,) = found_in(raw_record(TO_QNAME, rtype, rdata))
        names = Names(HEADER + QUESTION + raw_record(TO_QNAME, rtype, rdata))
        if is_whole:
            assert [after - start for start, after in names_in(record, names)] == [len(NAME)] * count
        else:
            with pytest.raises(WireError):
                names_in(record, names)


def test_a_name_longer_than_its_rdata_is_a_wire_error() -> None:
    record = raw_record(TO_QNAME, 5, NAME)
    short = record[:10] + struct.pack("!H", len(NAME) - 1) + record[12:]
    (found,), _ = walked(HEADER + QUESTION + short, START, 1)
    with pytest.raises(WireError):
        names_in(found, Names(HEADER + QUESTION + short))


def test_other_types_are_left_alone() -> None:
    (record,) = found_in(raw_record(TO_QNAME, 16, b"\xff\xff"))
    assert names_in(record, Names(b"")) == []
