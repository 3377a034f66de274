"""The only upstream says nothing: every client has its SERVFAIL in time, and nobody pays for it twice.

The first question waits for the whole deadline. Once the upstream counts as down other questions do not, and a question that
failed is answered from memory, without asking. One half of an A/AAAA pair alone may be missing: the other half is answered,
and a glibc process is not latched by it.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import dns.rcode
import pytest

from tests.lab.behaviours import answer, late, silent
from tests.lab.clients import UdpClient, extended_errors, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.faults import by_type, told_by
from tests.lab.libcs import compiled_for_glibc, lookups
from tests.lab.namespaces import Network
from tests.lab.needs import needs_namespaces
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage, staged
from tests.lab.steady import Told, asked_steadily

DEADLINE = 1.8
"""Seconds; the resolver behind the daemon gives up at 2.0 (c-ares), 2.5 (musl asks again) or 5 (glibc)."""
MARGIN = 0.15
"""Seconds by which the machine may be late."""
DOWN = 0.45
"""Seconds in which a question fails while every upstream counts as down: `client_response_timer`, and a little."""
FROM_MEMORY = 0.005  # seconds
CACHED_ERROR = 13  # EDE


@pytest.fixture
def stage() -> Iterator[Stage]:
    """One upstream, silent from the start."""
    with staged() as made:
        made.upstream.default = silent
        yield made


def asked_once(stage: Stage, name: str, qtype: str = "A") -> Told:
    """What becomes of one question over UDP; there is exactly one answer."""
    (told,) = asked_steadily(stage.server, [(name, qtype)], 1000, payload=1232)
    assert told.answers == 1
    return told


def is_down(stage: Stage) -> bool:
    """As the metrics say."""
    return stage.daemon.metric("forwarder_upstream_up", upstream=stage.upstream.address) == 0


def test_the_first_question_fails_at_the_deadline(stage: Stage) -> None:
    """Not before, for the upstream might be slow; not after, for the client would have gone."""
    told = asked_once(stage, "first.silent.test")
    assert told.response.rcode() == dns.rcode.SERVFAIL
    assert told.seconds >= DEADLINE - 0.25
    assert told.charged <= DEADLINE + MARGIN
    assert stage.daemon.metric("forwarder_deadline_missed_total") == 0


def test_the_same_question_fails_from_memory(stage: Stage) -> None:
    """At once, with EDE 13, and without a query upstream."""
    asked_once(stage, "again.silent.test")
    before = len(stage.upstream.received)
    report = asked_steadily(stage.server, [("again.silent.test", "A")] * 15, 100, payload=1232)
    assert {told.response.rcode() for told in report} == {dns.rcode.SERVFAIL}
    assert median(told.charged for told in report) < FROM_MEMORY
    assert CACHED_ERROR in [code for code, _ in extended_errors(report[-1].response)]
    asked = [received.name.lower() for received in stage.upstream.received[before:]]
    assert "again.silent.test." not in asked
    assert stage.daemon.metric("forwarder_responses_total", source="failure", rcode="SERVFAIL") >= 15


def test_others_fail_sooner_once_the_upstream_counts_as_down(stage: Stage) -> None:
    """Four names of a search path must not cost four deadlines."""
    for number in range(3):
        asked_once(stage, f"n{number}.before.silent.test")
    wait_for(lambda: is_down(stage), "the upstream counts as down")
    for number in range(4):
        told = asked_once(stage, f"n{number}.after.silent.test", "AAAA" if number % 2 else "A")
        assert told.response.rcode() == dns.rcode.SERVFAIL
        assert told.charged <= DOWN
    assert stage.daemon.metric("forwarder_deadline_missed_total") == 0


def test_an_upstream_that_speaks_again_is_believed(stage: Stage) -> None:
    """Back within seconds, and the names that failed are answered."""
    for number in range(3):
        asked_once(stage, f"n{number}.back.silent.test")
    wait_for(lambda: is_down(stage), "the upstream counts as down")
    stage.upstream.default = told_by(1)
    wait_for(lambda: rdatas(stage.ask("n0.back.silent.test")) == ["192.0.2.1"], "a name that failed is answered")
    wait_for(lambda: not is_down(stage), "the upstream counts as up")
    wait_for(lambda: "is up again" in stage.daemon.stderr, "the log says so")
    down, up = stage.daemon.stderr.splitlines()
    assert down.startswith(f"forwarder: upstream {stage.upstream.address} is down, nothing comes from it, and no other is up: ")
    assert up == f"forwarder: upstream {stage.upstream.address} is up again"
    told = asked_once(stage, "fresh.back.silent.test")
    assert rdatas(told.response) == ["192.0.2.1"]
    assert told.charged <= DOWN


def test_one_half_of_a_pair_stays_unanswered(stage: Stage) -> None:
    """A at once, AAAA as SERVFAIL: both by the deadline, also the second and the third time."""
    stage.upstream.default = by_type(a=answer("@ 0 IN A 192.0.2.1"), aaaa=silent)
    for _ in range(3):
        with UdpClient(stage.server) as client:
            begin = time.monotonic()
            client.send(query("half.silent.test", "A"))
            client.send(query("half.silent.test", "AAAA"))
            first, second = client.receive(), client.receive()
            assert time.monotonic() - begin <= DEADLINE + MARGIN
        assert first is not None
        assert second is not None
        told = {response.question[0].rdtype.name: response for response in (first, second)}
        assert rdatas(told["A"]) == ["192.0.2.1"]
        assert told["AAAA"].rcode() == dns.rcode.SERVFAIL


# ----------------------------------------------------------------------------------------------------------- the latch

POD, NODE = "10.42.2.87", "10.42.2.1"
SLOW = 0.3
"""Seconds that A and AAAA of the measured names take, each."""
LATCHED = 1.8 * SLOW
"""Seconds; twice as long as SLOW is what they take when one is asked after the other."""


def test_a_glibc_process_is_not_latched(tmp_path: Path) -> None:
    """One process looks up names whose AAAA stays silent, and then names that take 300 ms: 0.3 s, and not 0.6.

    Through a daemon that misses glibc's 5 s, A and AAAA go out one after the other from then on (`single-request`).
    """
    needs_namespaces()
    client = compiled_for_glibc(tmp_path)
    with Network() as network:
        pod, node = network.namespace("pod"), network.namespace("node")
        network.link(pod, [f"{POD}/24"], node, [f"{NODE}/24"])
        pod.write_resolv_conf(f"nameserver {NODE}\n")
        with node.inside():
            upstream = ScriptedUpstream()
        with upstream, Daemon(f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]", hosts=(NODE,), namespace=node):
            upstream.on("*.half.test", told_by(1), qtype="A")
            upstream.on("*.half.test", silent, qtype="AAAA")
            upstream.on("*.slow.test", late(SLOW, told_by(1)))
            wanted = [f"n{number}.half.test" for number in range(3)] + [f"n{number}.slow.test" for number in range(4)]
            found = lookups(pod, client, wanted)
    for one in found[:3]:
        assert one.addresses == ("192.0.2.1",)
        assert one.milliseconds <= 1000 * (DEADLINE + MARGIN)
    for one in found[3:]:
        assert set(one.addresses) == {"192.0.2.1", "2001:db8::1"}
        assert 1000 * SLOW <= one.milliseconds < 1000 * LATCHED, "latched"
