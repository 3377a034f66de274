"""Scrubbing: only what answers the question is kept, in the order of its chain, whole and within its bounds."""

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.wire.records import Kind, parse_response
from tests.lab.messages import (
    OK,
    SIGNATURE,
    SOA,
    TO_QNAME,
    Sections,
    asked_types,
    kept_records,
    parsed,
    raw_message,
    raw_record,
    records_in,
    response,
    sections_of_all,
    written,
)

NAME = b"\1q\7example\0"

# --------------------------------------------------------------------------------- what is kept, against a plain oracle


def is_of(line: str, rtype: str, covers: str = "") -> bool:
    _, _, rclass, found, rdata = line.split(None, 4)
    return (rclass, found) == ("IN", rtype) and rdata.startswith(covers)


def target_of(line: str, place: int) -> str:
    return line.lower().split()[place]


def is_below(name: str, zone: str) -> bool:
    return name != zone and name.endswith("." + zone)


def chain_kept(answers: list[str], qtype: str, *, do: bool) -> tuple[list[str], list[str], str]:
    """Aliases kept, records kept at their end, and the last name; each alias behind the DNAMEs that led to it."""

    def signed(here: list[str], rtype: str) -> list[str]:
        return [line for line in here if do and is_of(line, "RRSIG", rtype + " ") and qtype != "RRSIG"]

    left, name, kept = list(answers), "q.example.", list[str]()
    while True:
        here = [line for line in left if line.split()[0] == name]
        left = [line for line in left if line not in here]
        final = [line for line in here if is_of(line, qtype)]
        aliases = [line for line in here if is_of(line, "CNAME")]
        if final or not aliases:
            return kept, (final + signed(here, qtype) if final else []), name
        redirecting = dict.fromkeys(
            line.split()[0] for line in left if is_of(line, "DNAME") and is_below(name, line.split()[0])
        )
        for owner in redirecting:
            above = [line for line in left if line.split()[0] == owner]
            left = [line for line in left if line not in above]
            kept += [line for line in above if is_of(line, "DNAME")][:1] + signed(above, "DNAME")
        kept += [aliases[0], *signed(here, "CNAME")]
        name = target_of(aliases[0], 4)


def expected(sections: Sections, qtype: str, *, is_nxdomain: bool, do: bool) -> tuple[Kind, Sections, int]:
    """What invariant 11 of the design keeps of these records, said over lines of text."""
    answers, authorities, additionals = sections
    aliases, final, last = chain_kept(answers, qtype, do=do)
    negative_ttl, denial, hosts = -1, list[str](), set[str]()
    if is_nxdomain:
        final = []  # neither records nor what signs them
    is_positive = bool(final) and not is_nxdomain
    if not is_positive:
        zones = [line for line in authorities if is_of(line, "SOA") and f".{last}".endswith(f".{line.split()[0]}")]
        denial = zones[:1]
        negative_ttl = min(int(denial[0].split()[1]), int(denial[0].split()[-1])) if denial else -1
    proving = ("NSEC ", "SOA ") if denial else ("NSEC ",)
    proofs = [line for line in authorities if do and (is_of(line, "NSEC") or any(is_of(line, "RRSIG", one) for one in proving))]
    if is_positive and qtype in {"MX", "SRV", "HTTPS"}:
        place = {"MX": 5, "SRV": 7, "HTTPS": 5}[qtype]
        hosts = {target_of(line, place) for line in final if is_of(line, qtype)}
    addresses = [line for line in additionals if line.split()[0] in hosts and (is_of(line, "A") or is_of(line, "AAAA"))]
    kind = Kind.NXDOMAIN if is_nxdomain else Kind.POSITIVE if is_positive else Kind.NODATA
    if kind is Kind.NODATA and aliases and not denial:
        kind = Kind.DANGLING
    return kind, (aliases + final, denial + proofs, addresses), negative_ttl


@given(sections=sections_of_all, qtype=asked_types, is_nxdomain=st.booleans(), do=st.booleans())
def test_what_answers_is_kept_and_nothing_else(*, sections: Sections, qtype: str, is_nxdomain: bool, do: bool) -> None:
    message = written(f"q.example. {qtype}", sections, flags=OK | (3 if is_nxdomain else 0), edns=(0, 1232))
    found = parsed(message, f"q.example. {qtype}", do=do)
    kind, kept, negative_ttl = expected(records_in(message), qtype, is_nxdomain=is_nxdomain, do=do)
    assert kept_records(found) == kept
    assert (found.kind, found.negative_ttl, found.rcode) == (kind, negative_ttl, 3 if is_nxdomain else 0)
    assert found.counts == tuple(map(len, kept))
    ttls = [int(line.split()[1]) for section in kept for line in section]
    assert [int.from_bytes(found.message[offset : offset + 4]) for offset in found.ttl_offsets] == ttls
    assert (found.least_ttl, found.most_ttl) == (min(ttls, default=0), max(ttls, default=0))
    addresses = [line.split()[4] for line in kept[0] if is_of(line, qtype) and qtype == "A"]
    assert len(found.rotatable) == (len(addresses) if len(addresses) > 1 else 0)
    for place, address in zip(found.rotatable, addresses, strict=False):
        assert ".".join(map(str, found.message[place : place + 4])) == address


# ------------------------------------------------------------------------------------------- the same, case by case


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What an upstream says, a record to a line, and what is kept of it."""

    question: str = "q.example. A"
    answer: str = ""
    authority: str = ""
    additional: str = ""
    rcode: int = 0
    do: bool = False
    kind: Kind = Kind.POSITIVE
    kept: Sections
    """Of each section, as read from what was kept: owners lower-cased, RDATA as spelled."""


ADDRESS = "q.example. 5 IN A 192.0.2.1"
LOOP = "q.example. 5 IN CNAME q.example."
ALIAS = "q.example. 5 IN CNAME x.example."
RRSIG_RRSIG = f"q.example. 5 IN RRSIG {SIGNATURE.format(c='RRSIG')}"
SIGNED = f"q.example. 5 IN RRSIG {SIGNATURE.format(c='A')}"
SRV = "q.example. 5 IN SRV 0 0 80 Web.example."
CASES = {
    "a chain in any order comes out in its own, RDATA as spelled": Case(
        answer="""C.other. 5 IN A 192.0.2.1
                  b.example. 6 IN CNAME C.other.
                  q.example. 7 IN CNAME b.example.""",
        kept=(["q.example. 7 IN CNAME b.example.", "b.example. 6 IN CNAME C.other.", "c.other. 5 IN A 192.0.2.1"], [], []),
    ),
    "a DNAME goes before the alias it made": Case(
        question="q.old.example. A",
        answer="""New.other. 5 IN A 192.0.2.9
                  q.old.example. 5 IN CNAME q.New.other.
                  q.new.other. 5 IN A 192.0.2.1
                  old.example. 5 IN DNAME New.other.""",
        kept=(
            ["old.example. 5 IN DNAME New.other.", "q.old.example. 5 IN CNAME q.New.other.", "q.new.other. 5 IN A 192.0.2.1"],
            [],
            [],
        ),
    ),
    "name servers and glue are dropped": Case(
        answer=ADDRESS,
        authority="example. 5 IN NS ns.example.",
        additional="ns.example. 5 IN A 192.0.2.53",
        kept=([ADDRESS], [], []),
    ),
    "an answer to another question is none": Case(
        answer="bank.example. 5 IN A 192.0.2.66", authority=SOA, additional=ADDRESS, kind=Kind.NODATA, kept=([], [SOA], [])
    ),
    "the SOA of a zone elsewhere denies nothing": Case(
        authority=SOA.replace("example. 600", "other. 600"), rcode=3, kind=Kind.NXDOMAIN, kept=([], [], [])
    ),
    "the SOA must enclose the last name, not the first": Case(
        answer="q.example. 5 IN CNAME x.other.",
        authority=SOA,
        kind=Kind.DANGLING,
        kept=(["q.example. 5 IN CNAME x.other."], [], []),
    ),
    "an alias with nothing behind it dangles": Case(answer=ALIAS, kind=Kind.DANGLING, kept=([ALIAS], [], [])),
    "NODATA behind an alias": Case(answer=ALIAS, authority=SOA, kind=Kind.NODATA, kept=([ALIAS], [SOA], [])),
    "NXDOMAIN behind an alias": Case(answer=ALIAS, authority=SOA, rcode=3, kind=Kind.NXDOMAIN, kept=([ALIAS], [SOA], [])),
    "a referral is NODATA without proof": Case(
        authority="example. 5 IN NS ns.example.",
        additional="ns.example. 5 IN A 192.0.2.53",
        kind=Kind.NODATA,
        kept=([], [], []),
    ),
    "an alias that comes back to itself": Case(answer=LOOP, kind=Kind.DANGLING, kept=([LOOP], [], [])),
    "SRV keeps the addresses of its hosts": Case(
        question="q.example. SRV",
        answer=SRV,
        additional="""web.example. 5 IN A 192.0.2.1
                      WEB.example. 5 IN AAAA 2001:db8::1
                      web.example. 5 IN TXT "no"
                      mail.example. 5 IN A 192.0.2.2""",
        kept=([SRV], [], ["web.example. 5 IN A 192.0.2.1", "web.example. 5 IN AAAA 2001:db8::1"]),
    ),
    "HTTPS whose host is its owner (RFC 9460 section 2.5.2) keeps the addresses of that": Case(
        question="q.example. HTTPS",
        answer='q.example. 5 IN HTTPS 1 . alpn="h2"',
        additional=ADDRESS,
        kept=(['q.example. 5 IN HTTPS 1 . alpn="h2"'], [], [ADDRESS]),
    ),
    "records beside NXDOMAIN are none": Case(answer=ADDRESS, authority=SOA, rcode=3, kind=Kind.NXDOMAIN, kept=([], [SOA], [])),
    "nor is what signs them": Case(
        answer=f"{ADDRESS}\n{SIGNED}", authority=SOA, rcode=3, do=True, kind=Kind.NXDOMAIN, kept=([], [SOA], [])
    ),
    "signatures are for those who asked for them": Case(answer=f"{ADDRESS}\n{SIGNED}", kept=([ADDRESS], [], [])),
    "signatures over what is kept are kept": Case(
        answer=f"{SIGNED.replace('RRSIG A', 'RRSIG TXT')}\n{SIGNED}\n{ADDRESS}",
        authority=f"example. 5 IN RRSIG {SIGNATURE.format(c='SOA')}",
        do=True,
        kept=([ADDRESS, SIGNED], [], []),
    ),
    "signatures over signatures are records asked for": Case(
        question="q.example. RRSIG", answer=f"x.example. 5 IN TXT x\n{RRSIG_RRSIG}", do=True, kept=([RRSIG_RRSIG], [], [])
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kept(case: Case) -> None:
    message = response(case.question, case.answer, case.authority, case.additional, rcode=case.rcode)
    found = parsed(message, case.question, do=case.do)
    assert (found.kind, kept_records(found)) == (case.kind, case.kept)


def test_proofs_are_kept_for_those_who_asked_for_them() -> None:
    proofs = [
        SOA,
        *(f"example. 5 IN RRSIG {SIGNATURE.format(c=covered)}" for covered in ("SOA", "NSEC")),
        "a.example. 5 IN NSEC z.example. A",
    ]
    message = response("q.example. A", "", "\n".join([f"example. 5 IN RRSIG {SIGNATURE.format(c='NS')}", *proofs]), rcode=3)
    seen = records_in(message)[1]
    assert kept_records(parsed(message, "q.example. A", do=True))[1] == seen[1:]
    assert kept_records(parsed(message, "q.example. A"))[1] == [SOA]


@pytest.mark.parametrize(("ttl", "minimum"), [(600, 30), (30, 600), (0, 30), (30, 0)])
def test_the_negative_ttl_is_the_smaller_one(ttl: int, minimum: int) -> None:
    """RFC 2308 section 5."""
    message = response("q.example. A", "", f"example. {ttl} IN SOA ns.example. admin.example. 1 2 3 4 {minimum}", rcode=3)
    assert parsed(message, "q.example. A").negative_ttl == min(ttl, minimum)


def test_a_moved_owner_keeps_its_spelling_and_that_of_qname_is_the_clients() -> None:
    answer = "x.other. 5 IN TXT x\nq.Example. 5 IN CNAME W.Example.\nW.Example. 5 IN A 192.0.2.1"
    found = parsed(response("Q.eXample. A", answer), "q.example. A")
    assert found.message[12 + len(NAME) + 4 :].startswith(TO_QNAME + b"\0\5")
    assert found.message.count(b"\1W\7eXample\0") == 2


@pytest.mark.parametrize(
    ("rtype", "prefix", "count", "rest"),
    [(rtype, 0, 1, 0) for rtype in (2, 3, 4, 7, 8, 9, 12)]
    + [(6, 0, 2, 20), (14, 0, 2, 0), (15, 2, 1, 0), (17, 0, 2, 0), (18, 2, 1, 0), (21, 2, 1, 0), (26, 2, 2, 0), (33, 6, 1, 0)]
    + [(36, 2, 1, 0), (39, 0, 1, 0), (16, 1, 0, 0), (99, 5, 0, 0)],
)
def test_compressed_names_in_what_is_moved_are_written_out(rtype: int, prefix: int, count: int, rest: int) -> None:
    """RFC 3597 section 4."""
    question = NAME + struct.pack("!HH", rtype, 1)
    junk = raw_record(b"\1X\5other\0", 1, bytes(4))
    to_junk = struct.pack("!H", 0xC000 | 12 + len(question))
    record = raw_record(TO_QNAME, rtype, bytes(prefix) + to_junk * count + bytes(rest))
    found = parse_response(raw_message(question, (2, 0, 0), junk + record), NAME, rtype, do=False)
    written_out = raw_record(TO_QNAME, rtype, bytes(prefix) + b"\1X\5other\0" * count + bytes(rest))
    assert found.message[12 + len(question) :] == written_out


@pytest.mark.parametrize(("qtype", "rclass"), [(0, 3), (16, 3), (41, 1), (41, 1232)])
def test_no_record_of_another_class_and_no_opt_is_kept(qtype: int, rclass: int) -> None:
    question = NAME + struct.pack("!HH", qtype, 1)
    for owner in (TO_QNAME, NAME):
        record = raw_record(owner, qtype, b"\1x", rclass=rclass)
        assert parse_response(raw_message(question, (1, 0, 0), record), NAME, qtype, do=False).counts == (0, 0, 0)
