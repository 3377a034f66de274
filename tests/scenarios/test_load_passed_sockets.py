"""Stopped and started under 20,500 queries a second, with sockets that somebody else holds meanwhile, as systemd does.

What arrives while no instance runs waits in the socket for the next one.
"""

import time
from pathlib import Path

from tests.lab.instances import PassedSockets
from tests.lab.loaded import ensure_nothing_lost, loaded_stage

RESTARTS = 5
EVERY = 4.0
LEAD, TAIL = 1.0, 3.0
"""Seconds of load before the first restart and after the last."""
RECEIVE_BUFFER = "32MiB"
"""A busy machine may take two seconds to stop and start: 41,000 queries, of which each takes the kernel 768 octets."""


def test_restarts(tmp_path: Path) -> None:
    """Five times SIGTERM and a new start: exit status 0 each time, and every query is answered."""
    with loaded_stage(tmp_path) as stage:
        config = f"listen: {{receive_buffer: {RECEIVE_BUFFER}}}\n{stage.zones}"
        with PassedSockets(config, receive_buffer=32 << 20) as daemon:
            stage.warm(daemon.servers)
            with stage.load(daemon.servers, LEAD + RESTARTS * EVERY + TAIL) as client:
                begun = time.monotonic() + LEAD
                for number in range(RESTARTS):
                    time.sleep(max(begun + number * EVERY - time.monotonic(), 0.0))
                    assert daemon.stop_and_start() == 0, daemon.stderr
                record = client.record()
            assert daemon.metric("forwarder_receive_drops_total") == 0
    ensure_nothing_lost(record)
