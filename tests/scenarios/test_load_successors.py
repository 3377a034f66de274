"""Reloads and handovers under 20,500 queries a second: nobody who asks is to notice, and nothing is to be asked twice.

Every query is answered, and the upstream hears of a name that was known before as little as it would have anyway: not at all.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.clients import ask, query, rdatas
from tests.lab.instances import Instances
from tests.lab.loaded import LoadedStage, ensure_nothing_lost, loaded_stage
from tests.lab.patience import wait_for

LEAD, TAIL = 1.0, 2.0
"""Seconds of load before the first one and after the last."""
RELOADS = 20
RELOADED_WITHIN = 20.0
"""Seconds, for all of them."""
HANDOVERS = 5
HANDOVER_EVERY = 4.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LoadedStage]:
    with loaded_stage(tmp_path) as made:
        yield made


def changed(stage: LoadedStage, number: int) -> str:
    """The configuration of the reload with this number: another zone, other timers, another pinned name."""
    upstream = stage.upstream.address
    more = f", {{zone: zone{number}.test, upstreams: ['{upstream}'], max_ttl: {number + 60}s}}" if number % 3 else ""
    return (
        f"zones: [{{zone: ., upstreams: ['{upstream}']}}{more}]\n"
        f"hosts: {{records: {{now.test: ['192.0.2.{number}']}}}}\n"
        f"answering: {{client_response_timer: {400 + number}ms}}\n"
        f"cache: {{stale_answer_ttl: {30 - number}s}}\n"
    )


def test_reloads(stage: LoadedStage) -> None:
    """Twenty times another configuration: none lost, nothing asked again; a bad file in between changes nothing."""
    with Instances(stage.zones) as daemon:
        stage.warm(daemon.servers)
        every = RELOADED_WITHIN / RELOADS
        with stage.load(daemon.servers, LEAD + RELOADED_WITHIN + TAIL) as client:
            begun = time.monotonic() + LEAD
            for number in range(1, RELOADS + 1):
                time.sleep(max(begun + (number - 1) * every - time.monotonic(), 0.0))
                daemon.reload("zones: nonsense" if number == RELOADS // 2 else changed(stage, number))
            seconds = time.monotonic() - begun
            record = client.record()
        assert seconds <= RELOADED_WITHIN + TAIL, f"{RELOADS} reloads took {seconds:.1f} s: the last were not under load"
        assert rdatas(ask(daemon.server, query("now.test"))) == [f"192.0.2.{RELOADS}"], daemon.stderr
        assert "zones" in daemon.stderr, "the bad file is reported with the path in it"
        assert stage.hits_asked_again() == 0, "answers were forgotten"
        assert daemon.metric("forwarder_receive_drops_total") == 0
        wait_for(lambda: len(daemon.workers()) == 1, "the workers of the former configurations left")
    ensure_nothing_lost(record)


def test_handovers(stage: LoadedStage) -> None:
    """Five times another instance: each takes sockets and answers over, the former leaves with exit status 0."""
    with Instances(stage.zones) as daemon:
        stage.warm(daemon.servers)
        with stage.load(daemon.servers, LEAD + HANDOVERS * HANDOVER_EVERY + TAIL) as client:
            begun = time.monotonic() + LEAD
            for number in range(HANDOVERS):
                time.sleep(max(begun + number * HANDOVER_EVERY - time.monotonic(), 0.0))
                ended = daemon.hand_over()
                assert ended.status == 0, daemon.stderr
                assert not set(ended.workers) & set(daemon.living()), "a worker outlived its supervisor"
            record = client.record()
        assert stage.hits_asked_again() == 0, "answers were forgotten"
        assert daemon.metric("forwarder_receive_drops_total") == 0
        assert daemon.page("/ready").status == 200
        assert len(daemon.living()) == 2, "one supervisor and one worker are left"
    ensure_nothing_lost(record)
