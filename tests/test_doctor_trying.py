"""Servers asked on loopback: one that is well, one that is silent, and those with the faults that are looked for."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from forwarder.doctor import trying
from forwarder.doctor.facts import Server
from forwarder.doctor.planning import Plan
from forwarder.doctor.questions import plain_query
from tests.lab.behaviours import Behaviour, answer, by_transport, in_turn, late, nodata, nxdomain, refusal, silent, truncate
from tests.lab.clients import Address
from tests.lab.daemon import Daemon
from tests.lab.faults import by_type
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream

WELL = by_type(a=answer("@ 300 IN A 192.0.2.1"), aaaa=nodata("test."))


@pytest.fixture(scope="module")
def asked() -> Iterator[dict[str, Server]]:
    """All of them at one time, as the doctor asks; what came of it, by kind."""
    kinds: dict[str, Behaviour] = {
        "well": WELL,
        "silent": silent,
        "half": by_type(a=WELL, aaaa=silent),
        "late": late(0.2, WELL),
        "refusing": refusal("REFUSED"),
        "cut": by_transport(udp=truncate(answer()), tcp=WELL),
    }
    with ExitStack() as running:
        servers = {kind: running.enter_context(ScriptedUpstream()) for kind in kinds}
        for kind, server in servers.items():
            server.default = kinds[kind]
            server.on("*.cluster.local.", nxdomain("cluster.local."))
        servers["silent"].on("*.cluster.local.", silent)
        plans = {kind: Plan(Server(address=server.address, roles=("nameserver",))) for kind, server in servers.items()}
        plans["well"] = Plan(plans["well"].server, ("db.test.",), ("svc.cluster.local.",), "cluster.local.")
        plans["silent"] = Plan(plans["silent"].server, ("db.test.",), ("svc.cluster.local.",), "cluster.local.")
        plans["nobody"] = Plan(Server(address=f"127.0.0.1:{free_port()}", roles=("nameserver",)))
        plans["tls"] = Plan(Server(address=servers["well"].address, roles=("upstream",), transport="tls"))
        plans["no tls"] = Plan(Server(address=plans["nobody"].server.address, roles=("upstream",), transport="tls"))
        begun = time.monotonic()
        found = dict(zip(plans, asyncio.run(trying.tried(list(plans.values()))), strict=True))
        assert time.monotonic() - begun < 15, "bounded, though one is silent"
        assert len(servers["well"].received) < 320
        assert len(servers["silent"].received) < 320
        assert {one.name.lower() for one in servers["half"].received} == {".", "example.com.", "id.server."}
        yield found


def test_one_that_is_well(asked: dict[str, Server]) -> None:
    server = asked["well"]
    assert [reply.rcode for reply in server.plain] == [0, 0]
    assert server.plain[1].addresses == ("192.0.2.1",)
    assert [reply.opts for reply in (server.edns, server.option, server.large) if reply is not None] == [1, 1, 1]
    assert server.tcp is not None
    assert server.tcp.is_answered
    for pairs in (server.together, server.apart):
        assert pairs is not None
        assert (pairs.sent, pairs.lost, pairs.halves) == (24, 0, 0)
    (name,) = server.names
    assert (name.name, name.a.addresses, name.aaaa.rcode) == ("db.test.", ("192.0.2.1",), 0)
    (look,) = server.search
    assert (look.asked, look.denied, look.synthesised) == (trying.SEARCH_TRIES, trying.SEARCH_TRIES, 0)
    assert not server.is_ours


def test_one_that_is_silent(asked: dict[str, Server]) -> None:
    assert asked["silent"].is_silent
    assert asked["silent"].search[0].asked == 1
    assert {reply.error for reply in asked["silent"].replies} == {""}


def test_one_where_nobody_listens(asked: dict[str, Server]) -> None:
    assert asked["nobody"].is_silent
    assert {reply.error for reply in asked["nobody"].replies} == {"Connection refused"}
    assert asked["nobody"].tcp is not None
    assert asked["nobody"].tcp.error == "Connection refused"


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("half", lambda one: (one.together.halves, one.apart.lost_a, one.apart.lost_aaaa) == (24, 0, 24)),
        ("late", lambda one: 0.2 <= one.together.slowest < 2.0 and one.together.lost == 0),
        ("refusing", lambda one: {reply.rcode for reply in one.plain} == {5}),
        ("cut", lambda one: all(reply.is_truncated for reply in one.plain) and one.tcp.is_answered),
        ("tls", lambda one: one.tcp.is_answered and one.plain == ()),
        ("no tls", lambda one: one.tcp.error == "Connection refused"),
    ],
)
def test_faults(asked: dict[str, Server], kind: str, check: Callable[[Server], bool]) -> None:
    assert check(asked[kind]), asked[kind]


def test_one_response_that_is_lost_is_no_silence() -> None:
    with ScriptedUpstream() as server:
        server.default = in_turn(silent, WELL)
        asking = trying._Asking(server.address)  # noqa: SLF001 - what a second attempt is for shows in one question alone
        reply = asyncio.run(asking.by_udp(plain_query("db.test.", "A", 7)))
    assert reply.addresses == ("192.0.2.1",)
    assert len(server.received) == 2


def test_the_daemon_is_known_and_shown_to_deny_from_memory() -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = nxdomain("cluster.local.")
        with Daemon(f"cluster_domain: cluster.local\nzones: [{{zone: ., upstreams: ['{upstream.address}']}}]") as daemon:
            address: Address = daemon.server
            plan = Plan(Server(address=f"{address[0]}:{address[1]}", roles=("nameserver",)), search=("svc.cluster.local.",))
            (found,) = asyncio.run(trying.tried([plan]))
    assert found.is_ours
    assert found.search[0].synthesised == 1
