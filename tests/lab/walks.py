"""A lookup played without sockets and without waiting: nameservers as a function, a clock that jumps to what comes next.

It judges nothing. Always holds: what was scripted to come at one time comes in the order in which it was asked for.
"""

from collections.abc import Callable, Sequence
from itertools import count

import dns.message
import dns.rcode
import dns.rrset

from forwarder.lookup.ledger import Ledger
from forwarder.lookup.looking import walk
from forwarder.lookup.questions import Query, wanted_for
from forwarder.lookup.result import Result
from forwarder.lookup.settings import Libc, settings_for
from forwarder.lookup.steps import Action, Arrived, Await, Break, Broken, Close, Done, Event, Kind, Link, Send, TimeOut

Said = bytes | Break | None
"""A message, the end of the link, or silence."""
Script = Callable[[Link, Query], Said | tuple[float, Said]]
"""What a nameserver does about a query; with seconds in front, later than at once."""
AT_ONCE = 0.001
"""Seconds from a query to its answer where the script says nothing else."""


def says(query: Query, rcode: str = "NOERROR", *records: str, flags: str = "QR RD RA") -> bytes:
    """A response. Records are lines of a zone file; `@` is the name asked for."""
    asked = dns.message.from_wire(query.message)
    response = dns.message.make_response(asked)
    response.flags = dns.flags.from_text(flags)
    response.set_rcode(dns.rcode.from_text(rcode))
    for line in records:
        owner, ttl, rclass, rtype, data = line.replace("@", asked.question[0].name.to_text()).split(None, 4)
        response.answer.append(dns.rrset.from_text(owner, int(ttl), rclass, rtype, data))
    return response.to_wire(max_size=65535)


def address_of(query: Query) -> bytes:
    """An address of the type asked for."""
    return says(query, "NOERROR", "@ 60 IN A 192.0.2.1" if query.qtype == 1 else "@ 60 IN AAAA 2001:db8::1")


class Played:
    """Does actions in a world where only what the script says happens."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.now = 0.0
        self.sent: list[tuple[str, Kind, str]] = []
        """Server, kind of link, `A host.a.test.`."""
        self.ports: list[str] = []
        """The link of each query: queries from one port share it."""
        self._coming: list[tuple[float, int, Link, bytes | Break]] = []
        self._order = count()

    def do(self, action: Action) -> Event:
        """The event that an action ends with."""
        if isinstance(action, Await):
            return self._await(action)
        if isinstance(action, Send):
            for query in action.queries:
                self.sent.append((action.link.server, action.link.kind, query.shown))
                self.ports.append(action.link.label)
                said = self._script(action.link, query)
                seconds, what = said if isinstance(said, tuple) else (AT_ONCE, said)
                if what is not None:
                    self._coming.append((self.now + seconds, next(self._order), action.link, what))
        elif isinstance(action, Close):
            self._coming = [one for one in self._coming if one[2].label != action.link.label]
        return Done(self.now)

    def _await(self, action: Await) -> Event:
        labels = {link.label for link in action.links}
        due = sorted(
            (one for one in self._coming if one[2].label in labels and one[0] <= action.until), key=lambda one: one[:2]
        )
        if not due:
            self.now = max(self.now, action.until)
            return TimeOut(self.now)
        at, _, link, what = due[0]
        self._coming.remove(due[0])
        self.now = max(self.now, at)
        return Broken(self.now, link, what) if isinstance(what, Break) else Arrived(self.now, link, what)

    @property
    def asked(self) -> list[str]:
        """`A host.a.test.`, in order, whoever was asked."""
        return [shown for _, _, shown in self.sent]


def played(libc: str, name: str, conf: str, script: Script, qtype: str | None = None) -> tuple[Result, Played]:
    """The lookup of this name by this resolv.conf."""
    result = Result(wanted_for(name, qtype), settings_for(conf, Libc(libc)), Ledger())
    world = Played(script)
    identities = count(1)
    walk(result, world, lambda: next(identities))
    result.ended = world.now
    result.ledger.finish(world.now)
    return result, world


def by_name(answers: dict[str, Callable[[Query], Said]], otherwise: str = "NXDOMAIN") -> Script:
    """`A host.a.test.` or `host.a.test.` -> what is said to it."""

    def script(link: Link, query: Query) -> Said:
        del link
        chosen = answers.get(query.shown) or answers.get(query.shown.split()[1])
        return chosen(query) if chosen is not None else says(query, otherwise)

    return script


def pairs(names: Sequence[str]) -> list[str]:
    """A and AAAA of each."""
    return [f"{qtype} {name}" for name in names for qtype in ("A", "AAAA")]
