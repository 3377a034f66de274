"""Pinned names: answered with what the operator wrote, NODATA for the rest, addresses in turn, replaced as a whole."""

import struct

import dns.message
import dns.rcode
import pytest

from forwarder.cache.pinned import PinnedNames
from forwarder.wire.fitting import fitted, response_opt
from forwarder.wire.message import Qtype, Query, parse_query
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Kind, Response

A, PTR, TXT, MX, AAAA = 1, 12, 16, 15, 28
FIRST, SECOND, THIRD = (bytes((192, 0, 2, number)) for number in (1, 2, 3))
HELLO = name_from_text("hello.test")


def query_for(name: str, qtype: int = A, *, spelled: bool = False) -> Query:
    wire = name_from_text(name)
    return parse_query(
        struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + (wire.upper() if spelled else wire) + struct.pack("!HH", qtype, 1)
    )


def response_of(pinned: PinnedNames, query: Query) -> Response | None:
    return pinned.response_to(query) if query.name in pinned.names else None


def sent(pinned: PinnedNames, query: Query) -> dns.message.Message:
    """What the client gets, as dnspython reads it."""
    response = response_of(pinned, query)
    assert response is not None
    return dns.message.from_wire(fitted(response, query, 1232, response_opt(query, 1232), turn=pinned.turn))


def records_in(message: dns.message.Message) -> list[tuple[str, int, int, str]]:
    return [
        (rrset.name.to_text(), int(rrset.rdtype), rrset.ttl, rdata.to_text()) for rrset in message.answer for rdata in rrset
    ]


@pytest.fixture
def pinned() -> PinnedNames:
    pinned = PinnedNames()
    pinned.replace(
        [
            (HELLO, A, 30, [FIRST, SECOND, THIRD]),
            (HELLO, TXT, 30, [b"\x02hi", b"\x05there"]),
            (name_from_text("one.test"), A, 30, [FIRST]),
            (name_from_text("1.2.0.192.in-addr.arpa"), PTR, 30, [HELLO]),
            (name_from_text("six.test"), AAAA, 30, [bytes(15) + b"\1", bytes(15) + b"\2"]),
            (name_from_text("empty.test"), A, 30, []),
        ]
    )
    return pinned


def test_the_records_written_and_no_others(pinned: PinnedNames) -> None:
    message = sent(pinned, query_for("one.test"))
    assert records_in(message) == [("one.test.", A, 30, "192.0.2.1")]
    assert message.rcode() == dns.rcode.NOERROR
    assert (message.authority, message.additional) == ([], [])


@pytest.mark.parametrize(
    ("name", "qtype", "rdatas"),
    [
        ("hello.test", TXT, {'"hi"', '"there"'}),
        ("1.2.0.192.in-addr.arpa", PTR, {"hello.test."}),
        ("six.test", AAAA, {"::1", "::2"}),
        ("hello.test", A, {"192.0.2.1", "192.0.2.2", "192.0.2.3"}),
    ],
)
def test_every_type_that_can_be_written(pinned: PinnedNames, name: str, qtype: int, rdatas: set[str]) -> None:
    message = sent(pinned, query_for(name, qtype))
    assert {rdata for _, _, _, rdata in records_in(message)} == rdatas


def test_in_any_spelling_which_comes_back(pinned: PinnedNames) -> None:
    message = sent(pinned, query_for("hello.test", spelled=True))
    assert message.question[0].name.to_text() == "HELLO.TEST."
    assert len(records_in(message)) == 3


@pytest.mark.parametrize("name", ["other.test", "test", "below.hello.test", "xhello.test", "hello.test.example", "."])
def test_another_name_is_none_of_its_business(pinned: PinnedNames, name: str) -> None:
    assert response_of(pinned, query_for(name)) is None


@pytest.mark.parametrize(
    ("name", "qtype"),
    [("hello.test", AAAA), ("hello.test", MX), ("hello.test", Qtype.HTTPS), ("one.test", 65280), ("empty.test", A)],
)
def test_another_type_of_a_pinned_name_is_nodata(pinned: PinnedNames, name: str, qtype: int) -> None:
    response = response_of(pinned, query_for(name, qtype))
    assert response is not None
    assert (response.kind, response.rcode) == (Kind.NODATA, 0)
    message = sent(pinned, query_for(name, qtype))
    assert message.rcode() == dns.rcode.NOERROR
    assert (message.answer, message.authority) == ([], [])
    assert message.question[0].rdtype == qtype


class TestRotation:
    def test_each_address_comes_first_in_its_turn(self, pinned: PinnedNames) -> None:
        seen = [[rdata for _, _, _, rdata in records_in(sent(pinned, query_for("hello.test")))] for _ in range(6)]
        assert sorted(order[0] for order in seen) == sorted(2 * ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
        assert all(len(set(order)) == 3 for order in seen)

    def test_other_records_stay_as_written(self, pinned: PinnedNames) -> None:
        seen = {tuple(records_in(sent(pinned, query_for("hello.test", TXT)))) for _ in range(4)}
        assert len(seen) == 1

    def test_one_address_stays_where_it_is(self, pinned: PinnedNames) -> None:
        assert {tuple(records_in(sent(pinned, query_for("one.test")))) for _ in range(3)} == {
            (("one.test.", A, 30, "192.0.2.1"),)
        }

    def test_a_name_that_is_not_pinned_turns_nothing(self, pinned: PinnedNames) -> None:
        before = pinned.turn
        response_of(pinned, query_for("other.test"))
        assert pinned.turn == before


class TestReplace:
    def test_what_was_pinned_before_is_gone(self, pinned: PinnedNames) -> None:
        pinned.replace([(name_from_text("new.test"), A, 30, [SECOND])])
        assert response_of(pinned, query_for("hello.test")) is None
        assert records_in(sent(pinned, query_for("new.test"))) == [("new.test.", A, 30, "192.0.2.2")]

    def test_a_type_that_is_no_longer_written_is_nodata(self, pinned: PinnedNames) -> None:
        pinned.replace([(HELLO, A, 30, [FIRST])])
        response = response_of(pinned, query_for("hello.test", TXT))
        assert response is not None
        assert response.kind is Kind.NODATA

    def test_nothing_may_be_pinned(self, pinned: PinnedNames) -> None:
        pinned.replace([])
        assert response_of(pinned, query_for("hello.test")) is None

    def test_records_that_cannot_be_read_leave_all_as_it_was(self, pinned: PinnedNames) -> None:
        with pytest.raises(struct.error):
            pinned.replace([(name_from_text("new.test"), A, 30, [FIRST]), (HELLO, A, -1, [FIRST])])
        assert response_of(pinned, query_for("new.test")) is None
        assert response_of(pinned, query_for("hello.test")) is not None

    def test_nothing_is_pinned_to_begin_with(self) -> None:
        assert response_of(PinnedNames(), query_for("hello.test")) is None
