"""Generations of stand-ins for the worker, in the test's own process: what they need around them, and what they said.

Always holds: no worker outlives the `with`, and the doors of a generation that was made here are closed.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from forwarder import config as settings
from forwarder import sockets, watching
from forwarder.config import Config, Hosts, Listen, Zone
from forwarder.generation import Around, Former, Generation, count_for
from forwarder.observe import counters
from forwarder.observe.totals import Totals
from tests.lab import stand_in
from tests.lab.clients import HANG, Address
from tests.lab.ports import free_port


def configured(workers: int = 1, **answering: float) -> Config:
    """A configuration with a port of its own and a pinned name; other settings under `answering`."""
    config = Config(
        zones=(Zone(zone=".", upstreams=("192.0.2.1:53",)),),
        listen=Listen(addresses=(f"127.0.0.1:{free_port()}",), workers=workers, receive_buffer=1 << 17),
        hosts=Hosts(records={"hello.test": ("192.0.2.7",)}),
    )
    return msgspec.structs.replace(config, answering=msgspec.structs.replace(config.answering, **answering))


def server_of(config: Config) -> Address:
    """Where it listens."""
    return settings.split_address(config.listen.addresses[0])


@dataclass
class Surroundings:
    """What generations share."""

    said: list[str] = field(default_factory=list)
    totals: Totals = field(default_factory=lambda: Totals(counters.private()))
    made: list[Generation] = field(default_factory=list)

    @property
    def around(self) -> Around:
        """The same, as they are given it."""
        return Around(stand_in.PROGRAM, self.totals, self.said.append, self.said.append, lambda _doors, _workers: None)

    def generation(self, config: Config, former: Former | None = None) -> Generation:
        """One that is not started, on doors of its own."""
        listen = config.listen
        doors = sockets.bind_doors(listen.addresses, listen.receive_buffer, count_for(listen))
        try:
            made = Generation(config, watching.read_files(config), doors, self.around, former or Former())
        except BaseException:
            doors.close()
            raise
        self.made.append(made)
        return made

    async def serving(self, config: Config) -> Generation:
        """One that serves."""
        made = self.generation(config)
        made.start()
        made.open()
        assert await made.serves(HANG)
        return made


@contextlib.asynccontextmanager
async def surroundings() -> AsyncIterator[Surroundings]:
    """And the end of all generations."""
    around = Surroundings()
    try:
        async with asyncio.timeout(4 * HANG):
            yield around
    finally:
        for made in around.made:
            made.kill()
        await until(lambda: not own_children())  # those of generations that never served, too
        for made in around.made:
            made.doors.close()


async def asked(config: Config, text: bytes = b"?") -> stand_in.Told:
    """What a stand-in says of itself, the loop turning meanwhile."""
    return await asyncio.to_thread(stand_in.ask, server_of(config), text)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""
    async with asyncio.timeout(HANG):
        while not true():  # noqa: ASYNC110 - what changes is another process: there is nothing to await
            await asyncio.sleep(0.01)


def own_children() -> str:
    """Process numbers of the workers that are not gone yet."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def open_descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names alone
