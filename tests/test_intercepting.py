"""The hold on intercepted addresses: who is asked before it is renewed, and what is said. Rules of a real kernel."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from forwarder.config import Config, Listen, NodeSettings, Zone
from forwarder.intercepting import HELD, Intercepting, are_answered, is_no_failure, is_ours, own_questions
from forwarder.steering import worker_for
from tests.lab.behaviours import (
    Behaviour,
    Move,
    Received,
    answer,
    both,
    in_turn,
    nodata,
    nxdomain,
    query_bit,
    refusal,
    silent,
    wrong_id,
    wrong_question,
)
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream

SERVICE = "10.43.0.100"
DOMAIN = "cluster.local"
SET = """
table inet forwarder {
    set alive { type ipv4_addr; flags dynamic,timeout; }
    chain output {
        type filter hook output priority raw;
        meta skuid 0 ip daddr 10.43.0.100 udp dport 9 update @alive { ip daddr timeout 3s } drop
        meta skuid 0 ip daddr 10.43.0.100 udp dport 10 delete @alive { ip daddr } drop
    }
}
"""

AS_WE_DO = answer('@ 3600 IN HINFO "RFC8482" ""')
ALL_EMPTY = answer()
ZONE = f"{DOMAIN}."


def with_soa(of_cluster: Behaviour) -> Behaviour:
    """ANY as we answer it, and this for the question that only an upstream can answer."""
    return lambda received: (of_cluster if received.qtype == "SOA" else AS_WE_DO)(received)


HEALTHY, FAILING = with_soa(nodata(ZONE)), with_soa(refusal("SERVFAIL"))


def short(received: Received) -> list[Move]:
    return [Move(received.octets[:2])]


def config_at(daemon: ScriptedUpstream, *intercept: str, cluster_domain: str | None = DOMAIN) -> Config:
    return Config(
        zones=(Zone(zone=".", upstreams=("192.0.2.53:53",)),),
        listen=Listen(addresses=(daemon.address,)),
        cluster_domain=cluster_domain,
        node=NodeSettings(intercept=intercept),
    )


class TestOwnQuestions:
    @pytest.mark.parametrize("workers", [1, 2, 3, 8, 64])
    def test_each_worker_is_asked_one(self, workers: int) -> None:
        keys = own_questions(workers)
        assert sorted(worker_for(key[:-5], workers) for key in keys) == list(range(workers))
        assert {key[-5:] for key in keys} == {b"\0\xff\0\1\0"}


class TestAsking:
    @staticmethod
    def are_answered(behaviour: Behaviour, *keys: bytes, seconds: float = 5.0) -> bool:
        with ScriptedUpstream() as daemon:
            daemon.default = behaviour
            is_right = is_no_failure if keys else is_ours
            return asyncio.run(are_answered((daemon.host, daemon.port), keys or own_questions(3), seconds, is_right))

    def test_all_are_answered(self) -> None:
        assert self.are_answered(AS_WE_DO)

    def test_one_is_not(self) -> None:
        assert not self.are_answered(in_turn(AS_WE_DO, AS_WE_DO, silent), seconds=0.1)

    @pytest.mark.parametrize("behaviour", [wrong_question(AS_WE_DO), query_bit(AS_WE_DO), ALL_EMPTY, short, refusal("REFUSED")])
    def test_a_wrong_answer(self, behaviour: Behaviour) -> None:
        assert not self.are_answered(behaviour)

    def test_what_answers_another_query_is_waited_out(self) -> None:
        assert self.are_answered(both(wrong_id(AS_WE_DO), AS_WE_DO))

    @pytest.mark.parametrize(
        ("behaviour", "knows"), [(nodata(ZONE), True), (nxdomain(ZONE), True), (refusal("SERVFAIL"), False)]
    )
    def test_somebody_knows(self, behaviour: Behaviour, *, knows: bool) -> None:
        assert self.are_answered(behaviour, b"\7cluster\5local\0\0\6\0\1\0") is knows

    def test_an_address_that_no_interface_has(self) -> None:
        assert not asyncio.run(are_answered(("192.0.2.1", 53), own_questions(1), 5.0, is_ours))

    def test_nobody_there(self) -> None:
        assert not asyncio.run(are_answered(("127.0.0.1", free_port()), own_questions(1), 5.0, is_ours))


@pytest.fixture
def node() -> Iterator[Namespace]:
    """A network of its own, in which the service address leads to itself."""
    needs_namespaces()
    needs_program("nft", package="nftables")
    with Network() as network:
        node = network.namespace("node")
        node.add_address(f"{SERVICE}/32")
        yield node


@contextmanager
def looking(node: Namespace, behaviour: Behaviour) -> Iterator[tuple[ScriptedUpstream, Callable[..., list[str]]]]:
    """Who answers, and a function that looks as often as it is given configurations; what is said."""
    said: list[str] = []
    with node.inside(), ScriptedUpstream() as daemon:
        daemon.default = behaviour
        intercepting = Intercepting(0, said.append)

        async def look(configs: tuple[Config, ...], *, at_end: bool) -> None:
            for config in configs:
                await intercepting.look(config, 1)
            if at_end:
                intercepting.give_back()

        def looked(*configs: Config, at_end: bool = False) -> list[str]:
            said.clear()
            asyncio.run(look(configs, at_end=at_end))
            return list(said)

        yield daemon, looked


def elements(node: Namespace) -> int:
    return node.feed("", "nft", "list", "set", "inet", "forwarder", "alive").count(SERVICE)


class TestHold:
    def test_is_taken_renewed_and_given_back(self, node: Namespace) -> None:
        node.feed(SET, "nft", "-f", "-")
        with looking(node, HEALTHY) as (daemon, looked):
            config = config_at(daemon, SERVICE)
            assert looked(config, config) == [f"node.intercept: {SERVICE} {HELD}"]
            assert elements(node) == 1
            assert [one.qtype for one in daemon.received] == ["ANY", "SOA", "ANY"]  # an upstream is asked for once
            assert looked(at_end=True) == []
            assert elements(node) == 0

    def test_ends_when_it_is_not_wanted_any_more(self, node: Namespace) -> None:
        node.feed(SET, "nft", "-f", "-")
        with looking(node, HEALTHY) as (daemon, looked):
            looked(config_at(daemon, SERVICE))
            assert looked(config_at(daemon)) == []
            assert elements(node) == 0

    @pytest.mark.parametrize(
        ("behaviour", "lack"),
        [(ALL_EMPTY, "does not answer itself at 127.0.0.1 port"), (FAILING, f"until an upstream of {DOMAIN} has answered")],
    )
    def test_is_not_taken(self, node: Namespace, behaviour: Behaviour, lack: str) -> None:
        node.feed(SET, "nft", "-f", "-")
        with looking(node, behaviour) as (daemon, looked):
            (line,) = looked(config_at(daemon, SERVICE), config_at(daemon, SERVICE))
            assert line.startswith(f"node.intercept: {SERVICE} is left to the cluster")
            assert lack in line
            assert elements(node) == 0

    def test_is_not_renewed_when_the_daemon_is_wrong(self, node: Namespace) -> None:
        node.feed(SET, "nft", "-f", "-")
        with looking(node, HEALTHY) as (daemon, looked):
            looked(config_at(daemon, SERVICE))
            node.feed("", "nft", "flush", "set", "inet", "forwarder", "alive")
            daemon.default = ALL_EMPTY
            (line,) = looked(config_at(daemon, SERVICE))
            assert "does not answer itself" in line
            assert elements(node) == 0

    def test_failing_upstreams_do_not_end_it(self, node: Namespace) -> None:
        """Then stale answers are served here; the cluster's DNS would say no more."""
        node.feed(SET, "nft", "-f", "-")
        with looking(node, HEALTHY) as (daemon, looked):
            looked(config_at(daemon, SERVICE))
            daemon.default = FAILING
            assert looked(config_at(daemon, SERVICE)) == []
            assert elements(node) == 1

    def test_without_a_cluster_domain_nobody_else_is_asked(self, node: Namespace) -> None:
        node.feed(SET, "nft", "-f", "-")
        with looking(node, FAILING) as (daemon, looked):
            looked(config_at(daemon, SERVICE, cluster_domain=None))
            assert [one.qtype for one in daemon.received] == ["ANY"]
            assert elements(node) == 1

    @pytest.mark.parametrize("rules", ["", SET.replace("skuid 0", "skuid 1")])
    def test_without_rules_for_us(self, node: Namespace, rules: str) -> None:
        node.feed(rules, "nft", "-f", "-")
        with looking(node, HEALTHY) as (daemon, looked):
            (line,) = looked(config_at(daemon, SERVICE), config_at(daemon, SERVICE))
            assert "`forwarder node up` has not been run, or for another user than uid 0 (--user)" in line
