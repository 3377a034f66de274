"""Data of records in letters: as dnspython writes it where people look, and never more than printable ASCII."""

import random

import dns.rdata
import pytest

from forwarder.errors import WireError
from forwarder.lookup.rdata import master_text_of, printable, text_of
from forwarder.wire.names import Names
from forwarder.wire.walking import walked
from tests.lab.messages import raw_message, raw_record

QUESTION = b"\3www\4test\0\0\1\0\1"


def text(rtype: int, rdata: bytes) -> str:
    message = raw_message(QUESTION, (1, 0, 0), raw_record(b"\xc0\x0c", rtype, rdata))
    (record,), _ = walked(message, 12 + len(QUESTION), 1)
    return text_of(message, record, Names(message))


@pytest.mark.parametrize(
    ("rtype", "data"),
    [
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("CNAME", "web.test."),
        ("NS", "."),
        ("PTR", "host.test."),
        ("MX", "10 mail.test."),
        ("SRV", "0 5 5060 sip.test."),
        ("SOA", "ns.test. host.test. 1 3600 600 86400 60"),
        ("TXT", '"v=1" "two words"'),
        ("DS", "4711 8 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
        ("CAA", '0 issue "ca.test"'),
    ],
)
def test_as_dnspython_writes_it(rtype: str, data: str) -> None:
    rdata = dns.rdata.from_text("IN", rtype, data)
    assert text(rdata.rdtype, rdata.to_wire() or b"").lower() == rdata.to_text().lower()


@pytest.mark.parametrize("rtype", ["HTTPS", "SVCB"])
def test_service_parameters(rtype: str) -> None:
    rdata = dns.rdata.from_text("IN", rtype, "1 svc.test. alpn=h2,h3 port=8443 ipv4hint=192.0.2.1")
    shown = text(rdata.rdtype, rdata.to_wire() or b"")
    assert shown.startswith("1 svc.test. ")
    assert "alpn=h2,h3" in shown
    assert "port=8443" in shown


def test_compressed_names() -> None:
    assert text(15, b"\0\x0a\4mail\xc0\x10") == "10 mail.test."
    with pytest.raises(WireError):
        text(5, b"\3web")


@pytest.mark.parametrize(
    ("rtype", "rdata"), [(1, b"\1\2\3"), (28, b"\0" * 15), (16, b"\5abc"), (4711, b"\xab\xcd"), (65, b"\0")]
)
def test_what_cannot_be_read_is_octets(rtype: int, rdata: bytes) -> None:
    assert text(rtype, rdata) == f"\\# {len(rdata)} {rdata.hex()}"


def test_nothing_steers_a_terminal() -> None:
    assert text(16, b"\x04\x1b[2J") == '"\\027[2J"'
    assert printable(b"a\\b\x7f") == "a\\092b\\127"


def test_whatever_the_octets_of_any_type() -> None:
    dice = random.Random(8)  # noqa: S311 - repeatable, and nothing is to be kept secret
    for _ in range(3000):
        rtype = dice.choice((1, 5, 6, 15, 16, 28, 29, 33, 35, 43, 44, 48, 52, 64, 65, 257, 4711))
        try:
            shown = text(rtype, dice.randbytes(dice.randrange(60)))
        except WireError:
            continue
        assert shown.isascii()
        assert shown.isprintable()


def test_what_dnslib_reads_is_bounded() -> None:
    rdata = b"\0\1\0" + b"\xff\0\x03\xf9" + b"x" * 1017
    assert text(65, rdata).startswith("1 . ")
    assert text(65, rdata + b"\xff\1\x08\0" + b"x" * 2048).startswith("\\# ")


def master_text(rtype: int, rdata: bytes) -> str:
    message = raw_message(QUESTION, (1, 0, 0), raw_record(b"\xc0\x0c", rtype, rdata))
    (record,), _ = walked(message, 12 + len(QUESTION), 1)
    return master_text_of(message, record, Names(message))


@pytest.mark.parametrize(
    ("rtype", "rdata", "shown"),
    [
        (16, b"\3a;b", '"a;b"'),
        (16, b"", "\\# 0"),
        (44, b"\1\1", "\\# 2 0101"),
        (257, b'\0\5issuex"y', "\\# 10 00056973737565782279"),
        (15, b"\0\x0a\xc0\x0c", "10 www.test."),
        (6, b"\0" * 24, "\\# 24 " + "00" * 24),
        (17, b"\xc0\x0c\0", "\\# 11 03777777047465737400" + "00"),
    ],
)
def test_for_programs_what_is_not_read_back_is_octets_with_their_names_whole(rtype: int, rdata: bytes, shown: str) -> None:
    assert master_text(rtype, rdata) == shown


def test_for_programs_nothing_is_cut() -> None:
    assert len(master_text(16, (b"\xff" + b"x" * 255) * 250)) > 64_000


def test_much_is_cut() -> None:
    assert len(text(16, (b"\xff" + b"x" * 255) * 250)) < 1100
