"""A worker before it serves, and one of several: doors that stay closed until they are opened, and its share of everything."""

from pathlib import Path

import dns.rcode
import msgspec
import pytest

from forwarder import config, link
from forwarder.observe import counters
from forwarder.steering import worker_for
from forwarder.wire.names import name_from_text
from tests.lab.behaviours import answer, silent
from tests.lab.clients import UdpClient, ask, query, rdatas
from tests.lab.scripted import ScriptedUpstream
from tests.lab.status import field_in
from tests.test_cache_snapshot import key_of
from tests.test_worker import Bench, bench, serving, until, zone_for

NAMES = [f"n{number}.test." for number in range(12)]


def report(at: Bench) -> link.Report:
    return link.read_report(at.ours.recv(link.MAX_MESSAGE_SIZE))


def has_given_up(process: int | str) -> bool:
    """Whether it can have no new privileges, which a worker gives up with all others."""
    return field_in(Path(f"/proc/{process}/status").read_text(), "NoNewPrivs") == "1"


def test_nothing_is_answered_before_the_doors_are_opened() -> None:
    with bench() as at, ScriptedUpstream() as upstream, UdpClient(at.server) as client:
        upstream.on("*.test.", answer("@ 60 IN A 192.0.2.1"))
        begin = at.begin([zone_for(upstream)])
        at.tell(begin)
        client.send(query("a.test."))
        at.tell(link.Flush(name_from_text("a.test"), False, 9))
        assert report(at) == link.Flushed(9, 0), "it is there, and does as it is told"
        assert client.receive(seconds=0.1) is None
        assert (upstream.received, at.counts[counters.HEARTBEAT]) == ([], 0)
        assert has_given_up(at.process.pid) == has_given_up("self"), "as it was started"
        at.tell(link.Open())
        serves = report(at)
        assert isinstance(serves, link.Serving)
        assert has_given_up(at.process.pid), "before anything of a stranger was read"
        response = client.receive()
        assert response is not None
        assert rdatas(response) == ["192.0.2.1"], "what waited is answered"


def test_its_heart_beats_from_when_it_serves() -> None:
    with serving() as (at, _):
        assert at.counts[counters.HEARTBEAT] >= 1, "before it says so: else it were taken for one that hangs"
        until(lambda: at.counts[counters.HEARTBEAT] >= 2)


@pytest.mark.parametrize("workers", [1, 3])
def test_it_answers_for_its_share_and_may_be_asked_for_others(workers: int) -> None:
    with bench() as at, ScriptedUpstream() as upstream:
        upstream.on("*.test.", answer("@ 60 IN A 192.0.2.1"))
        at.serve(msgspec.structs.replace(at.begin([zone_for(upstream)]), number=workers - 1, workers=workers))
        for name in NAMES * 2:
            assert rdatas(ask(at.server, query(name))) == ["192.0.2.1"]
        assert len([one for one in upstream.received if one.qtype == "A"]) == len(NAMES), "and remembers them all"


@pytest.mark.parametrize(("workers", "most"), [(1, 10), (2, 5), (3, 4), (16, 1)])
def test_the_questions_that_may_be_in_progress_are_divided(workers: int, most: int) -> None:
    """Rounded up: none is left without one."""
    sections = {"answering": config.AnsweringSettings(max_in_progress=10)}
    with bench() as at, ScriptedUpstream() as upstream, UdpClient(at.server) as client:
        upstream.default = silent
        at.serve(msgspec.structs.replace(at.begin([zone_for(upstream)], sections=sections), workers=workers))
        for name in NAMES:
            client.send(query(name))
        for _ in range(len(NAMES) - most):
            response = client.receive()
            assert response is not None
            assert response.rcode() == dns.rcode.SERVFAIL
        until(lambda: at.counts[counters.IN_PROGRESS] == most)


def snapshot_of(at: Bench, begin: link.Begin) -> link.Part:
    """What it writes when it is ordered to."""
    at.tell(link.Snapshot(3))
    written = report(at)
    assert isinstance(written, link.SnapshotWritten)
    assert (written.number, written.problem) == (3, "")
    return link.Part(begin.snapshot, written.size)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_wrote_its_successor_knows_when_it_opens(workers: int) -> None:
    """Of two, each knows what is its own; it asks again for nothing of that."""
    with serving() as (at, upstream):
        upstream.on("*.test.", answer("@ 300 IN A 192.0.2.1"))
        for name in NAMES:
            ask(at.server, query(name))
        begin = at.begin([zone_for(upstream)])
        part = snapshot_of(at, begin)
        at.tell(link.Drain())
        assert at.left() == 0
        successor = at.successor()
        successor.tell(msgspec.structs.replace(begin, workers=workers))
        successor.tell(link.Restore([part], 4))
        mine = [name for name in NAMES if not worker_for(key_of(name)[:-5], workers)]
        assert report(successor) == link.SnapshotRead(4, len(mine), "")
        successor.tell(link.Open())
        assert isinstance(report(successor), link.Serving)
        for name in mine:
            assert rdatas(ask(successor.server, query(name))) == ["192.0.2.1"]
            assert len(upstream.asked(name)) == 1
        assert len(mine) == len(NAMES) if workers == 1 else 0 < len(mine) < len(NAMES)


def test_a_snapshot_that_was_ordered_is_written_while_it_drains() -> None:
    with serving() as (at, upstream):
        upstream.on("*.test.", answer("@ 300 IN A 192.0.2.1"))
        for name in NAMES:
            ask(at.server, query(name))
        at.tell(link.Snapshot(3))
        at.tell(link.Drain(4))
        assert report(at) == link.Closed(4), "it takes nothing more"
        written = report(at)
        assert isinstance(written, link.SnapshotWritten)
        assert written.size > len(NAMES) * 40
        assert at.left() == 0
