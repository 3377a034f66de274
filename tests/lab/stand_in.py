"""A program in the place of the worker, which shows a test what it was given and does what the test says.

It answers any datagram with JSON: its process, what it knows, and what it was given to put back. Always holds: it speaks the
whole language of the link, and its heart beats.
"""

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.clients import HANG, Address

DIES, HANGS = 13, 14
"""Of `answering.max_in_progress`: a configuration with which it ends at once, and one with which it never comes to serve."""
DEADLY = "deadly"
"""A file of this name beside the control socket: it ends at once, status 4."""

SOURCE = f"""
import json, os, pathlib, select, socket, sys, time
from forwarder import config, link
from forwarder.observe import counters

supervisor = socket.socket(fileno=int(sys.argv[-1]))
begin = link.read_order(supervisor.recv(link.MAX_MESSAGE_SIZE))
told = config.from_json(begin.config)
slots = counters.mapped(begin.counters)
doors = [socket.socket(fileno=number) for number in begin.udp]
pinned, upstreams, patient, restored, authorities = begin.pinned, begin.upstreams, False, [], []
if told.answering.max_in_progress == {DIES}:
    os._exit(9)
if begin.estate and (pathlib.Path(begin.estate.control_path).parent / {DEADLY!r}).exists():
    os._exit(4)
for memory in begin.authorities.values():
    authorities.append(len(os.pread(memory, 1 << 24, 0)))

def tell(report):
    supervisor.send(link.written(report))

is_open = False
while True:
    slots[counters.HEARTBEAT] += 1
    for ready in select.select([supervisor, *(doors if is_open else ())], [], [], 0.2)[0]:
        if ready is supervisor:
            data = supervisor.recv(link.MAX_MESSAGE_SIZE)
            match link.read_order(data) if data else None:
                case link.Open() if told.answering.max_in_progress != {HANGS}:
                    is_open = True
                    tell(link.Serving(os.getpid()))
                case link.Pinned() as pinned:
                    pass
                case link.Upstreams() as upstreams:
                    for row in upstreams.row_numbers().values():
                        slots[counters.upstream_row(row) + counters.MISMATCHED_IN_ROW] += 1
                case link.Restore() as order:
                    restored += [os.pread(part.memory, part.size, 0).decode() for part in order.parts]
                    tell(link.SnapshotRead(order.number, len(order.parts), ""))
                case link.Snapshot() as order:
                    octets = b"of worker %d" % begin.number
                    os.pwrite(begin.snapshot, octets, 0)
                    tell(link.SnapshotWritten(order.number, len(octets), ""))
                case link.Flush() as order:
                    tell(link.Flushed(order.number, 1))
                case link.Drain() as order:
                    tell(link.Closed(order.number))
                    if not patient:
                        sys.exit(0)
                case None:
                    sys.exit(0)
        else:
            said, client = ready.recvfrom(512)
            slots[counters.COALESCED] += 1
            if said == b"die":
                os._exit(3)
            if said == b"hang":
                time.sleep(100)
            patient = patient or said == b"ignore drain"
            ready.sendto(json.dumps(dict(
                pid=os.getpid(), number=begin.number, workers=begin.workers, records=len(pinned.records), restored=restored,
                rows=upstreams.rows, deadline=told.answering.deadline, estate=begin.estate is not None, authorities=authorities,
            )).encode(), client)
"""
PROGRAM: Sequence[str] = (sys.executable, "-c", SOURCE)


@dataclass(frozen=True, slots=True)
class Told:
    """What it says of itself."""

    pid: int
    number: int
    """Which of the workers it is."""
    workers: int
    """How many there are."""
    records: int
    """Pinned ones."""
    restored: list[str]
    """What it was given to put back: `of worker 0`."""
    rows: list[str]
    """Whose each row for upstreams is."""
    deadline: float
    """`answering.deadline` of its configuration."""
    estate: bool
    """Whether it could hand over."""
    authorities: list[int]
    """Octets of each memory with certificates."""


def ask(server: Address, text: bytes = b"?") -> Told:
    """Whoever reads there: what it says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(HANG)
        client.connect(server)
        client.send(text)
        return Told(**json.loads(client.recv(65535)))


def tell(server: Address, text: bytes) -> None:
    """Something it does not answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(text, server)
