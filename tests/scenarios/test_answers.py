"""What an answer looks like, whatever the upstream sent: flags, question, sizes, EDNS, TTLs, records.

The upstream is scripted and healthy here; failures are in test_deadline.py, forgeries in test_matching.py. Every story is
told twice where it matters: for the answer that was fetched and for the one that came from memory.
"""

import time

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from tests.lab.behaviours import addresses, answer, nodata, sized, soa
from tests.lab.clients import HANG, UdpClient, ask, ask_tcp, query, rdatas
from tests.lab.stage import Stage

COOKIE, KEEPALIVE, PADDING, CLIENT_SUBNET, UNASSIGNED = 10, 11, 12, 8, 65001


def owners(section: list[dns.rrset.RRset]) -> list[tuple[str, str]]:
    """Owner in lower case and type of each RRset, sorted."""
    return sorted((rrset.name.to_text().lower(), dns.rdatatype.to_text(rrset.rdtype)) for rrset in section)


# --- header and question ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recursion_desired", [True, False])
def test_flags_of_a_fetched_and_a_remembered_answer(stage: Stage, *, recursion_desired: bool) -> None:
    """RA=1, RD as asked, AA=0 though the upstream said AA=1."""
    name = f"flags{recursion_desired:d}.answers.test"
    stage.upstream.on(name, answer("@ 300 IN A 192.0.2.1", flags=["AA", "RA"]))
    responses = [stage.ask(name)]
    message = query(name)
    if not recursion_desired:
        message.flags &= ~dns.flags.RD
    responses += [ask(stage.server, message), ask_tcp(stage.server, message)]
    for response in responses:
        assert rdatas(response) == ["192.0.2.1"]
        assert response.flags & dns.flags.RA
        assert not response.flags & dns.flags.AA
    assert [bool(response.flags & dns.flags.RD) for response in responses] == [True, recursion_desired, recursion_desired]
    assert len(stage.upstream.asked(name)) == 1


def test_the_question_comes_back_as_the_client_spelled_it(stage: Stage) -> None:
    """0x20 of the client's own: its spelling, also when the answer was fetched with another."""
    stage.upstream.on("spelling.answers.test", answer("@ 300 IN A 192.0.2.1"))
    for spelling in ("sPeLLing.Answers.tEst.", "SPELLING.ANSWERS.TEST.", "spelling.answers.test.", "Spelling.answers.Test."):
        response = stage.ask(spelling)
        assert response.question[0].name.to_text() == spelling
        assert rdatas(response) == ["192.0.2.1"]
    assert len(stage.upstream.asked("spelling.answers.test")) == 1


def test_ad_of_an_upstream_nobody_trusts_is_cleared(stage: Stage) -> None:
    """AD=1 is the upstream's word; without `trust_ad` it is not passed on."""
    stage.upstream.on("ad.answers.test", answer("@ 300 IN A 192.0.2.1", flags=["RA", "AD"]))
    for _ in range(2):
        response = ask(stage.server, query("ad.answers.test", dnssec=True))
        assert rdatas(response) == ["192.0.2.1"]
        assert not response.flags & dns.flags.AD


def test_eight_bit_labels_pass(stage: Stage) -> None:
    """RFC 2181 section 11: any octet may stand in a label, dots and zeros included."""
    name = "a\\.b\\000\\255\\046c.answers.test."
    stage.upstream.on(name, answer("@ 300 IN TXT eight"))
    for _ in range(2):
        response = stage.ask(name, "TXT")
        assert response.question[0].name.to_text() == query(name).question[0].name.to_text()
        assert rdatas(response) == ['"eight"']


# --- negative answers ------------------------------------------------------------------------------------------------


def test_nodata_keeps_its_soa(stage: Stage) -> None:
    """NOERROR without records and without SOA looks to glibc like a lame server."""
    stage.upstream.on("nodata.answers.test", nodata("answers.test."))
    for _ in range(2):
        response = stage.ask("nodata.answers.test", "AAAA")
        assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])
        assert owners(response.authority) == [("answers.test.", "SOA")]
    assert len(stage.upstream.asked("nodata.answers.test")) == 1


def test_nxdomain_keeps_its_soa_and_is_remembered(stage: Stage) -> None:
    """The TTL of a negative answer is the smaller of SOA TTL and SOA minimum, within `max_negative_ttl` (30 s)."""
    stage.upstream.on("nothing.answers.test", answer(authority=[soa("answers.test.", ttl=20, minimum=7)], rcode="NXDOMAIN"))
    for _ in range(2):
        response = stage.ask("nothing.answers.test")
        assert response.rcode() == dns.rcode.NXDOMAIN
        assert owners(response.authority) == [("answers.test.", "SOA")]
        assert response.authority[0].ttl <= 7
    assert len(stage.upstream.asked("nothing.answers.test")) == 1


def test_a_chain_that_ends_in_nothing(stage: Stage) -> None:
    """CNAME, then NXDOMAIN for what it points to: both are passed on, with the SOA."""
    behaviour = answer("@ 60 IN CNAME gone.answers.test.", authority=[soa("answers.test.")], rcode="NXDOMAIN")
    stage.upstream.on("dangling.answers.test", behaviour)
    for _ in range(2):
        response = stage.ask("dangling.answers.test")
        assert response.rcode() == dns.rcode.NXDOMAIN
        assert owners(response.answer) == [("dangling.answers.test.", "CNAME")]
        assert owners(response.authority) == [("answers.test.", "SOA")]
    assert len(stage.upstream.asked("dangling.answers.test")) == 1


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "limit"), [(None, 512), (100, 512), (512, 512), (800, 800), (1232, 1232), (4096, 1232), (65535, 1232)]
)
def test_over_udp_as_many_whole_records_as_fit(stage: Stage, payload: int | None, limit: int) -> None:
    """512 octets without EDNS, else the client's size up to 1232; TC=1, no record cut, room not wasted."""
    stage.upstream.on("big.answers.test", sized(answer(*addresses(180))))
    with UdpClient(stage.server) as client:
        client.send(query("big.answers.test", payload=payload))
        octets = client.receive_octets()
    assert octets is not None
    assert limit - 16 < len(octets) <= limit
    response = dns.message.from_wire(octets)
    assert response.flags & dns.flags.TC
    assert set(rdatas(response)) < {line.split()[-1] for line in addresses(180)}
    assert len(set(rdatas(response))) == len(rdatas(response)) == (len(octets) - 34 - 11 * (payload is not None)) // 16


def test_the_same_over_tcp_comes_whole_and_from_memory(stage: Stage) -> None:
    """After TC=1 the client asks over TCP; the upstream is not asked again."""
    stage.upstream.on("whole.answers.test", sized(answer(*addresses(180))))
    assert stage.ask("whole.answers.test").flags & dns.flags.TC
    asked = len(stage.upstream.asked("whole.answers.test"))
    response = stage.ask_tcp("whole.answers.test")
    assert not response.flags & dns.flags.TC
    assert set(rdatas(response)) == {line.split()[-1] for line in addresses(180)}
    assert len(stage.upstream.asked("whole.answers.test")) == asked


def test_an_answer_of_64_kib(stage: Stage) -> None:
    """The largest there is, over TCP; what the records say arrives unchanged."""
    stage.upstream.on("huge.answers.test", sized(answer(*addresses(4080))))
    for _ in range(2):
        response = stage.ask_tcp("huge.answers.test", payload=1232)
        assert set(rdatas(response)) == {line.split()[-1] for line in addresses(4080)}


# --- EDNS ------------------------------------------------------------------------------------------------------------


def test_opt_if_and_only_if_the_query_had_one(stage: Stage) -> None:
    """The client's choice, not the upstream's, nor the choice of whoever asked before."""
    stage.upstream.on("opt.answers.test", answer("@ 300 IN A 192.0.2.1"))
    assert stage.ask("opt.answers.test").edns == -1
    assert stage.ask("opt.answers.test", payload=1232).edns == 0
    assert stage.ask("opt.answers.test").edns == -1
    assert stage.ask_tcp("opt.answers.test", payload=1232).edns == 0
    assert stage.ask_tcp("opt.answers.test").edns == -1
    assert len(stage.upstream.asked("opt.answers.test")) == 1


def test_do_comes_back(stage: Stage) -> None:
    """RFC 3225 section 3: the DO bit of the query MUST be copied in the response; the upstream sees it too."""
    stage.upstream.on("do.answers.test", answer("@ 300 IN A 192.0.2.1"))
    for dnssec in (True, False, True, False):
        response = ask(stage.server, query("do.answers.test", payload=1232, dnssec=dnssec))
        assert bool(response.ednsflags & dns.flags.DO) is dnssec
    assert sorted(received.dnssec_ok for received in stage.upstream.asked("do.answers.test")) == [False, True]


def test_options_are_hop_by_hop(stage: Stage) -> None:
    """Cookie, keepalive, padding and client subnet: neither the client's go up nor the upstream's come down."""
    subnet = (CLIENT_SUBNET, b"\x00\x01\x18\x00\xc0\x00\x02")
    theirs = [(COOKIE, b"upstream" * 2), (KEEPALIVE, b"\x00\x64"), (PADDING, bytes(8)), subnet]
    ours = [(COOKIE, b"a client"), (PADDING, bytes(8)), subnet, (UNASSIGNED, b"x")]
    stage.upstream.on("options.answers.test", answer("@ 300 IN A 192.0.2.1", options=theirs))
    for options in (ours, ours, []):
        response = ask(stage.server, query("options.answers.test", payload=1232, options=options))
        assert rdatas(response) == ["192.0.2.1"]
        assert {int(option.otype) for option in response.options}.isdisjoint({KEEPALIVE, PADDING, CLIENT_SUBNET, UNASSIGNED})
        assert b"upstream" not in response.to_wire()
    for received in stage.upstream.asked("options.answers.test"):
        assert {KEEPALIVE, PADDING, CLIENT_SUBNET, UNASSIGNED}.isdisjoint(received.option_codes)
        assert b"a client" not in received.octets


# --- TTLs ------------------------------------------------------------------------------------------------------------


def test_ttls_count_down(stage: Stage) -> None:
    """In each section, without asking again."""
    stage.upstream.on("countdown.answers.test", answer("@ 300 IN A 192.0.2.1"))
    assert stage.ask("countdown.answers.test").answer[0].ttl == 300
    seen = [300]
    until = time.monotonic() + HANG
    while seen[-1] > 298 and time.monotonic() < until:
        seen.append(stage.ask("countdown.answers.test").answer[0].ttl)
        time.sleep(0.05)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] in {298, 297}, "what left within the last second leaves again as it was, so a step may be two"
    assert len(stage.upstream.asked("countdown.answers.test")) == 1


def test_a_short_ttl_ends(stage: Stage) -> None:
    """An answer that lived out its TTL is fetched again."""
    stage.upstream.on("short.answers.test", answer("@ 1 IN A 192.0.2.1"))
    until = time.monotonic() + HANG
    while len(stage.upstream.asked("short.answers.test")) < 2 and time.monotonic() < until:
        assert stage.ask("short.answers.test").answer[0].ttl <= 1
        time.sleep(0.05)
    assert len(stage.upstream.asked("short.answers.test")) == 2


def test_a_ttl_of_zero_is_passed_on_and_not_kept(stage: Stage) -> None:
    """RFC 1035 section 3.2.1: zero TTLs are for the transaction in progress only."""
    stage.upstream.on("zero.answers.test", answer("@ 0 IN A 192.0.2.1"))
    for count in (1, 2, 3):
        assert stage.ask("zero.answers.test").answer[0].ttl == 0
        assert len(stage.upstream.asked("zero.answers.test")) == count


@pytest.mark.parametrize("ttl", [1 << 31, (1 << 31) + 300, (1 << 32) - 1, 7 * 86400])
def test_a_ttl_beyond_all_bounds_is_capped(stage: Stage, ttl: int) -> None:
    """RFC 8767 section 4: the top bit makes it a large one, not a negative one; `max_ttl` (1 h) is the most."""
    name = f"ttl{ttl}.answers.test"
    stage.upstream.on(name, answer(f"@ {ttl} IN A 192.0.2.1"))
    for _ in range(2):
        assert 3590 <= stage.ask(name).answer[0].ttl <= 3600
    assert len(stage.upstream.asked(name)) == 1


# --- records ---------------------------------------------------------------------------------------------------------


def test_records_that_answer_nothing_are_dropped(stage: Stage) -> None:
    """What came along uninvited is not passed on, and never becomes the answer to another question."""
    behaviour = answer(
        "@ 300 IN A 192.0.2.1",
        "victim.answers.test. 300 IN A 203.0.113.66",
        authority=["answers.test. 300 IN NS evil.test."],
        additional=["evil.test. 300 IN A 203.0.113.66", "victim.answers.test. 300 IN AAAA 2001:db8::66"],
    )
    stage.upstream.on("lure.answers.test", behaviour)
    stage.upstream.on("victim.answers.test", answer("@ 300 IN A 192.0.2.7"))
    for _ in range(2):
        response = stage.ask("lure.answers.test", payload=1232)
        assert owners(response.answer) == [("lure.answers.test.", "A")]
        assert (response.authority, response.additional) == ([], [])
    assert rdatas(stage.ask("victim.answers.test")) == ["192.0.2.7"]
    assert len(stage.upstream.asked("victim.answers.test")) == 1


def test_a_chain_of_aliases_is_kept_whole(stage: Stage) -> None:
    """CNAME to CNAME to A, in any order, and nothing beside the chain."""
    behaviour = answer(
        "end.answers.test. 300 IN A 192.0.2.1",
        "middle.answers.test. 300 IN CNAME end.answers.test.",
        "stray.answers.test. 300 IN A 203.0.113.66",
        "@ 300 IN CNAME middle.answers.test.",
    )
    stage.upstream.on("alias.answers.test", behaviour)
    for _ in range(2):
        response = stage.ask("alias.answers.test")
        kept = [("alias.answers.test.", "CNAME"), ("end.answers.test.", "A"), ("middle.answers.test.", "CNAME")]
        assert owners(response.answer) == kept
    assert len(stage.upstream.asked("alias.answers.test")) == 1


def test_a_circle_of_aliases_ends(stage: Stage) -> None:
    """One name leads to the other and back: an answer of some kind, once, and the daemon lives."""
    circle = answer("@ 60 IN CNAME b.answers.test.", "b.answers.test. 60 IN CNAME circle.answers.test.")
    stage.upstream.on("circle.answers.test", circle)
    assert stage.ask("circle.answers.test").rcode() in {dns.rcode.NOERROR, dns.rcode.SERVFAIL}


def test_addresses_of_a_mail_server_come_along(stage: Stage) -> None:
    """The additional records of MX, SRV, SVCB and HTTPS targets are kept; others are not."""
    extra = ["mail.answers.test. 300 IN A 192.0.2.25", "other.answers.test. 300 IN A 203.0.113.66"]
    stage.upstream.on("mx.answers.test", answer("@ 300 IN MX 10 mail.answers.test.", additional=extra))
    for _ in range(2):
        response = stage.ask("mx.answers.test", "MX", payload=1232)
        assert owners(response.additional) == [("mail.answers.test.", "A")]


def test_signatures_for_those_who_ask(stage: Stage) -> None:
    """RRSIG with DO, none without: a client that did not ask cannot use it, and it costs its 512 octets."""
    signature = "@ 300 IN RRSIG A 13 3 300 20300101000000 20200101000000 12345 answers.test. c2lnbmF0dXJl"
    stage.upstream.on("signed.answers.test", answer("@ 300 IN A 192.0.2.1", signature))
    for _ in range(2):
        signed = ask(stage.server, query("signed.answers.test", dnssec=True))
        assert owners(signed.answer) == [("signed.answers.test.", "A"), ("signed.answers.test.", "RRSIG")]
        assert owners(stage.ask("signed.answers.test").answer) == [("signed.answers.test.", "A")]


def test_addresses_take_turns(stage: Stage) -> None:
    """A remembered answer must not freeze the upstream's load balancing: the first place changes as time passes."""
    stage.upstream.on("balanced.answers.test", answer(*addresses(4)))
    first: set[str] = set()
    until = time.monotonic() + HANG
    while len(first) < 2 and time.monotonic() < until:
        told = rdatas(stage.ask("balanced.answers.test"))
        assert set(told) == {line.split()[-1] for line in addresses(4)}
        first.add(told[0])
        time.sleep(0.1)
    assert len(first) >= 2
    assert len(stage.upstream.asked("balanced.answers.test")) == 1
