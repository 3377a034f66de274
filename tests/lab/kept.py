"""A worker that is kept by the real `workers.Worker`, and is a stand-in: it answers, counts, hangs and dies as it is told."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from forwarder import link, workers
from forwarder.observe import counters
from forwarder.observe.totals import Totals
from tests.lab import stand_in

STAND_IN = """
import os, select, socket, sys
from forwarder import link
from forwarder.observe import counters

supervisor = socket.socket(fileno=int(sys.argv[-1]))
begin = link.read_order(supervisor.recv(link.MAX_MESSAGE_SIZE))
slots = counters.mapped(begin.counters)
doors, pinned, patient, writing = [], begin.pinned, False, 0
while True:
    if doors:
        slots[counters.HEARTBEAT] += 1
    for ready in select.select([supervisor, *doors], [], [], 0.01)[0]:
        if ready is supervisor:
            data = supervisor.recv(link.MAX_MESSAGE_SIZE)
            order = link.read_order(data) if data else None
            if isinstance(order, link.Open):
                doors = [socket.socket(fileno=number) for number in begin.udp]
                slots[counters.HEARTBEAT] += 1
                supervisor.send(link.written(link.Serving(os.getpid())))
            elif isinstance(order, link.Pinned):
                pinned = order
            elif isinstance(order, link.Upstreams):
                for row in order.row_numbers().values():
                    slots[counters.upstream_row(row) + counters.MISMATCHED_IN_ROW] += 1
            elif isinstance(order, link.Flush):
                slots[counters.PREFETCHES] += 1
                supervisor.send(link.written(link.Flushed(order.number, len(order.name))))
            elif isinstance(order, link.Snapshot):
                writing = order.number
            elif not (patient and isinstance(order, link.Drain)):
                if writing and isinstance(order, link.Drain):
                    supervisor.send(link.written(link.SnapshotWritten(writing, 9, "")))
                sys.exit(0)
        else:
            said, client = ready.recvfrom(512)
            slots[counters.COALESCED] += 1
            if said == b"die":
                os._exit(3)
            patient = patient or said == b"ignore drain"
            ready.sendto(b"%d %d" % (os.getpid(), len(pinned.records)), client)
"""
"""A worker that opens its doors when told, and then answers any datagram with its pid and how many records are pinned, marks
the row of each upstream it is told of later, flushes as many entries as the name has octets (and counts it as a
prefetch), dies when told, and has a
snapshot ready when it leaves."""
PROGRAM = (sys.executable, "-c", STAND_IN)
SECONDS = 20
"""Until a test that waits for a worker gives up, on a machine that is busy otherwise."""


@dataclass
class Bench:
    """A worker with all it needs, and what is said of it."""

    worker: workers.Worker
    door: socket.socket
    totals: Totals
    said: list[str]
    said_once: list[str] = field(default_factory=list)
    served: int = 0
    gave_up: bool = False

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something the worker brings about."""
        async with asyncio.timeout(SECONDS):
            while not true():  # noqa: ASYNC110 - what changes is another process: there is nothing to await
                await asyncio.sleep(0.005)

    async def serving(self, times: int) -> None:
        await self.until(lambda: self.served == times)

    async def ask(self, text: bytes = b"?") -> tuple[int, int]:
        """The worker's pid and its number of pinned records."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(self.door.getsockname())
            client.send(text)
            async with asyncio.timeout(SECONDS):
                pid, records = (await asyncio.get_running_loop().sock_recv(client, 512)).split()
        return int(pid), int(records)

    def tell(self, text: bytes) -> None:
        """Something it does not answer."""
        stand_in.tell(self.door.getsockname(), text)

    def signal(self, number: int) -> int:
        """Send it to the process that runs; which one that is."""
        assert self.worker.pid is not None
        os.kill(self.worker.pid, number)
        return self.worker.pid

    def counted(self, slot: int) -> int:
        """Over this worker and those before it."""
        return self.totals.summed()[slot]

    def fill_link(self) -> None:
        """Tell it so much that no more goes into the link; for one that is stopped."""
        large = link.Pinned([link.PinnedRecords(name=b"\x01a\x00", qtype=16, ttl=30, rdatas=[bytes(100_000)])])
        assert False in [self.worker.tell(large) for _ in range(200)]
        while self.worker.tell(link.Pinned([])):
            pass


@contextlib.asynccontextmanager
async def bench(*program: str, is_opened: bool = True) -> AsyncIterator[Bench]:
    """With a program in place of the stand-in, where one is given."""
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind(("127.0.0.1", 0))
    made: list[Bench] = []
    said: list[str] = []
    said_once: list[str] = []
    totals = Totals(counters.private())

    def begin(worker: workers.Worker) -> link.Begin:
        pinned, upstreams = link.Pinned([]), link.Upstreams([])
        return link.Begin(b"{}", [door.fileno()], [], worker.counters, pinned, upstreams, snapshot=worker.memory)

    def on_serving(_: workers.Worker) -> None:
        made[0].served += 1

    def on_giving_up() -> None:
        made[0].gave_up = True

    surroundings = workers.Surroundings(
        program=program or PROGRAM,
        descriptors=lambda: (door.fileno(),),
        totals=totals,
        begin=begin,
        say=said.append,
        say_once=said_once.append,
        on_serving=on_serving,
        on_giving_up=on_giving_up,
        reopen=workers.Worker.open,
    )
    made.append(Bench(workers.Worker(0, surroundings), door, totals, said, said_once))
    made[0].worker.start()
    if is_opened:
        made[0].worker.open()
    try:
        yield made[0]
    finally:
        made[0].worker.drain()
        made[0].worker.kill()
        async with asyncio.timeout(SECONDS):
            await made[0].worker.gone.wait()
        door.close()


def run(test: Callable[[Bench], Awaitable[None]], *program: str, is_opened: bool = True) -> None:
    """One test with one worker, in a loop of its own."""

    async def inside() -> None:
        async with bench(*program, is_opened=is_opened) as with_worker:
            await test(with_worker)

    asyncio.run(inside())
