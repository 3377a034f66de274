"""Who drops our traffic: what certainly does is named, what only may is not."""

import pytest

from forwarder.node.blocking import Blocked, Chain, Condition, Rule, Table, Verdict, blocked, traffic_for
from tests.lab.node_plans import planned

PLAN = planned("169.254.20.10:53")
TRAFFIC = tuple(traffic_for(PLAN))
ELSEWHERE = ("queries over UDP to 169.254.20.10", "queries over TCP to 169.254.20.10")
ANSWERS = ("answers over UDP from 169.254.20.10", "answers over TCP from 169.254.20.10")


def rule(verdict: Verdict, *conditions: Condition, target: str = "") -> Rule:
    return Rule(conditions, verdict, target, f"the rule that {verdict}s")


def is_(key: str, *values: str, negated: bool = False) -> Condition:
    return Condition(key, values, negated)


def found(*rules: Rule, hook: str = "input", drops: bool = True, **others: tuple[Rule, ...]) -> tuple[Blocked, ...]:
    """Through one base chain with these rules, and chains to jump to."""
    chains = {name: Chain(named) for name, named in others.items()}
    base = Chain(tuple(rules), hook, drops, "the chain")
    return blocked((Table((4, 6), {"base": base, **chains}),), TRAFFIC)


LOOPBACK = rule(Verdict.ACCEPT, is_("iif", "lo"))
ESTABLISHED = rule(Verdict.ACCEPT, is_("state", "established", "related"))
DNS = rule(Verdict.ACCEPT, is_("udp dport", "53")), rule(Verdict.ACCEPT, is_("tcp dport", "53"))


def test_a_policy_that_drops_is_named_with_what_it_drops() -> None:
    assert found(LOOPBACK, ESTABLISHED) == (Blocked(ELSEWHERE, "the chain: its policy"),)


def test_answers_are_not_established_either() -> None:
    (one,) = found(rule(Verdict.ACCEPT, is_("oif", "lo")), ESTABLISHED, hook="output")
    assert one.traffic == ANSWERS


def test_without_loopback_this_hosts_programs_are_dropped_too() -> None:
    (one,) = found(ESTABLISHED)
    assert len(one.traffic) == 2 + 4


@pytest.mark.parametrize(
    "accepts",
    [
        DNS,
        (rule(Verdict.ACCEPT, is_("dport", "1-1023")),),
        (rule(Verdict.ACCEPT, is_("daddr", "169.254.0.0/16")),),
        (rule(Verdict.ACCEPT, is_("daddr", "169.254.20.1-169.254.20.20")),),
        (rule(Verdict.ACCEPT, is_("state", "new", "untracked")),),
        (rule(Verdict.ACCEPT, is_("iif", "cni0")),),
        (rule(Verdict.ACCEPT, is_("saddr", "10.42.0.0/16")),),
        (rule(Verdict.ACCEPT, is_("mark", "1")),),
        (rule(Verdict.ACCEPT, is_("protocol", "udp", "tcp")),),
        (rule(Verdict.JUMP, target="more"),),
        (rule(Verdict.GOTO, target="more"),),
    ],
    ids=str,
)
def test_what_accepts_or_may_accept_it_is_no_alarm(accepts: tuple[Rule, ...]) -> None:
    assert found(LOOPBACK, *accepts, more=DNS) == ()


@pytest.mark.parametrize(
    "accept",
    [
        is_("udp dport", "54"),
        is_("daddr", "192.0.2.0/24"),
        is_("daddr", "fd00::/8"),
        is_("protocol", "icmp"),
        is_("state", "invalid"),
        is_("version", "6"),
        is_("oif", "eth0"),
        is_("dport", "53", negated=True),
    ],
    ids=str,
)
def test_what_accepts_something_else_helps_nothing(accept: Condition) -> None:
    (one,) = found(
        LOOPBACK, rule(Verdict.ACCEPT, accept, is_("tcp dport", "22")), rule(Verdict.ACCEPT, accept, is_("sport", "1"))
    )
    assert one.traffic == ELSEWHERE


def test_a_rule_that_certainly_drops_is_named_and_one_that_only_may_is_not() -> None:
    certain = rule(Verdict.DROP, is_("state", "established", negated=True), is_("dport", "53"))
    assert found(LOOPBACK, certain, drops=False) == (Blocked(ELSEWHERE, "the rule that drops"),)
    assert found(LOOPBACK, rule(Verdict.DROP, is_("saddr", "192.0.2.0/24")), drops=False) == ()
    assert found(LOOPBACK, rule(Verdict.DROP, is_("state", "invalid")), drops=False) == ()


def test_what_is_accepted_before_is_not_dropped_behind() -> None:
    assert found(LOOPBACK, *DNS, rule(Verdict.DROP), drops=False) == ()


def test_chains_are_followed_and_left_again() -> None:
    drop = (rule(Verdict.DROP, is_("dport", "53")),)
    jump = rule(Verdict.JUMP, target="more")
    assert found(LOOPBACK, jump, drops=False, more=drop)[0].traffic == ELSEWHERE
    assert found(LOOPBACK, jump, drops=False, more=(rule(Verdict.RETURN), *drop)) == ()
    assert found(LOOPBACK, jump, *DNS, more=(rule(Verdict.RETURN),)) == ()
    assert found(LOOPBACK, rule(Verdict.GOTO, target="more"), *DNS, more=())[0].rule == "the chain: its policy"


def test_behind_a_door_that_may_have_been_taken_nothing_is_certain() -> None:
    maybe_left = (rule(Verdict.RETURN, is_("saddr", "10.0.0.0/8")), rule(Verdict.DROP))
    assert found(LOOPBACK, rule(Verdict.JUMP, target="more"), drops=False, more=maybe_left) == ()
    maybe_entered = rule(Verdict.JUMP, is_("saddr", "10.0.0.0/8"), target="more")
    assert found(LOOPBACK, maybe_entered, drops=False, more=(rule(Verdict.DROP),)) == ()


def test_a_circle_of_jumps_ends() -> None:
    jump = rule(Verdict.JUMP, target="more")
    assert found(LOOPBACK, jump, more=(jump,))[0].rule == "the chain: its policy"


def test_a_table_of_the_other_family_sees_nothing_of_it() -> None:
    chain = Chain((), "input", drops=True, text="the chain")
    assert blocked((Table((6,), {"base": chain}),), TRAFFIC) == ()
    assert blocked((Table((4,), {"base": chain}),), TRAFFIC) != ()


def test_an_intercepted_address_must_be_reached_too() -> None:
    traffic = traffic_for(planned("127.0.0.1:53", intercept=("fd43::100",)))
    assert {one.what for one in traffic if not one.is_local} == {
        "queries over UDP to fd43::100",
        "answers over UDP from fd43::100",
        "queries over TCP to fd43::100",
        "answers over TCP from fd43::100",
    }
