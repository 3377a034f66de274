"""A worker that is told to forget: beside the answering, and reported when the next query cannot see the old any more."""

import asyncio
import os
import time

import pytest

from forwarder import config, link
from forwarder.observe import counters
from forwarder.wire.names import ROOT, name_from_text
from forwarder.worker import Worker
from tests.lab.behaviours import answer, late
from tests.lab.clients import UdpClient, ask, ask_tcp, query, rdatas
from tests.test_cache_snapshot import NOW
from tests.test_snapshotting import MANY, ORDER, Half, known_again, play
from tests.test_worker import Bench, serving

OLD = answer("@ 300 IN A 192.0.2.1")
NEW = answer("@ 300 IN A 192.0.2.2")


def flushed(at: Bench, name: str, *, below: bool = False) -> int:
    """Tell it, and wait for the report; how many entries went."""
    at.tell(link.Flush(name_from_text(name), below, 5))
    report = link.read_report(at.ours.recv(link.MAX_MESSAGE_SIZE))
    assert isinstance(report, link.Flushed)
    assert report.number == 5
    return report.entries


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_next_query_has_what_is_true_now(transport: str) -> None:
    with serving(transport) as (at, upstream):
        upstream.on("*.test.", OLD)
        for asking in (ask, ask, ask, ask_tcp):
            assert rdatas(asking(at.server, query("a.test."))) == ["192.0.2.1"]
        upstream.on("*.test.", NEW)
        assert flushed(at, "a.test") == 1
        for asking in (ask, ask_tcp):
            assert rdatas(asking(at.server, query("a.test."))) == ["192.0.2.2"]


def test_what_was_asked_before_is_told_to_who_asked_and_to_nobody_after() -> None:
    with serving() as (at, upstream):
        upstream.on("a.test.", late(0.3, OLD))
        with UdpClient(at.server) as client:
            client.send(query("a.test."))
            while not upstream.asked("a.test."):
                time.sleep(0.001)
            upstream.on("a.test.", NEW)
            assert flushed(at, "a.test") == 1
            assert rdatas(ask(at.server, query("a.test."))) == ["192.0.2.2"]
            told = client.receive()
            assert told is not None
            assert rdatas(told) == ["192.0.2.1"]


def test_what_is_being_put_back_from_a_snapshot_is_forgotten_too() -> None:
    """The flush comes when a slice was read: it waits for the others."""

    async def scene(memory: int) -> None:
        size = await Half(memory, MANY).write()
        descriptor = os.memfd_create("counters")
        os.ftruncate(descriptor, counters.SIZE * 8)
        settings = config.to_json(config.Config(zones=(config.Zone(zone=".", upstreams=()),)))
        begin = link.Begin(
            settings, [], [], descriptor, link.Pinned([]), link.Upstreams([link.ZoneUpstreams(".", [])]), snapshot=memory
        )
        worker = Worker(asyncio.get_running_loop(), begin, lambda: NOW)
        half = Half(memory)
        worker.snapshots.read(link.Restore([link.Part(memory, size)], ORDER), 0.0, half.link)
        worker.flush(link.Flush(ROOT, True, 1), half.link)
        assert await half.report() == known_again(MANY)
        assert await half.report() == link.Flushed(1, MANY)
        os.close(descriptor)

    play(scene)
