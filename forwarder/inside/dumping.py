"""`forwarder dump`: asks for what the daemon remembers, and prints it.

Always holds: the daemon has given all of it before the first line is printed, and is held up by nobody who reads slowly; what
is asked for goes to stdout, how far it is to stderr, where that is a terminal and stdout is none.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from forwarder import link, terminal
from forwarder.control import asking, protocol
from forwarder.errors import ControlError, SnapshotError
from forwarder.inside import remembered, zone_text
from forwarder.inside.remembered import Entry, Memory

TOGETHER = 500
"""Lines printed at once, and entries between two words about how far it is."""
NICENESS = 10
"""Putting ten thousand answers into words takes seconds of a core, which nobody who asks for names should lack."""
ERASED = "\r\x1b[K"
"""Back to the start of the line, and clear it."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the daemon gave."""

    pinned: link.Pinned
    memories: Sequence[Memory]


def dump(paths: Sequence[str], suffix: bytes, release: str) -> bool:
    """Print what is remembered of names at or below the suffix; whether somebody read all of it. Raises ControlError."""
    os.nice(NICENESS)
    given = asked(paths)
    count = sum(memory.count for memory in given.memories)
    say = _say_how_far if sys.stderr.isatty() and not sys.stdout.isatty() else _say_nothing
    entries = (entry for memory in given.memories for entry in memory.entries())
    found = [entry for entry in _told(entries, count, "read", say) if entry.concerns(suffix)]
    found.sort(key=lambda entry: (zone_text.place_of(entry.name), entry.qtype))
    lines = (line for entry in _told(found, len(found), "written", say) for line in zone_text.lines_for(entry))
    title = zone_text.title(release, given.memories)
    return all(map(terminal.show, _together((title, *zone_text.pinned_lines(given.pinned, suffix)), lines)))


def asked(paths: Sequence[str]) -> Given:
    """What the daemon remembers. Raises ControlError."""
    with contextlib.ExitStack() as held:
        connection = held.enter_context(asking.connected(paths))
        dumped = asking.of_kind(protocol.Dumped, asking.answer_to(connection, protocol.Dump(protocol.VERSION)))
        sizes = (dumped.pinned, *dumped.snapshots)
        descriptors = asking.descriptors(connection, len(sizes))
        for descriptor in descriptors:
            held.callback(os.close, descriptor)
        names, *answers = (_whole(descriptor, size) for descriptor, size in zip(descriptors, sizes, strict=True))
    try:
        pinned = link.read_order(names)
        memories = [remembered.memory_in(octets) for octets in answers]
    except (SnapshotError, msgspec.DecodeError) as error:
        raise ControlError(f"what the daemon gave {error}: use the command that came with the daemon") from error
    if not isinstance(pinned, link.Pinned):
        raise ControlError("what the daemon gave holds no pinned names: use the command that came with the daemon")
    if not memories:
        raise ControlError("no worker is there to say what it remembers: see the daemon's log")
    return Given(pinned, memories)


def _whole(descriptor: int, size: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read(size)


def _together(first: Sequence[str], lines: Iterator[str]) -> Iterator[str]:
    """Some hundred lines at a time."""
    yield "\n".join(first)
    while some := list(islice(lines, TOGETHER)):
        yield "\n".join(some)


def _told(entries: Iterable[Entry], count: int, done: str, say: Callable[[str], None]) -> Iterator[Entry]:
    """The entries, and how many of them there were so far."""
    for number, entry in enumerate(entries):
        if number % TOGETHER == 0:
            say(f"{number:,} of {count:,} answers {done}")
        yield entry
    say("")


def _say_how_far(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(ERASED + text)
        sys.stderr.flush()


def _say_nothing(text: str) -> None:
    """Nobody looks."""
