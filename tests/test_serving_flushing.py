"""Forgetting at run time: by whatever way a name is known, in steps, and with what is in progress meanwhile."""

from itertools import pairwise

import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.serving.flushing import SLICE, Flushing, Scope
from forwarder.wire.names import is_at_or_below, name_from_text
from tests.lab.behaviours import Behaviour, answer, nxdomain, refusal, soa
from tests.lab.clients import query, rdatas
from tests.lab.kitchen import ONE, FakeDoor, Kitchen, octets_of, read
from tests.test_serving_answering_search import Node

NEW = answer("@ 60 IN A 192.0.2.9")
ALIAS = answer("@ 60 IN CNAME b.test.", "b.test. 60 IN CNAME c.test.", "c.test. 60 IN A 192.0.2.3")
SERVICE = answer("@ 60 IN SRV 0 0 80 host.test.", additional=["host.test. 60 IN A 192.0.2.4"])
REDIRECTED = answer("test. 60 IN DNAME other.", "@ 60 IN CNAME a.other.", "a.other. 60 IN A 192.0.2.5")
NOTHING_BEHIND = answer("@ 60 IN CNAME b.test.", authority=[soa("test.")], rcode="NXDOMAIN")


def flushed(kitchen: Kitchen, name: str, *, below: bool = False) -> int:
    """Flush to the end, with nothing in progress; how many entries went."""
    flushing = Flushing(kitchen.memory, kitchen.coalescing, Scope(name_from_text(name), is_suffix=below))
    assert set(flushing.steps()) <= {0.0}, "there is nothing to wait for"
    return flushing.entries


def is_known(kitchen: Kitchen, octets: bytes) -> bool:
    """Whether memory answers."""
    asked = len(kitchen.upstream.asked)
    kitchen.take(octets, door=FakeDoor())
    known = len(kitchen.upstream.asked) == asked
    kitchen.upstream.settle()
    return known


class TestWhatGoes:
    @pytest.mark.parametrize("qtype", ["A", "AAAA", "TXT", "CNAME"])
    def test_each_type_of_the_name(self, qtype: str) -> None:
        kitchen = Kitchen()
        kitchen.remember(octets_of("a.test.", qtype), nxdomain("test."))
        assert flushed(kitchen, "A.test") == 1
        assert not is_known(kitchen, octets_of("a.test.", qtype))

    def test_with_do_and_cd_or_without(self) -> None:
        kitchen = Kitchen()
        plain, checked = query("a.test."), query("a.test.", dnssec=True)
        asked = [plain.to_wire(), checked.to_wire()]
        checked.flags |= 0x10
        asked.append(checked.to_wire())
        for octets in asked:
            kitchen.remember(octets)
        assert flushed(kitchen, "a.test.") == len(asked)

    @pytest.mark.parametrize(
        ("behaviour", "qtype", "name"),
        [
            (ALIAS, "A", "b.test."),
            (ALIAS, "A", "C.Test."),
            (SERVICE, "SRV", "host.test."),
            (REDIRECTED, "A", "test."),
            (REDIRECTED, "A", "a.other."),
            (NOTHING_BEHIND, "A", "b.test."),
        ],
    )
    def test_answers_of_others_that_came_by_the_name(self, behaviour: Behaviour, qtype: str, name: str) -> None:
        kitchen = Kitchen()
        kitchen.remember(octets_of("a.test.", qtype), behaviour)
        kitchen.remember(octets_of("z.test."))
        assert flushed(kitchen, name) == 1
        assert not is_known(kitchen, octets_of("a.test.", qtype))
        assert is_known(kitchen, octets_of("z.test."))

    @pytest.mark.parametrize("name", ["test.", "ns.test.", "b.", "x.a.test.", "tes", "est."])
    def test_nothing_else(self, name: str) -> None:
        """Not by the zone that an SOA names, nor by a part of a name."""
        kitchen = Kitchen()
        kitchen.remember(octets_of("a.test."), ALIAS)
        kitchen.remember(octets_of("n.test."), nxdomain("test."))
        assert flushed(kitchen, name) == 0

    def test_the_name_and_all_below(self) -> None:
        kitchen = Kitchen()
        for name in ("test.", "a.test.", "x.a.test.", "atest.", "a.test.other."):
            kitchen.remember(octets_of(name))
        kitchen.remember(octets_of("far.other."), ALIAS)
        assert flushed(kitchen, "test", below=True) == 4
        assert is_known(kitchen, octets_of("atest."))
        assert is_known(kitchen, octets_of("a.test.other."))

    def test_everything(self) -> None:
        kitchen = Kitchen()
        for number in range(700):
            kitchen.remember(octets_of(f"n{number}.test."))
        assert flushed(kitchen, ".", below=True) == 700
        assert len(kitchen.memory.answers) == 0

    def test_failures(self) -> None:
        kitchen = Kitchen()
        for name in ("a.test.", "b.test."):
            kitchen.take(octets_of(name))
        kitchen.fail(refusal("SERVFAIL"))
        assert flushed(kitchen, "a.test.") == 1
        assert not is_known(kitchen, octets_of("a.test."))
        assert is_known(kitchen, octets_of("b.test."))

    def test_stale_answers_too(self) -> None:
        kitchen = Kitchen()
        kitchen.remember(octets_of("a.test."))
        kitchen.pass_time(100)
        assert flushed(kitchen, "a.test.") == 1
        kitchen.take(octets_of("a.test."))
        kitchen.fail(refusal("SERVFAIL"))
        assert read(kitchen.udp.replies[0][1], octets_of("a.test.")).rcode() == dns.rcode.SERVFAIL

    def test_the_exact_cache(self) -> None:
        kitchen = Kitchen()
        octets = octets_of("a.test.")
        kitchen.remember(octets)
        kitchen.taken(octets)
        assert kitchen.recalled(octets) is not None
        flushed(kitchen, "a.test.")
        assert kitchen.recalled(octets) is None

    @pytest.mark.parametrize(("name", "below"), [("x.com.cluster.local", False), ("com.cluster.local", True), (".", True)])
    def test_the_cut_that_denies_it(self, name: str, *, below: bool) -> None:
        node = Node()
        for asked in ("a.com.cluster.local.", "b.com.cluster.local."):
            node.look_up(asked)
        assert is_known(node.kitchen, octets_of("x.com.cluster.local."))
        flushed(node.kitchen, name, below=below)
        assert not is_known(node.kitchen, octets_of("x.com.cluster.local."))

    def test_pinned_names_stay(self) -> None:
        kitchen = Kitchen()
        kitchen.pin(b"\1a\4test\0")
        assert flushed(kitchen, "a.test.") == 0
        kitchen.taken(octets_of("a.test."))


class TestMeanwhile:
    def test_what_was_asked_before_is_waited_for_and_forgotten(self) -> None:
        """Its clients get what the upstream says; those who come afterwards do not."""
        kitchen = Kitchen()
        octets = octets_of("a.test.")
        kitchen.take(octets)
        steps = Flushing(kitchen.memory, kitchen.coalescing, Scope(name_from_text("a.test"), is_suffix=False)).steps()
        assert next(steps) > 0
        kitchen.upstream.settle()
        assert all(seconds == 0.0 for seconds in steps)
        ((_, told),) = kitchen.udp.replies
        assert rdatas(read(told, octets)) == ["192.0.2.1"]
        kitchen.take(octets)
        kitchen.upstream.settle(NEW)
        assert rdatas(read(kitchen.udp.replies[-1][1], octets)) == ["192.0.2.9"]

    def test_an_alias_in_progress_that_turns_out_to_lead_there(self) -> None:
        kitchen = Kitchen()
        kitchen.take(octets_of("a.test."))
        flushing = Flushing(kitchen.memory, kitchen.coalescing, Scope(name_from_text("c.test"), is_suffix=False))
        steps = flushing.steps()
        assert next(steps) > 0
        kitchen.upstream.settle(ALIAS)
        list(steps)
        assert flushing.entries == 1
        assert not is_known(kitchen, octets_of("a.test."))

    def test_others_have_their_turn_between_slices(self) -> None:
        kitchen = Kitchen()
        for number in range(5 * SLICE):
            kitchen.remember(octets_of(f"n{number}.test."))
        steps = Flushing(kitchen.memory, kitchen.coalescing, Scope(name_from_text("test"), is_suffix=True)).steps()
        left = [len(kitchen.memory.answers) for _ in steps]
        assert [before - after for before, after in pairwise(left)] == [SLICE] * 4

    def test_what_is_asked_meanwhile_is_not_waited_for_and_stays(self) -> None:
        kitchen = Kitchen()
        for number in range(300):
            kitchen.remember(octets_of(f"n{number}.test."))
        steps = Flushing(kitchen.memory, kitchen.coalescing, Scope(name_from_text("n0.test"), is_suffix=False)).steps()
        assert next(steps) == 0.0
        kitchen.take(octets_of("n0.test."))
        kitchen.upstream.settle(NEW)
        kitchen.take(octets_of("other.test."))
        assert all(seconds == 0.0 for seconds in steps)
        assert is_known(kitchen, octets_of("n0.test."))

    def test_the_next_question_after_one_that_was_waited_for_is_not_waited_for(self) -> None:
        """Somebody asks the same again and again: the flush comes to its end all the same."""
        kitchen = Kitchen()
        octets = octets_of("a.test.")
        kitchen.take(octets)
        steps = Flushing(kitchen.memory, kitchen.coalescing, Scope(name_from_text("a.test"), is_suffix=False)).steps()
        assert next(steps) > 0
        kitchen.upstream.settle(refusal("SERVFAIL"))
        kitchen.fail(refusal("SERVFAIL"))
        kitchen.pass_time(5)
        kitchen.take(octets)
        assert len(kitchen.coalescing) == 1
        assert all(seconds == 0.0 for seconds in steps)

    def test_an_answer_that_was_replaced_between_two_steps_stays(self) -> None:
        kitchen = Kitchen()
        for number in range(300):
            kitchen.remember(octets_of(f"n{number}.test."))
        steps = Flushing(kitchen.memory, kitchen.coalescing, Scope(name_from_text("n299.test"), is_suffix=False)).steps()
        assert next(steps) == 0.0
        kitchen.pass_time(100)
        kitchen.take(octets_of("n299.test."))
        kitchen.upstream.settle(NEW)
        list(steps)
        assert rdatas(read(kitchen.taken(octets_of("n299.test.")), octets_of("n299.test."))) == ["192.0.2.9"]


LABELS = st.sampled_from(["a", "b", "ab", "test"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join(labels) + ".")


@given(chains=st.lists(st.lists(NAMES, min_size=1, max_size=4, unique=True), max_size=6), name=NAMES, below=st.booleans())
def test_exactly_those_answers_go_whose_chain_holds_such_a_name(chains: list[list[str]], name: str, *, below: bool) -> None:
    kitchen = Kitchen()
    kept: dict[str, list[str]] = {}
    for chain in chains:
        if chain[0] not in kept:
            links = [f"{owner} 60 IN CNAME {target}" for owner, target in pairwise(chain)]
            kitchen.remember(octets_of(chain[0]), answer(*links, f"{chain[-1]} 60 IN A 192.0.2.1"))
            kept[chain[0]] = chain
    wire = name_from_text(name)

    def is_meant(one: str) -> bool:
        return is_at_or_below(name_from_text(one), wire) if below else name_from_text(one) == wire

    expected = {first for first, chain in kept.items() if any(map(is_meant, chain))}
    assert flushed(kitchen, name, below=below) == len(expected)
    assert {first for first in kept if not is_known(kitchen, octets_of(first))} == expected


def test_one_answer_says_what_the_upstream_says_now() -> None:
    """The whole of it: known, flushed, asked again."""
    kitchen = Kitchen()
    octets = octets_of("a.test.")
    kitchen.remember(octets, ONE)
    flushed(kitchen, "a.test")
    kitchen.remember(octets, NEW)
    assert rdatas(read(kitchen.taken(octets), octets)) == ["192.0.2.9"]
