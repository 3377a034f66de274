"""A worker as those see it who ask it for answers: it reports when the test says so."""

import asyncio
import os

from forwarder import link


class AskedWorker:
    """What it was asked and has not reported on, in order; to be used in a running loop."""

    def __init__(self) -> None:
        self.memory = os.memfd_create("snapshot")
        self.is_there = True
        """Else nobody hears what is asked."""
        self._asked: list[tuple[link.Numbered, asyncio.Future[link.Done | None]]] = []

    def __del__(self) -> None:
        os.close(self.memory)

    def ask(self, order: link.Numbered) -> asyncio.Future[link.Done | None]:
        """To be reported on."""
        done: asyncio.Future[link.Done | None] = asyncio.get_running_loop().create_future()
        if self.is_there:
            self._asked.append((order, done))
        else:
            done.set_result(None)
        return done

    @property
    def orders(self) -> list[link.Numbered]:
        """What it has to do."""
        return [order for order, _ in self._asked]

    def report(self, report: link.Done) -> None:
        """It has done the first of them."""
        _, done = self._asked.pop(0)
        if not done.done():
            done.set_result(report)

    def write(self, octets: bytes) -> None:
        """It does as ordered: this is its snapshot."""
        assert isinstance(self.orders[0], link.Snapshot)
        os.pwrite(self.memory, octets, 0)
        self.report(link.SnapshotWritten(0, len(octets), ""))

    def read(self, answers: int = 0, problem: str = "") -> None:
        """It does as ordered: so many are known again."""
        assert isinstance(self.orders[0], link.Restore)
        self.report(link.SnapshotRead(0, answers, problem))

    def die(self) -> None:
        """It is no more, and a successor is there at once."""
        asked, self._asked = self._asked, []
        for _, done in asked:
            if not done.done():
                done.set_result(None)
