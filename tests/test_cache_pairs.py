"""A and AAAA of one name: NXDOMAIN for A answers AAAA, what is known to exist is not denied, zones that filter A are exempt."""

from collections.abc import Callable

import pytest

from forwarder.cache.answers import AnswerCache
from forwarder.cache.lifetime import Limits
from forwarder.cache.pairs import MAX_EXEMPT, Pairs
from forwarder.wire.message import Qtype
from forwarder.wire.records import Kind
from tests.lab.messages import parsed, query, response

NOW = 500.0
LIMITS = Limits(3600, 30)
SOA = "test. 20 IN SOA ns.test. admin.test. 1 2 3 4 20"


class Known:
    """An answers cache, and what its pairs say; `changes` counts how often something held elsewhere became wrong."""

    def __init__(self) -> None:
        self.changes = 0
        self.answers = AnswerCache(1 << 20)
        self.pairs = Pairs(self.answers, self.changed)

    def changed(self) -> None:
        self.changes += 1

    def hear(self, question: str, answer: str = "", authority: str = "", *, now: float = NOW) -> None:
        """Keep a response, and learn from it as the recipe does; without records it is NXDOMAIN."""
        asked = query(question)
        said = parsed(
            response(question, answer, authority or ("" if answer else SOA), rcode=0 if answer or authority else 3), question
        )
        kept = self.answers.put(asked.key, said, LIMITS, now)
        if asked.key in self.pairs.watched:
            self.pairs.learn_watched(asked.key, kept, now)
        if kept.kind is Kind.NXDOMAIN and asked.qtype in {Qtype.A, Qtype.AAAA}:
            self.pairs.learn_denied(asked.key, kept, now, is_other_asked=True)

    def is_denied(self, name: str, *, now: float = NOW, edns: tuple[int, int] | None = None) -> bool:
        """Whether AAAA of this name follows from its A."""
        return self.pairs.denied(query(f"{name} AAAA", edns=edns).key, now) is not None

    def told(self, question: str, *, now: float = NOW) -> Kind | None:
        """What the answers cache says."""
        answer = self.answers.fresh(query(question).key, now)
        return None if answer is None else answer.response.kind


@pytest.fixture
def known() -> Known:
    return Known()


class TestDenied:
    def test_nxdomain_for_a_denies_aaaa_while_it_is_fresh(self, known: Known) -> None:
        known.hear("gone.test. A")
        assert known.is_denied("gone.test.")
        assert known.is_denied("GONE.test.")
        assert known.is_denied("gone.test.", now=NOW + 19.9)
        assert not known.is_denied("gone.test.", now=NOW + 20)
        assert not known.is_denied("other.test.")

    def test_only_for_clients_that_want_the_same_proofs(self, known: Known) -> None:
        known.hear("gone.test. A")
        assert not known.is_denied("gone.test.", edns=(0x8000, 1232)), "DO: this A was asked without"

    @pytest.mark.parametrize(
        "said",
        [
            lambda known: known.hear("a.test. A", "a.test. 60 IN A 192.0.2.1"),
            lambda known: known.hear("a.test. A", authority=SOA),
            lambda known: known.hear("a.test. AAAA"),
            lambda known: known.hear("a.test. TXT"),
        ],
        ids=["a is there", "nodata", "nxdomain for aaaa", "nxdomain for another type"],
    )
    def test_by_nothing_else(self, known: Known, said: Callable[[Known], None]) -> None:
        said(known)
        assert not known.is_denied("a.test.")

    def test_never_without_the_soa(self, known: Known) -> None:
        question = "gone.test. A"
        known.answers.put(query(question).key, parsed(response(question, rcode=3), question), LIMITS, NOW)
        assert known.told(question) is Kind.NXDOMAIN
        assert not known.is_denied("gone.test.")

    def test_an_aaaa_that_is_known_wins_though_it_be_stale(self, known: Known) -> None:
        known.hear("six.test. AAAA", "six.test. 1 IN AAAA 2001:db8::1")
        known.hear("six.test. A", now=NOW + 5)
        assert not known.is_denied("six.test.", now=NOW + 5)


class TestZonesThatFilter:
    @pytest.mark.parametrize("order", [("A", "AAAA"), ("AAAA", "A")], ids=["a first", "aaaa first"])
    def test_one_aaaa_beside_an_nxdomain_is_enough_for_the_zone(self, known: Known, order: tuple[str, str]) -> None:
        known.hear("gone.test. A")
        assert known.is_denied("gone.test.")
        for qtype in order:
            known.hear(f"six.test. {qtype}", "six.test. 60 IN AAAA 2001:db8::1" if qtype == "AAAA" else "")
        assert not known.is_denied("gone.test.")
        assert known.changes == 1, "what was made of gone.test. is wrong from now on"
        known.hear("gone.test. A", now=NOW + 3600)
        assert not known.is_denied("gone.test.", now=NOW + 3600), "from then on"

    def test_other_zones_are_believed(self, known: Known) -> None:
        known.hear("six.test. A")
        known.hear("six.test. AAAA", "six.test. 60 IN AAAA 2001:db8::1")
        question, soa = "gone.other. A", "other. 20 IN SOA ns.other. admin.other. 1 2 3 4 20"
        known.answers.put(query(question).key, parsed(response(question, "", soa, rcode=3), question), LIMITS, NOW)
        assert known.is_denied("gone.other.")

    def test_where_too_many_filter_nobody_is_believed(self, known: Known) -> None:
        for number in range(MAX_EXEMPT):
            zone = f"z{number}."
            question = f"six.{zone} A"
            said = response(question, "", f"{zone} 20 IN SOA ns.{zone} a.{zone} 1 2 3 4 20", rcode=3)
            asked = query(question).key
            kept = known.answers.put(asked, parsed(said, question), LIMITS, NOW)
            known.pairs.learn_denied(asked, kept, NOW, is_other_asked=True)
            known.hear(f"six.{zone} AAAA", f"six.{zone} 60 IN AAAA 2001:db8::1")
        known.hear("gone.test. A")
        assert not known.is_denied("gone.test.")


class TestAgreeing:
    def test_a_that_is_learnt_turns_the_nxdomain_of_aaaa_into_nodata(self, known: Known) -> None:
        known.hear("four.test. AAAA")
        assert known.told("four.test. AAAA") is Kind.NXDOMAIN
        known.hear("four.test. A", "four.test. 60 IN A 192.0.2.4")
        assert known.told("four.test. AAAA") is Kind.NODATA
        assert known.changes == 1
        (soa,) = (one for one in [known.answers.fresh(query("four.test. AAAA").key, NOW)] if one is not None)
        assert soa.response.counts == (0, 1, 0)
        assert soa.response.message[3] & 0xF == 0, "also where the message is read again, as from a snapshot"

    def test_nodata_for_a_says_that_the_name_exists(self, known: Known) -> None:
        known.hear("four.test. AAAA")
        known.hear("four.test. A", authority=SOA)
        assert known.told("four.test. AAAA") is Kind.NODATA

    def test_two_denials_agree_already(self, known: Known) -> None:
        known.hear("gone.test. AAAA")
        known.hear("gone.test. A")
        assert known.told("gone.test. AAAA") is Kind.NXDOMAIN
        assert known.changes == 0

    def test_exists_for_a(self, known: Known) -> None:
        key = query("four.test. AAAA").key
        assert not known.pairs.exists_for_a(key, NOW)
        known.hear("four.test. A", "four.test. 60 IN A 192.0.2.4")
        assert known.pairs.exists_for_a(key, NOW + 59)
        assert not known.pairs.exists_for_a(key, NOW + 60), "only what is fresh says anything"
        known.hear("four.test. A", now=NOW + 60)
        assert not known.pairs.exists_for_a(key, NOW + 60)
