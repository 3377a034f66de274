"""`python -m benchmarks.prober DAEMON_PORT CONTROL_PORT SECONDS`: one query a millisecond to each of two servers.

Always holds: queries go out on a fixed schedule whether the ones before were answered or not, and latency counts from the
moment the schedule named, so that a pause shows in full. Both servers are asked in the same breath: where this process
itself was held up, both are late.
"""

import contextlib
import gc
import json
import os
import select
import socket
import sys
import time
from collections.abc import Sequence

from benchmarks import load, questions

PERIOD = 0.001
"""Seconds between two queries to the same server."""
SLOW_SECONDS = 0.005
"""Answers later than this are listed one by one."""
LAST_ANSWERS_SECONDS = 2.0
IDENTS = 1 << 16
ID_SIZE = 2
ANSWER_SIZE = 4096


class Target:
    """One server: what was asked when, and how long each answer took."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)  # noqa: FBT003 - the signature is socket's
        self.question = questions.query(questions.PROBE_NAME, 0)[ID_SIZE:]
        self.asked: dict[int, float] = {}
        """ID -> the moment at which its query was due."""
        self.answers: list[tuple[float, float]] = []
        """(due, latency), seconds."""
        self.lost = 0

    def ask(self, number: int, due: float) -> None:
        """Send the query of this moment."""
        ident = number % IDENTS
        self.lost += self.asked.pop(ident, None) is not None
        self.asked[ident] = due
        with contextlib.suppress(OSError):
            self.socket.send(ident.to_bytes(ID_SIZE) + self.question)

    def take_answers(self) -> None:
        """Note all answers that have arrived."""
        with contextlib.suppress(OSError):
            while True:
                answer = self.socket.recv(ANSWER_SIZE)
                due = self.asked.pop(int.from_bytes(answer[:ID_SIZE]), None)
                if due is not None:
                    self.answers.append((due, time.monotonic() - due))

    def summary(self) -> dict[str, object]:
        """Everything a reader needs, as JSON types."""
        latencies = tuple(sorted(latency for _, latency in self.answers))
        return {
            "answers": len(latencies),
            "lost": self.lost + len(self.asked),
            "p50": load.percentile(latencies, 0.5),
            "p99": load.percentile(latencies, 0.99),
            "p999": load.percentile(latencies, 0.999),
            "largest": latencies[-1],
            "slow": [pair for pair in self.answers if pair[1] > SLOW_SECONDS],
        }


def probe(targets: Sequence[Target], seconds: float) -> None:
    """Ask all targets on schedule for so long, then wait a little for the last answers."""
    sockets = [target.socket for target in targets]
    begun = time.monotonic()
    number = 0
    queries = round(seconds / PERIOD)
    ends = begun + seconds + LAST_ANSWERS_SECONDS
    while number < queries or (any(target.asked for target in targets) and time.monotonic() < ends):
        due = begun + number * PERIOD if number < queries else ends
        wait = due - time.monotonic()
        if wait <= 0 and number < queries:
            for target in targets:
                target.ask(number, due)
            number += 1
        ready = select.select(sockets, [], [], max(wait, 0.0))[0]
        for target in targets:
            if target.socket in ready:
                target.take_answers()


def main() -> None:
    """Probe and print one line of JSON: a summary for the daemon, one for the control."""
    daemon, control = Target(int(sys.argv[1])), Target(int(sys.argv[2]))
    gc.disable()
    with contextlib.suppress(PermissionError):
        # Ahead of the load that shares its core; it sleeps nearly all the time.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    probe((daemon, control), float(sys.argv[3]))
    sys.stdout.write(json.dumps({"daemon": daemon.summary(), "control": control.summary()}) + "\n")


if __name__ == "__main__":
    main()
