"""What a worker is asked for: reported once, to who asked, and never waited for when the worker that was asked is gone."""

import asyncio
import signal

from forwarder import link
from forwarder.observe import counters
from tests.lab.kept import SECONDS, Bench, run

FLUSH = link.Flush(b"\1a\4test\0", False)
"""The stand-in reports eight entries, an octet each."""
WRITE = link.Snapshot()
"""It reports when it leaves."""


async def reported(asked: "asyncio.Future[link.Done | None]") -> link.Done | None:
    async with asyncio.timeout(SECONDS):
        return await asked


def test_each_report_comes_to_who_asked_for_it() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        late = one.worker.ask(WRITE)
        longer = one.worker.ask(link.Flush(b"\2bb\4test\0", True))
        flushed = one.worker.ask(FLUSH)
        assert await reported(flushed) == link.Flushed(3, 8)
        assert await reported(longer) == link.Flushed(2, 9)
        assert not late.done()
        one.worker.drain()
        assert await reported(late) == link.SnapshotWritten(1, 9, "")

    run(test)


def test_one_that_is_not_opened_yet_is_asked_too() -> None:
    """The answers of the generation before are put back by then."""

    async def test(one: Bench) -> None:
        assert await reported(one.worker.ask(FLUSH)) == link.Flushed(1, 8)
        assert one.served == 0

    run(test, is_opened=False)


def test_who_asked_a_worker_that_dies_is_told_so() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        asked = [one.worker.ask(WRITE) for _ in range(3)]
        one.tell(b"die")
        assert [await reported(each) for each in asked] == [None, None, None]
        await one.serving(2)
        assert isinstance(await reported(one.worker.ask(FLUSH)), link.Flushed), "the successor is asked anew"

    run(test)


def test_of_a_worker_that_is_not_there_nothing_comes() -> None:
    async def test(one: Bench) -> None:
        one.worker.kill()
        await one.worker.gone.wait()
        assert one.worker.ask(FLUSH).result() is None

    run(test)


def test_it_is_asked_again_and_again_while_it_does_not_read() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        one.signal(signal.SIGSTOP)
        one.fill_link()
        asked = [one.worker.ask(FLUSH) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in asked)
        one.signal(signal.SIGCONT)
        assert [await reported(each) for each in asked] == [link.Flushed(1, 8), link.Flushed(2, 8)]
        assert one.said == []

    run(test)


def test_what_a_dead_worker_did_not_read_is_not_asked_of_its_successor() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        one.signal(signal.SIGSTOP)
        one.fill_link()
        asked = one.worker.ask(link.Flush(b"\2bb\4test\0", True))
        one.signal(signal.SIGKILL)
        assert await reported(asked) is None
        await one.serving(2)
        await asyncio.sleep(0.2)  # what is asked again is asked by then
        assert await reported(one.worker.ask(FLUSH)) == link.Flushed(2, 8)
        assert one.counted(counters.PREFETCHES) == 1

    run(test)


def test_who_waits_no_more_is_in_nobodys_way() -> None:
    async def test(one: Bench) -> None:
        await one.serving(1)
        one.signal(signal.SIGSTOP)
        given_up = one.worker.ask(FLUSH)
        given_up.cancel()
        one.signal(signal.SIGCONT)
        assert await reported(one.worker.ask(FLUSH)) == link.Flushed(2, 8)
        one.worker.ask(WRITE).cancel()
        one.worker.drain()
        async with asyncio.timeout(SECONDS):
            await one.worker.gone.wait()

    run(test)
