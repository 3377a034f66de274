"""What a daemon shows of itself, for the screens: a healthy one, and one in which everything is hostile that can be."""

import msgspec

from forwarder.observe import counters
from forwarder.observe.overview import Asked, Conntrack, Moment, Names, pace
from tests.lab.figures import Daemon, SeenWorker

HOSTILE = "\x1b[2J\x1b]0;owned\x07 [red]markup[/red]\r\n\u202eback \x9b31m"
"""What clears a terminal, names its window, draws in red, turns around, and begins a new line."""


def moment(*, seconds: float = 1.0, more: int = 0, **changes: object) -> Moment:
    """A daemon that has answered for a second; `more`: queries on top; `changes` are fields of the overview."""
    daemon = Daemon(upstreams={"192.0.2.1:53": True, "192.0.2.2:53": True, "192.0.2.9:53": False})
    daemon.names = Names(
        1000,
        [Asked("www.example.", 0.5), Asked("api.example.", 0.25)],
        [Asked("broken.example.", 1.0)],
        [Asked("no.example.", 1.0)],
    )
    daemon.conntrack = Conntrack(500, 1000, 0, 0)
    daemon.slots[counters.upstream_row(1) + counters.UP_IN_ROW] = 0
    daemon.answered(counters.EXACT, 1_000_000)
    before = daemon.overview()
    daemon.answered(counters.EXACT, 900 + more)
    daemon.answered(counters.UPSTREAM, 100, microseconds=4000)
    daemon.asked(100, failures=10)
    now = msgspec.structs.replace(daemon.overview(seconds), **changes)
    return Moment(now, pace(before, now))


def hostile() -> Moment:
    """One in which every text is hostile."""
    daemon = Daemon(upstreams={HOSTILE: True}, workers=(SeenWorker(state=HOSTILE, serving=False, last_end=HOSTILE),))
    names = [Asked(HOSTILE, 0.5)]
    daemon.names = Names(1, names, names, names)
    before = daemon.overview()
    now = msgspec.structs.replace(daemon.overview(1.0), warnings=[HOSTILE] * 3, release=HOSTILE)
    return Moment(now, pace(before, now))
