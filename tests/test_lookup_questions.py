"""What is asked: names and types as typed, and the octets that leave."""

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from forwarder.lookup.questions import (
    joined,
    query_for,
    query_with_edns,
    refusal_for,
    type_from_text,
    type_text,
    wanted_for,
)
from forwarder.lookup.settings import Libc, settings_for

NAME = b"\3www\4test\0"


class TestWanted:
    def test_without_a_type_it_is_a_pair(self) -> None:
        wanted = wanted_for("www.test", None)
        assert (wanted.types, wanted.is_pair, wanted.is_for_addresses, wanted.is_absolute) == ((1, 28), True, True, False)

    @pytest.mark.parametrize(
        ("address", "name"),
        [("192.0.2.1", "1.2.0.192.in-addr.arpa."), ("2001:db8::1", f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa.")],
    )
    def test_an_address_is_asked_by_its_name(self, address: str, name: str) -> None:
        assert wanted_for(address, "ptr").text == name

    @pytest.mark.parametrize(
        ("name", "qtype", "said"),
        [("192.0.2.1", None, "PTR"), ("192.0.2.1", "A", "PTR"), ("", None, "empty"), ("a..b", None, "empty"),
         ("x", "ABC", "no type"),
         ("x" * 64, None, "63"), ("b\u00fccher.test", None, "A-label")],
    )  # fmt: skip
    def test_what_cannot_be_asked(self, name: str, qtype: str | None, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            wanted_for(name, qtype)


class TestTypes:
    @pytest.mark.parametrize(("text", "number"), [("A", 1), ("aaaa", 28), ("Https", 65), ("TYPE65", 65), ("type65535", 65535)])
    def test_names_and_numbers(self, text: str, number: int) -> None:
        assert type_from_text(text) == number

    @pytest.mark.parametrize("text", ["", "65", "TYPE", "TYPE0", "TYPE65536", "TYPE-1", "A B", "\x1b[2J"])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no type"):
            type_from_text(text)

    def test_written_as_dnspython_writes_them(self) -> None:
        for number in (*range(1, 70), 255, 256, 257, 4711):
            assert dns.rdatatype.from_text(type_text(number)) == number


class TestOctets:
    def test_glibc(self) -> None:
        plain = dns.message.from_wire(query_for(NAME, 28, 7, settings_for("", Libc.GLIBC)).message)
        assert (plain.id, plain.flags, plain.edns, plain.question[0].to_text()) == (7, dns.flags.RD, -1, "www.test. IN AAAA")
        settings = settings_for("options edns0 trust-ad\n", Libc.GLIBC)
        told = dns.message.from_wire(query_for(NAME, 28, 7, settings).message)
        assert (told.flags, told.edns, told.payload, told.ednsflags) == (dns.flags.RD | dns.flags.AD, 0, 1200, 0)

    def test_musl_sets_ad_only_outside_getaddrinfo(self) -> None:
        settings = settings_for("options edns0 trust-ad\n", Libc.MUSL)
        asked = dns.message.from_wire(query_for(NAME, 1, 7, settings).message)
        other = dns.message.from_wire(query_for(NAME, 33, 7, settings, from_getaddrinfo=False).message)
        assert (asked.flags, asked.edns, other.flags) == (dns.flags.RD, -1, dns.flags.RD | dns.flags.AD)

    def test_asked_again_it_has_an_opt(self) -> None:
        query = query_for(NAME, 1, 7, settings_for("", Libc.GLIBC))
        again = query_with_edns(query, 1232)
        assert dns.message.from_wire(again.message).payload == 1232
        assert again.question == query.question == NAME + b"\0\1\0\1"


def test_a_name_that_becomes_too_long_is_none() -> None:
    assert joined("www", "test") == NAME
    assert joined("www.test", "") == NAME
    assert joined("www", ".".join(["x" * 63] * 4)) is None
    assert joined("www", ".") is None


@pytest.mark.parametrize(
    ("name", "qtype", "conf", "libc", "is_asked"),
    [
        ("www.test", None, "", Libc.GLIBC, True),
        ("a$b.test", None, "", Libc.GLIBC, False),
        ("-a.test", None, "", Libc.GLIBC, False),
        ("a$b.test", None, "", Libc.MUSL, True),
        ("a$b.test", "TXT", "", Libc.GLIBC, True),
        ("www.test", "AAAA", "options no-aaaa\n", Libc.GLIBC, False),
        ("www.test", "AAAA", "options no-aaaa\n", Libc.MUSL, True),
        ("www.test", "CAA", "", Libc.MUSL, False),
        ("www.test", "CAA", "", Libc.GLIBC, True),
    ],
)
def test_what_a_libc_does_not_even_ask(name: str, qtype: str | None, conf: str, libc: Libc, *, is_asked: bool) -> None:
    assert (refusal_for(wanted_for(name, qtype), settings_for(conf, libc)) == "") is is_asked
