"""The usual stage of a scenario: one daemon, and behind it one upstream that plays what the scenario says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dns.message

from tests.lab.clients import Address, ask, ask_tcp, query
from tests.lab.daemon import Daemon
from tests.lab.scripted import ScriptedUpstream


@dataclass(frozen=True, slots=True)
class Stage:
    """Daemon and upstream, both running."""

    daemon: Daemon
    upstream: ScriptedUpstream

    @property
    def server(self) -> Address:
        """Where the daemon listens."""
        return self.daemon.server

    def ask(self, name: str, qtype: str = "A", *, payload: int | None = None) -> dns.message.Message:
        """One question to the daemon over UDP, RD=1; EDNS when a payload size is given."""
        return ask(self.server, query(name, qtype, payload=payload))

    def ask_tcp(self, name: str, qtype: str = "A", *, payload: int | None = None) -> dns.message.Message:
        """The same over TCP."""
        return ask_tcp(self.server, query(name, qtype, payload=payload))


@contextmanager
def staged(settings: str = "", *, zone: str = "", hosts: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[Stage]:
    """A stage of one's own. `settings`: more sections of the configuration; `zone`: more keys of its one zone."""
    with ScriptedUpstream() as upstream:
        keys = f"zone: ., upstreams: ['{upstream.address}']" + (f", {zone}" if zone else "")
        with Daemon(f"zones: [{{{keys}}}]\n{settings}", hosts=hosts) as daemon:
            yield Stage(daemon, upstream)
