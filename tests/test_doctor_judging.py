"""All findings together: problems first, each once; a healthy node, replayed, has none."""

from pathlib import Path

from msgspec.structs import replace

from forwarder.doctor.facts import Clock, decoded
from forwarder.doctor.judging import judged
from tests.lab.facts import bare, found, node, server, silent

HEALTHY = Path(__file__).parent / "doctor" / "healthy-node.json"


def test_a_healthy_node_is_healthy() -> None:
    assert judged(node()) == []


def test_a_healthy_node_gathered_in_the_laboratory_has_nothing_but_notices() -> None:
    facts = decoded(HEALTHY.read_bytes(), str(HEALTHY))
    assert found(facts) == {"clock-free": "notice", "receive-buffer-small": "notice"}
    assert facts.conntrack is not None
    assert facts.rules is not None
    assert len(facts.servers) == 2
    assert facts.unknown == {}
    assert all(server.together is not None and server.together.sent == 24 for server in facts.servers)


def test_problems_come_first_and_each_once() -> None:
    facts = bare(silent(), server("192.0.2.54:53"), clock=Clock(is_synchronised=False, error=1.0))
    severities = [str(one.severity) for one in judged(facts)]
    assert severities == ["problem", "notice"]
    assert judged(replace(facts, servers=(*facts.servers, facts.servers[0]))) == judged(facts)
