"""All findings together: problems first, each once; a healthy node, replayed, has none; each is in the manual."""

import re
from pathlib import Path

from msgspec.structs import replace

from forwarder.doctor.about_resolv_conf import OPTIONS
from forwarder.doctor.facts import Clock, decoded
from forwarder.doctor.judging import judged
from tests.lab.facts import bare, found, node, server, silent
from tests.lab.project import ROOT, sources

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


def test_each_identifier_stands_in_the_manual_and_no_other() -> None:
    texts = [text for path, text in sources("forwarder").items() if path.startswith("forwarder/doctor/about_")]
    there = {one for text in texts for one in re.findall(r'Finding\(\s*"([a-z0-9-]+)"', text)}
    there |= {f"option-{option}" for option in OPTIONS}
    manual = (ROOT / "docs" / "doctor.md").read_text()
    rows = [row.split("|")[1] for row in manual.splitlines() if row.startswith("| `")]
    listed = {one for row in rows for one in re.findall(r"`([a-z0-9-]+)`", row)}
    members = {"healthy", "nameservers", "findings", "unknown"}
    assert there == listed - members
    assert len(there) > 40
