"""One configuration and the workers that serve by it, from their start until the last of them has left.

A reload and a handover begin a generation on the sockets of the former, which leaves when this one serves. Always holds: all
workers of a generation know the same configuration, pinned names and upstreams; a worker that dies has a successor within it;
what a generation holds is given back when nobody refers to it any more.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forwarder import config as settings
from forwarder import following, link, snapshot_file, watching, workers
from forwarder.errors import ConfigError, Problem
from forwarder.levels import Notice
from forwarder.observe.totals import Totals
from forwarder.sockets import Doors

REOPEN_SECONDS = 0.1
"""What a disk gets for the snapshot before a worker that takes another's place answers: to come about takes it longer."""
RESTORE_SECONDS = 5.0
"""What a generation gets to take over the answers of the former, which serves meanwhile: 64 MiB take one."""


@dataclass(frozen=True, slots=True)
class Around:
    """What all generations of a daemon share."""

    program: Sequence[str]
    """The command line of a worker, less the number of the link."""
    totals: Totals
    say: Callable[[str], None]
    """Takes one line about a change of state."""
    say_once: Callable[[str], None]
    """The same, for what is true of many workers."""
    estate: Callable[[Doors, int], link.Estate | None]
    """What one of so many workers behind these doors can hand over when the supervisor was killed."""
    notes: int = -1
    """Descriptor to which workers write what they note of single queries; -1 where nobody hears it."""


class Generation:
    """The workers of one configuration; lives in a running asyncio loop."""

    def __init__(self, config: settings.Config, files: watching.Files, doors: Doors, around: Around, former: "Former") -> None:
        """Raises ConfigError when more names are pinned than the way to a worker takes."""
        self.config = config
        self.doors = doors
        self.settled = asyncio.Event()
        """Set when every worker has served, or none will."""
        self.has_given_up = False
        self.closed = asyncio.Event()
        """Set when no worker takes anything new any more."""
        self._reopening: set[asyncio.Task[None]] = set()
        self._around = around
        self._authorities = {ca_file: Memory(content) for ca_file, content in files.authorities.items()}
        self._count = count_for(config.listen)
        self._link_capacity = workers.link_capacity()
        self._former_memories = tuple(former.memories)
        self.following = following.Following(config, files, self._ensure_link_holds, around.say, former.rows)
        self._ensure_link_holds(self.following.pinned, self.following.upstreams)
        surroundings = workers.Surroundings(
            program=around.program,
            descriptors=self._descriptors,
            totals=around.totals,
            begin=self._begin,
            say=around.say,
            say_once=around.say_once,
            on_serving=self._tell_serving,
            on_giving_up=self._give_up,
            reopen=self._reopen,
        )
        self.workers = tuple(workers.Worker(number, surroundings) for number in range(self._count))
        cache = config.cache
        file = None if cache.snapshot is None else snapshot_file.File(cache.snapshot, cache.memory * self._count)
        self.snapshots = snapshot_file.Snapshots(file, self.workers, around.say, is_outdated=former.may_have_flushed)

    def start(self) -> None:
        """Start the workers; they build what they need, and wait."""
        for worker in self.workers:
            worker.start()

    async def restore(self, parts: Sequence[link.Part]) -> None:
        """Have the workers put back the answers of the former generation before they open, within RESTORE_SECONDS."""
        with contextlib.suppress(TimeoutError):  # the rest is put back beside the answering
            async with asyncio.timeout(RESTORE_SECONDS):
                await asyncio.gather(*(worker.ask(link.Restore(list(parts))) for worker in self.workers))
        self._former_memories = ()

    def open(self) -> None:
        """Let the workers answer."""
        for worker in self.workers:
            worker.open()

    def steer(self) -> None:
        """Divide the names among these workers, which read their sockets or are the first to."""
        for complaint in self.doors.steer(self._count):
            self._around.say_once(complaint)

    async def serves(self, seconds: float) -> bool:
        """Whether all workers come to serve within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.settled.wait()
        except TimeoutError:
            return False
        return not self.has_given_up

    def tell(self, order: link.Order) -> bool:
        """Tell all workers; False when one is behind, and all want to be told again."""
        told = [worker.tell(order) for worker in self.workers]
        return all(told)

    async def drain(self, seconds: float) -> None:
        """Let the workers answer what is in progress and leave; kill those that have not, after so many seconds."""
        until = asyncio.get_running_loop().time() + seconds
        await asyncio.wait([worker.drain() for worker in self.workers], timeout=seconds)
        self.closed.set()
        gone = [asyncio.create_task(worker.gone.wait()) for worker in self.workers]
        await asyncio.wait(gone, timeout=until - asyncio.get_running_loop().time())
        for worker in self.workers:
            if not worker.gone.is_set():
                self._around.say(f"worker {worker.number} did not end within {seconds} s: killed")
                worker.kill()
        await asyncio.wait(gone)

    def kill(self) -> None:
        """End all workers at once; whoever waits for them to serve waits no longer."""
        for worker in self.workers:
            worker.kill()
        self._give_up()

    @property
    def memories(self) -> list[int]:
        """Descriptors of the memory into which each worker writes its answers."""
        return [worker.memory for worker in self.workers]

    def _begin(self, worker: workers.Worker) -> link.Begin:
        return self._message(self.following.pinned, self.following.upstreams, worker)

    def _message(self, pinned: link.Pinned, upstreams: link.Upstreams, worker: workers.Worker | None = None) -> link.Begin:
        number = 0 if worker is None else worker.number
        return link.Begin(
            config=settings.to_json(self.config),
            udp=self.doors.udp_for(number, self._count),
            tcp=[door.fileno() for door in self.doors.tcp],
            counters=-1 if worker is None else worker.counters,
            pinned=pinned,
            upstreams=upstreams,
            authorities={ca_file: memory.descriptor for ca_file, memory in self._authorities.items()},
            snapshot=-1 if worker is None else worker.memory,
            number=number,
            workers=self._count,
            notes=self._around.notes,
            estate=self._around.estate(self.doors, self._count),
        )

    def _descriptors(self) -> Sequence[int]:
        """What each worker inherits."""
        estate = self._around.estate(self.doors, self._count)
        return (
            *self.doors.descriptors,
            *(() if self._around.notes < 0 else (self._around.notes,)),
            *(memory.descriptor for memory in self._authorities.values()),
            *self._former_memories,
            *self.snapshots.descriptors,
            *(() if estate is None else estate.descriptors),
        )

    def _ensure_link_holds(self, pinned: link.Pinned, upstreams: link.Upstreams) -> None:
        """Refuse what no worker could be told, rather than start workers in vain."""
        size = len(link.written(self._message(pinned, upstreams)))
        if size > self._link_capacity:
            sentence = (
                f"{len(pinned.records)} pinned records take {size} octets, {self._link_capacity} at most: "
                "pin fewer names, or raise net.core.wmem_max (up to 4194304)"
            )
            raise ConfigError((Problem("hosts", sentence),))

    def _reopen(self, worker: workers.Worker) -> None:
        """It takes another's place: have it put back what the file holds, then let it answer."""
        task = asyncio.create_task(self._restore_and_open(worker, worker.pid))
        self._reopening.add(task)
        task.add_done_callback(self._reopening.discard)

    async def _restore_and_open(self, worker: workers.Worker, pid: int | None) -> None:
        told = self.snapshots.reload(worker)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REOPEN_SECONDS):
                await told.wait()
        if worker.pid == pid:
            worker.open()

    def _tell_serving(self, worker: workers.Worker) -> None:
        if worker.restarts:
            self._around.say(Notice(f"worker {worker.number} (pid {worker.pid}) serving"))
        if all(each.ever_served for each in self.workers):
            self.settled.set()

    def _give_up(self) -> None:
        self.has_given_up = True
        self.settled.set()


@dataclass(frozen=True, slots=True)
class Former:
    """What a generation learns of the one before."""

    memories: Sequence[int] = ()
    """Descriptors of the memories with its answers, until `restore`."""
    rows: Sequence[str] = ()
    """Whose each row for upstreams in the counters is."""
    may_have_flushed: bool = False
    """What the snapshot's file holds."""


class Memory:
    """A memory file with this content, as long as somebody refers to it."""

    def __init__(self, content: bytes) -> None:
        self.descriptor = snapshot_file.memory_with(content, "forwarder-authorities").memory

    def __del__(self) -> None:
        os.close(self.descriptor)


def count_for(listen: settings.Listen) -> int:
    """How many workers there are to be."""
    return len(os.sched_getaffinity(0)) if listen.workers == "auto" else listen.workers
