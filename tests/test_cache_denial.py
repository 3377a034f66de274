"""Cuts: where they may be, what it takes to make one, what they deny, what ends them."""

import pytest

from forwarder.cache.denial import ASK_AGAIN, EXISTS_FOR, MAX_LATELY, Denial, Denied
from forwarder.cache.lifetime import Limits
from forwarder.wire.message import Rcode
from forwarder.wire.names import name_from_text, text_from_name
from tests.lab.messages import kept_records, parsed, query, response

NOW = 500.0
TTL = 5
LIMITS = Limits(3600, TTL)
SOA = "cluster.local. 30 IN SOA ns.cluster.local. admin.cluster.local. 1 2 3 4 30"
CUT = "com.svc.cluster.local."


def name(text: str) -> bytes:
    return name_from_text(text)


class Search:
    """Denial in `cluster.local`, and what it wants to be asked."""

    def __init__(self, *domains: str, kept: tuple[str, ...] = (), cluster_domain: str | None = "cluster.local") -> None:
        self.changes = -1
        self.denial = Denial(1 << 20, self.changed)
        cluster = None if cluster_domain is None else name(cluster_domain)
        self.denial.search_in(cluster, map(name, domains), map(name, kept))
        assert self.changes == 0

    def changed(self) -> None:
        self.changes += 1

    def hear(self, question: str, *, now: float = NOW, soa: str = SOA, chain: str = "") -> str:
        """NXDOMAIN; what is to be asked then."""
        asked = query(question)
        wanted = self.denial.learn(asked, parsed(response(question, chain, soa, rcode=3), question), LIMITS, now)
        return "" if wanted is None else text_from_name(wanted)

    def find(self, question: str, record: str = "", *, now: float = NOW) -> str:
        """The record, or NODATA; what is to be asked then."""
        asked = query(question)
        said = response(question, record, "" if record else SOA)
        wanted = self.denial.learn(asked, parsed(said, question), LIMITS, now)
        return "" if wanted is None else text_from_name(wanted)

    def cut(self, cut: str = CUT, *, now: float = NOW) -> None:
        """Have a cut there, as it comes about."""
        assert self.hear(f"one.{cut} A", now=now) == ""
        assert self.hear(f"two.{cut} A", now=now) == cut
        assert self.denial.may_ask(name(cut), now)
        for qtype in ("A", "AAAA"):
            assert self.hear(f"{cut} {qtype}", now=now) == ""

    def denied(self, question: str, *, now: float = NOW, edns: tuple[int, int] | None = None) -> Denied | None:
        return self.denial.answer_to(query(question, edns=edns), now)


class TestMaking:
    def test_two_names_denied_have_the_name_above_asked(self) -> None:
        search = Search()
        assert search.hear("one.com.svc.cluster.local. A") == ""
        assert search.hear("one.com.svc.cluster.local. AAAA") == "", "the same name"
        assert search.hear("two.com.svc.cluster.local. A") == CUT
        assert search.denied("three.com.svc.cluster.local. A") is None, "not before it was asked"

    def test_both_a_and_aaaa_must_be_denied(self) -> None:
        search = Search()
        search.hear("one.com.svc.cluster.local. A")
        search.hear("two.com.svc.cluster.local. A")
        search.hear(f"{CUT} A")
        assert search.denied("three.com.svc.cluster.local. A") is None
        search.hear(f"{CUT} AAAA")
        assert search.denied("three.com.svc.cluster.local. A") is not None

    def test_what_clients_ask_of_the_candidate_itself_is_no_cut_without_two_names(self) -> None:
        search = Search()
        search.hear("one.com.svc.cluster.local. A")
        search.hear(f"{CUT} A")
        search.hear(f"{CUT} AAAA")
        assert search.denied("three.com.svc.cluster.local. A") is None

    def test_a_candidate_is_asked_once_in_a_while(self) -> None:
        search = Search()
        search.hear("one.com.svc.cluster.local. A")
        search.hear("two.com.svc.cluster.local. A")
        assert search.denial.may_ask(name(CUT), NOW)
        assert not search.denial.may_ask(name(CUT), NOW)
        assert search.denial.may_ask(name(CUT), NOW + ASK_AGAIN)
        assert not search.denial.may_ask(name("never.seen.svc.cluster.local"), NOW)

    def test_where_it_exists_the_next_one_down_is_asked(self) -> None:
        search = Search()
        search.hear("a.example.com.ns.svc.cluster.local. A")
        assert search.hear("b.example.com.ns.svc.cluster.local. A") == "ns.svc.cluster.local."
        assert search.find("ns.svc.cluster.local. A") == "com.ns.svc.cluster.local."
        search.hear("com.ns.svc.cluster.local. A")
        search.hear("com.ns.svc.cluster.local. AAAA")
        assert search.denied("never.seen.com.ns.svc.cluster.local. AAAA") is not None
        assert search.denied("web.ns.svc.cluster.local. A") is None
        assert search.hear("x.net.ns.svc.cluster.local. A") == "", "the namespace is remembered to exist"
        assert search.hear("y.net.ns.svc.cluster.local. A") == "net.ns.svc.cluster.local."

    @pytest.mark.parametrize(
        ("soa", "chain"),
        [("", ""), (SOA, "{} 60 IN CNAME gone.cluster.local.")],
        ids=["without SOA", "behind an alias"],
    )
    def test_what_proves_nothing(self, soa: str, chain: str) -> None:
        search = Search()
        for one in ("one.com.svc.cluster.local.", "two.com.svc.cluster.local."):
            assert search.hear(f"{one} A", soa=soa, chain=chain.format(one)) == ""
        search = Search()
        search.hear("one.com.svc.cluster.local. A")
        search.hear("two.com.svc.cluster.local. A")
        for qtype in ("A", "AAAA"):
            search.hear(f"{CUT} {qtype}", soa=soa, chain=chain.format(CUT))
        assert search.denied("three.com.svc.cluster.local. A") is None

    def test_a_failure_says_nothing(self) -> None:
        search = Search()
        question = "one.com.svc.cluster.local. A"
        for number in range(2):
            refused = parsed(response(f"n{number}{question}", rcode=Rcode.REFUSED), f"n{number}{question}")
            assert search.denial.learn(query(f"n{number}{question}"), refused, LIMITS, NOW) is None


class TestPlaces:
    """Two names below, and what is asked for; empty where there may be no cut."""

    @staticmethod
    def wanted(search: Search, below: str) -> str:
        soa = SOA.replace("cluster.local. 30", ". 30", 1)
        search.hear(f"one.{below} A", soa=soa)
        return search.hear(f"two.{below} A", soa=soa)

    @pytest.mark.parametrize(
        ("below", "wanted"),
        [
            ("com.cluster.local.", "com.cluster.local."),
            ("example.com.cluster.local.", "com.cluster.local."),
            ("example.com.svc.cluster.local.", "com.svc.cluster.local."),
            ("svc.cluster.local.", ""),
            ("pod.cluster.local.", ""),
            ("ns.pod.cluster.local.", ""),
            ("cluster.local.", ""),
            ("example.com.", ""),
            ("xcluster.local.", ""),
            ("com.corp.example.", "com.corp.example."),
            ("a.com.corp.example.", "com.corp.example."),
            ("corp.example.", ""),
            ("example.", ""),
            ("_tcp.web.svc.cluster.local.", ""),
            ("_tcp.com.corp.example.", ""),
            ("x._tcp.com.cluster.local.", ""),
        ],
    )
    def test_where(self, below: str, wanted: str) -> None:
        assert self.wanted(Search("corp.example"), below) == wanted

    def test_two_levels_below_svc_one_elsewhere(self) -> None:
        for below, top in (("c.b.svc.cluster.local.", "b.svc.cluster.local."), ("c.b.cluster.local.", "b.cluster.local.")):
            search = Search()
            assert self.wanted(search, below) == top
            search.find(f"{top} A")
            deeper = self.wanted(search, f"x.{below}")
            assert deeper == (below if "svc" in below else "")

    def test_the_longest_base_counts(self) -> None:
        search = Search("ns.svc.cluster.local")
        assert self.wanted(search, "example.com.ns.svc.cluster.local.") == "com.ns.svc.cluster.local."
        assert self.wanted(search, "example.com.svc.cluster.local.") == "com.svc.cluster.local."

    @pytest.mark.parametrize("kept", ["zone.com.svc.cluster.local", "com.svc.cluster.local", "db.zone.com.svc.cluster.local"])
    def test_never_at_or_above_the_apex_of_a_zone_or_a_pinned_name(self, kept: str) -> None:
        search = Search(kept=(kept, "example.net"))
        assert self.wanted(search, "example.com.svc.cluster.local.") in {"", "example.com.svc.cluster.local."}
        assert self.wanted(search, "example.net.svc.cluster.local.") == "net.svc.cluster.local."

    def test_nowhere_without_domains(self) -> None:
        search = Search(cluster_domain=None)
        assert search.denial.suffixes == ()
        assert self.wanted(search, "example.com.svc.cluster.local.") == ""

    def test_a_label_that_looks_like_the_end_of_a_domain_is_none(self) -> None:
        """Length octets and all, inside one label."""
        search = Search()
        odd = b"\x0fx\x07cluster\x05local\0"
        assert odd.endswith(search.denial.suffixes)
        below = b"\1a" + odd
        asked = query("x. A")
        for one in (b"\1b", b"\1c"):
            asked.name = one + below
            said = parsed(response("x. A", "", ". 30 IN SOA a. b. 1 2 3 4 30", rcode=3), "x. A")
            assert search.denial.learn(asked, said, LIMITS, NOW) is None


class TestDenying:
    def test_every_name_below_and_every_type(self) -> None:
        search = Search()
        search.cut()
        for question in ("new.com.svc.cluster.local. A", "a.b.c.com.svc.cluster.local. TXT", "N.Com.Svc.Cluster.Local. AAAA"):
            assert search.denied(question) is not None
        for question in (f"{CUT} A", "com.cluster.local. A", "a.net.svc.cluster.local. A", "a.com.ns.svc.cluster.local. A"):
            assert search.denied(question) is None

    def test_the_answer_is_nxdomain_with_the_soa(self) -> None:
        search = Search()
        search.cut()
        denied = search.denied("new.com.svc.cluster.local. A")
        assert denied is not None
        assert denied.response.rcode == Rcode.NXDOMAIN
        soa = f"cluster.local. {TTL} IN SOA ns.cluster.local. admin.cluster.local. 1 2 3 4 30"
        assert kept_records(denied.response) == ([], [soa], [])

    def test_for_as_long_as_both_answers_are_good(self) -> None:
        search = Search()
        search.hear("one.com.svc.cluster.local. A")
        search.hear("two.com.svc.cluster.local. A")
        search.hear(f"{CUT} A")
        search.hear(f"{CUT} AAAA", now=NOW + 2)
        assert search.denied("three.com.svc.cluster.local. A", now=NOW + 4.9) is not None
        assert search.denied("three.com.svc.cluster.local. A", now=NOW + 5) is None

    def test_not_through_an_underscore(self) -> None:
        search = Search()
        search.cut()
        assert search.denied("_tcp.com.svc.cluster.local. A") is None
        assert search.denied("_http._tcp.com.svc.cluster.local. SRV") is None

    @pytest.mark.parametrize("flags", [0x0110, 0x0100], ids=["CD", "DO"])
    def test_not_for_clients_that_check_for_themselves(self, flags: int) -> None:
        search = Search()
        search.cut()
        asked = query("new.com.svc.cluster.local. A", flags=flags, edns=(0x8000, 1232) if flags == 0x0100 else None)
        assert search.denial.answer_to(asked, NOW) is None

    def test_a_question_denied_again_is_known(self) -> None:
        search = Search()
        search.cut()
        first = search.denied("new.com.svc.cluster.local. A")
        assert first is not None
        assert not first.visited
        again = search.denied("New.com.svc.cluster.local. A")
        assert again is first
        assert again.visited
        for number in range(3 * MAX_LATELY):
            assert search.denied(f"n{number}.com.svc.cluster.local. A") is not None

    def test_it_goes_on_when_it_is_proved_again(self) -> None:
        search = Search()
        search.cut()
        denied = search.denied("new.com.svc.cluster.local. A", now=NOW + 4.8)
        assert denied is not None
        assert denied.is_ending(NOW + 4.8)
        wanted = search.denial.to_renew(denied)
        assert wanted == name(CUT)
        assert search.denial.may_ask(wanted, NOW + 4.8)
        for qtype in ("A", "AAAA"):
            search.hear(f"{CUT} {qtype}", now=NOW + 4.8)
        assert search.denial.to_renew(denied) is None, "that was done"
        again = search.denied("new.com.svc.cluster.local. A", now=NOW + 5)
        assert again is not None
        assert not again.is_ending(NOW + 5)
        assert search.denied("new.com.svc.cluster.local. A", now=NOW + 9.8) is None

    def test_one_that_ended_is_asked_again_at_the_next_denial(self) -> None:
        search = Search()
        search.cut()
        assert search.hear("three.com.svc.cluster.local. A", now=NOW + 60) == CUT


class TestEnding:
    @pytest.mark.parametrize(
        ("question", "record"),
        [
            (f"{CUT} A", ""),
            (f"{CUT} TXT", '{} 60 IN TXT "here"'),
            ("new.com.svc.cluster.local. A", "{} 60 IN A 192.0.2.1"),
            ("a.b.c.com.svc.cluster.local. AAAA", ""),
            ("_http._tcp.com.svc.cluster.local. SRV", "{} 60 IN SRV 0 0 80 new.com.svc.cluster.local."),
            ("alias.com.svc.cluster.local. A", "{} 60 IN CNAME elsewhere.example."),
        ],
    )
    def test_what_is_found_at_or_below_ends_it(self, question: str, record: str) -> None:
        search = Search()
        search.cut()
        search.denied("known.com.svc.cluster.local. A")
        search.find(question, record.format(question.split(maxsplit=1)[0]))
        assert search.changes == 1
        assert search.denied("known.com.svc.cluster.local. A") is None
        for number in range(3):
            assert search.hear(f"n{number}.com.svc.cluster.local. A") != CUT, "it exists, for a while"
        search.hear("m1.com.svc.cluster.local. A", now=NOW + EXISTS_FOR)
        assert search.hear("m2.com.svc.cluster.local. A", now=NOW + EXISTS_FOR) == CUT

    def test_what_is_found_while_it_is_asked_prevents_it(self) -> None:
        search = Search()
        search.hear("one.com.svc.cluster.local. A")
        search.hear("two.com.svc.cluster.local. A")
        search.hear(f"{CUT} A")
        search.find("new.com.svc.cluster.local. A", "new.com.svc.cluster.local. 60 IN A 192.0.2.1")
        search.hear(f"{CUT} AAAA")
        assert search.denied("one.com.svc.cluster.local. A") is None

    def test_what_is_found_elsewhere_does_not(self) -> None:
        search = Search()
        search.cut()
        for question in ("web.ns.svc.cluster.local. A", "com.cluster.local. A", "a.com.ns.svc.cluster.local. A", "com. A"):
            search.find(question)
        assert search.changes == 0
        assert search.denied("new.com.svc.cluster.local. A") is not None

    @pytest.mark.parametrize(
        ("suffix", "goes"),
        [
            ("new.com.svc.cluster.local", True),
            (CUT, True),
            ("cluster.local", True),
            (".", True),
            ("net.svc.cluster.local", False),
            ("m.svc.cluster.local", False),
        ],
    )
    def test_forgotten_by_name(self, suffix: str, goes: bool) -> None:  # noqa: FBT001 - a column of the table
        search = Search()
        search.cut()
        search.denial.forget(name(suffix))
        assert (search.denied("new.com.svc.cluster.local. A") is None) is goes

    def test_what_the_answers_cache_knows_prevents_it(self) -> None:
        search = Search()
        search.denial.learn_found([name("web.com.svc.cluster.local"), name("example.net")], NOW)
        search.hear("one.com.svc.cluster.local. A")
        assert search.hear("two.com.svc.cluster.local. A") == ""

    def test_other_domains_begin_anew(self) -> None:
        search = Search()
        search.cut()
        search.denial.search_in(name("cluster.local"), (), ())
        assert search.changes == 1
        assert search.denied("new.com.svc.cluster.local. A") is None


def test_candidates_stay_within_the_budget_and_cuts_in_use_stay() -> None:
    search = Search()
    search.denial = Denial(1 << 16, search.changed)
    search.denial.search_in(name("cluster.local"), (), ())
    search.cut()
    for number in range(1000):
        search.hear(f"x.n{number}.svc.cluster.local. A")
        assert search.denied(f"n{number}.com.svc.cluster.local. A") is not None
    assert 0 < search.denial.used <= 1 << 16
