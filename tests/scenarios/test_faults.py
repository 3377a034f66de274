"""Whatever fault the first upstream plays, over UDP or TCP: the second one's answer comes, in time, and the daemon lives on.

One daemon with a zone for each fault; each zone asks an upstream that plays it and then one that is well. Each scenario sends
A and AAAA of one name together, and a second pair when the first is answered: a client hears nothing forged, nothing late,
and both halves.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.lab.clients import UdpClient, query
from tests.lab.daemon import Daemon
from tests.lab.faults import FAULTS, PLAYED, outcome, told_by
from tests.lab.scripted import ScriptedUpstream

DEADLINE = 1.8  # seconds
MARGIN = 0.3
"""Seconds by which this process may be late to see what was sent in time: what was not is counted by the daemon."""


@dataclass(frozen=True, slots=True)
class Stage:
    """All upstreams and the daemon before them."""

    daemon: Daemon
    faulty: dict[tuple[str, str], ScriptedUpstream]
    """By fault and transport."""


def zone_for(name: str, transport: str) -> str:
    """The zone in which this fault is played."""
    return f"f{PLAYED.index((name, transport))}.{transport}.test"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Built once: the upstreams are threads that sleep until asked."""
    with ExitStack() as stack:
        good = stack.enter_context(ScriptedUpstream())
        good.default = told_by(2)
        faulty = {played: stack.enter_context(ScriptedUpstream()) for played in PLAYED}
        zones = [f"{{zone: ., upstreams: ['{good.address}']}}"]
        for (name, transport), upstream in faulty.items():
            FAULTS[name].play(upstream)
            servers = f"upstreams: ['{upstream.address}', '{good.address}'], transport: {transport}"
            zones.append(f"{{zone: {zone_for(name, transport)}, {servers}}}")
        daemon = stack.enter_context(Daemon(f"zones: [{', '.join(zones)}]"))
        for upstream in faulty.values():
            upstream.forwards_to = daemon.server
        yield Stage(daemon, faulty)


def ask_pair(stage: Stage, name: str) -> list[str]:
    """A and AAAA from one socket at once; what each was told, in that order, once both were told in time."""
    with UdpClient(stage.daemon.server) as client:
        asked = [query(name, qtype, payload=1232) for qtype in ("A", "AAAA")]
        begin = time.monotonic()
        for message in asked:
            client.send(message)
        responses = [client.receive(), client.receive()]
        assert time.monotonic() - begin < DEADLINE + MARGIN
        assert client.receive_octets(seconds=0.01) is None, "answered twice"
    told = {response.id: outcome(response) for response in responses if response is not None}
    return [told[message.id] for message in asked]


@pytest.mark.parametrize(("name", "transport"), PLAYED, ids=lambda value: value.replace(" ", "_"))
def test_a_fault_is_survived(stage: Stage, name: str, transport: str) -> None:
    """Right answers, both in time; and again, for the next name."""
    zone = zone_for(name, transport)
    for host in ("one", "two"):
        told = ask_pair(stage, f"{host}.{zone}")
        assert set(told) <= set(FAULTS[name].outcomes)
    faulty = stage.faulty[name, transport]
    assert faulty.connections or faulty.received or faulty.probes, "the fault was not played"


def test_afterwards_all_is_well(stage: Stage) -> None:
    """No deadline missed, no worker replaced, nothing left in progress, and the next query is answered."""
    assert ask_pair(stage, "after.all.test") == ["second", "second"]
    assert stage.daemon.metric("forwarder_deadline_missed_total") == 0
    assert stage.daemon.metric("forwarder_workers_restarted_total") == 0
