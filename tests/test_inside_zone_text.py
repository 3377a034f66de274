"""What is remembered as lines of a zone file: dnspython reads them as what upstreams said, whatever that was."""

import random

import dns.message
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.zonefile
from hypothesis import given

from forwarder import link
from forwarder.errors import WireError
from forwarder.inside import remembered, zone_text
from forwarder.wire.names import name_from_text
from forwarder.wire.records import parse_response
from tests.lab.messages import names
from tests.test_cache_snapshot import NOW, PLAIN, A, cache_of, denial, positive, said, written

ALIASED = said("www.test.", "www.test. 300 IN CNAME web.test.", "web.test. 60 IN A 192.0.2.1")
EMPTY = said("empty.test.", authority=("test. 50 IN SOA ns.test. host.test. 1 2 3 4 50",))


def lines(octets: bytes) -> list[str]:
    return [line for entry in remembered.memory_in(octets).entries() for line in zone_text.lines_for(entry)]


def read(text: list[str]) -> list[dns.rrset.RRset]:
    return dns.zonefile.read_rrsets("\n".join(text) + "\n", rdclass=None, default_ttl=None)


def test_an_answer_and_an_alias() -> None:
    octets = written(cache_of(("a.test.", positive("a.test.")), ("www.test.", ALIASED)), now=NOW + 10.2)
    assert lines(octets) == [
        "a.test.\t290\tIN\tA\t192.0.2.1 ; zone .",
        "www.test.\t290\tIN\tCNAME\tweb.test. ; for www.test. A, zone .",
        "web.test.\t50\tIN\tA\t192.0.2.1 ; for www.test. A, zone .",
    ]
    assert [rrset.to_text() for rrset in read(lines(octets))] == [
        "a.test. 290 IN A 192.0.2.1", "www.test. 290 IN CNAME web.test.", "web.test. 50 IN A 192.0.2.1",
    ]  # fmt: skip


def test_what_does_not_exist_is_no_record() -> None:
    octets = written(cache_of(("no.test.", denial("no.test.")), ("empty.test.", EMPTY)), now=NOW + 10.2)
    soa = ";test.\t40\tIN\tSOA\tns.test. host.test. 1 2 3 4 50"
    assert lines(octets) == [
        ";no.test.\t40\tIN\tA\tNXDOMAIN ; zone .",
        f"{soa} ; NXDOMAIN, for no.test. A, zone .",
        ";empty.test.\t40\tIN\tA\tNODATA ; zone .",
        f"{soa} ; NODATA, for empty.test. A, zone .",
    ]
    assert read(lines(octets)) == []


def test_what_is_stale_says_so() -> None:
    (line,) = lines(written(cache_of(("a.test.", positive("a.test."))), now=NOW + 312.5))
    assert line == "a.test.\t0\tIN\tA\t192.0.2.1 ; stale for 12 s, zone ."


def test_an_alias_of_a_name_that_does_not_exist_is_a_record() -> None:
    response = said(
        "w.test.", "w.test. 300 IN CNAME no.test.", rcode=3, authority=("test. 50 IN SOA ns.test. host.test. 1 2 3 4 50",)
    )
    first, alias, soa = lines(written(cache_of(("w.test.", response))))
    assert first == ";w.test.\t50\tIN\tA\tNXDOMAIN ; zone ."
    assert alias == "w.test.\t50\tIN\tCNAME\tno.test. ; NXDOMAIN, for w.test. A, zone ."
    assert soa.startswith(";test.\t50\tIN\tSOA\t")


def test_pinned_names_at_or_below_the_suffix() -> None:
    pinned = link.Pinned(
        [
            link.PinnedRecords(name_from_text("b.a.test"), 28, 30, [bytes(15) + b"\1"]),
            link.PinnedRecords(name_from_text("a.test"), 1, 30, [b"\xc0\0\2\1", b"\xc0\0\2\2"]),
            link.PinnedRecords(name_from_text("a.test"), 28, 30, []),
            link.PinnedRecords(name_from_text("other"), 1, 30, [b"\xc0\0\2\1"]),
        ]
    )
    assert list(zone_text.pinned_lines(pinned, name_from_text("a.test"))) == [
        "a.test.\t30\tIN\tA\t192.0.2.1 ; pinned",
        "a.test.\t30\tIN\tA\t192.0.2.2 ; pinned",
        ";a.test.\t30\tIN\tAAAA\tNODATA ; pinned",
        "b.a.test.\t30\tIN\tAAAA\t::1 ; pinned",
    ]


def test_the_title_is_a_remark() -> None:
    memories = [remembered.memory_in(written(cache_of(("a.test.", positive("a.test."))))) for _ in range(2)]
    assert zone_text.title("1.0", memories) == "; forwarder 1.0 at 2023-11-14T22:13:20Z, answers remembered: 2, workers: 2"


def test_names_are_sorted_by_their_last_label_first() -> None:
    ordered = ["test", "a.test", "z.a.test", "b.test", "a.zone"]
    assert sorted(map(name_from_text, reversed(ordered)), key=zone_text.place_of) == list(map(name_from_text, ordered))


@given(names)
def test_any_name_is_read_back(name: bytes) -> None:
    message = dns.message.make_response(dns.message.make_query(dns.name.from_wire(name, 0)[0], "A"))
    message.answer.append(dns.rrset.from_text(message.question[0].name, 300, "IN", "A", "192.0.2.1"))
    response = parse_response(message.to_wire(), name.lower(), A, do=False)
    cache = cache_of()
    cache.restore(name.lower() + b"\0\1\0\1" + PLAIN, response, remembered.UNLIMITED, NOW)
    (line,) = lines(written(cache))
    assert line.replace("\t", "").isprintable()
    assert line.isascii()
    (rrset,) = read([line])
    assert rrset.name == message.question[0].name


def test_any_data_of_any_type_is_read_back_or_none() -> None:
    """What dnspython would not take from the wire either may be in any form, but stays in its line."""
    dice = random.Random(7)  # noqa: S311 - repeatable, and nothing is to be kept secret
    seen = set()
    for _ in range(3000):
        rtype = dice.choice((1, 2, 5, 6, 12, 13, 15, 16, 17, 28, 29, 33, 35, 39, 43, 44, 46, 47, 48, 52, 64, 65, 257, 4711))
        rdata = dice.choice((b"", b"\0\1", b"\0\1\0\2\0\3", b'\5ab;"c\3a\nb\0')) + dice.randbytes(dice.randrange(12))
        pinned = link.Pinned([link.PinnedRecords(b"\1a\0", rtype, 30, [rdata])])
        try:
            (line,) = zone_text.pinned_lines(pinned, b"\0")
        except WireError:
            continue
        assert line.replace("\t", "").isprintable()
        try:
            known = dns.rdata.from_wire("IN", dns.rdatatype.RdataType.make(rtype), rdata, 0, len(rdata))
        except Exception:  # noqa: BLE001, S112 - it raises errors of many kinds on octets it does not expect
            continue
        (rrset,) = read([line])
        assert rrset[0] == known, line
        seen.add(rtype)
    assert len(seen) >= 15
