"""Responses as a libc looks at them and as a person reads them; octets of any kind."""

import random

import dns.edns
import dns.message
import pytest

from forwarder.lookup.questions import Query, query_for
from forwarder.lookup.responses import Reason, answers_query, content_of, rcode_text, response_in
from forwarder.lookup.settings import Libc, settings_for
from tests.lab.walks import says


def query(qtype: int = 1, identity: int = 0x1234) -> Query:
    return query_for(b"\3www\4test\0", qtype, identity, settings_for("", Libc.GLIBC))


def with_options(*options: tuple[int, bytes]) -> bytes:
    response = dns.message.make_response(dns.message.from_wire(query().message))
    given: list[dns.edns.Option] = [dns.edns.GenericOption(dns.edns.OptionType.make(code), value) for code, value in options]
    response.use_edns(0, options=given)
    return response.to_wire()


class TestHeader:
    def test_what_is_none(self) -> None:
        assert response_in(b"") is None
        assert response_in(b"\0" * 11) is None
        assert response_in(query().message) is None

    @pytest.mark.parametrize(
        ("flags", "records", "is_lame"),
        [("QR RD", (), True), ("QR RD RA", (), False), ("QR AA RD", (), False), ("QR RD", ("@ 1 IN A 192.0.2.1",), False)],
    )
    def test_lame(self, flags: str, records: tuple[str, ...], *, is_lame: bool) -> None:
        response = response_in(says(query(), "NOERROR", *records, flags=flags))
        assert response is not None
        assert response.is_lame is is_lame

    def test_an_error_is_not_lame(self) -> None:
        response = response_in(says(query(), "NXDOMAIN", flags="QR RD"))
        assert response is not None
        assert not response.is_lame

    @pytest.mark.parametrize(
        ("change", "is_ours"),
        [
            (lambda octets: octets, True),
            (lambda octets: octets.replace(b"www", b"wWw"), True),
            (lambda octets: octets.replace(b"www", b"wxw"), False),
            (lambda octets: b"\0\0" + octets[2:], False),
            (lambda octets: octets[:-1] + b"\3", False),
            (lambda octets: octets[:3] + b"\2\0\0\0\0\0\0\0\0", True),
            (lambda octets: octets[:3] + b"\1\0\0\0\0\0\0\0\0", False),
            (lambda octets: octets[:3] + b"\3\0\0\0\0\0\0\0\0", False),
        ],
    )
    def test_whether_it_answers(self, change: object, *, is_ours: bool) -> None:
        assert callable(change)
        response = response_in(change(says(query())))
        assert response is not None
        assert answers_query(response, query()) is is_ours


class TestContent:
    def test_records_in_letters(self) -> None:
        response = response_in(says(query(), "NOERROR", "@ 60 IN CNAME web.test.", "web.test. 30 IN A 192.0.2.1"))
        assert response is not None
        content = content_of(response, query())
        assert [(record.owner, record.ttl, record.text) for record in content.records] == [
            ("www.test.", 60, "CNAME web.test."),
            ("web.test.", 30, "A 192.0.2.1"),
        ]
        assert content.has(1)
        assert not content.has(28)

    def test_reasons(self) -> None:
        response = response_in(with_options((15, b"\0\x0dtimed out"), (10, b"12345678"), (15, b"\0\x1d"), (15, b"\0")))
        assert response is not None
        assert [reason.text for reason in content_of(response, query()).reasons] == [
            "EDE 13 (cached error: timed out)",
            "EDE 29 (synthesised)",
        ]
        assert Reason(4711, "").text == "EDE 4711 (no known code)"

    def test_a_reason_cannot_steer_a_terminal(self) -> None:
        response = response_in(with_options((15, b"\0\0\x1b[2J\n\xff")))
        assert response is not None
        assert content_of(response, query()).reasons[0].note == "\\027[2J\\010\\255"

    def test_whatever_the_octets_it_is_readable_or_has_a_flaw(self) -> None:
        dice = random.Random(4)  # noqa: S311 - repeatable, and nothing is to be kept secret
        good = says(query(), "NOERROR", "@ 60 IN CNAME web.test.", "web.test. 30 IN A 192.0.2.1")
        for _ in range(2000):
            octets = bytearray(good[: dice.randrange(12, len(good) + 1)])
            for _ in range(dice.randrange(4)):
                octets[dice.randrange(12, len(octets)) if len(octets) > 12 else 11] = dice.randrange(256)
            response = response_in(bytes(octets))
            assert response is not None
            content = content_of(response, query())
            assert all(record.text.isprintable() for record in content.records)

    def test_truncated_records_are_no_flaw_where_tc_says_so(self) -> None:
        whole = says(query(), "NOERROR", "@ 60 IN A 192.0.2.1", flags="QR RD RA TC")
        for octets, flaw in ((whole[:-1], False), (whole[:2] + b"\x81" + whole[3:-1], True)):
            response = response_in(octets)
            assert response is not None
            assert bool(content_of(response, query()).flaw) is flaw


def test_rcodes_by_name() -> None:
    assert [rcode_text(rcode) for rcode in (0, 2, 3, 5, 10, 11)] == [
        "NOERROR",
        "SERVFAIL",
        "NXDOMAIN",
        "REFUSED",
        "NOTZONE",
        "RCODE 11",
    ]
