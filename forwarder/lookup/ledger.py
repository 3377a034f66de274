"""What was sent, what came, what was waited for in vain: a lookup written down as it happens.

Pure: it is told each action and each event. Always holds: entries stand in the order in which they began, and every exchange
ends in one of the ways of `End` when the lookup does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from forwarder.lookup.questions import Query
from forwarder.lookup.responses import Content, Response, content_of, response_in
from forwarder.lookup.steps import Action, Arrived, Break, Broken, Close, Event, GiveUp, Kind, Link, Note, Send

LEAST_WAIT = 0.001
"""Seconds: a shorter wait in vain is the end of one that was told already."""


class End(Enum):
    """How an exchange ended."""

    PENDING = auto()
    ANSWERED = auto()
    SILENT = auto()
    """The libc gave up on it."""
    BROKEN = auto()
    """The server, or the way to it, refused."""
    UNUSED = auto()
    """Another response was enough."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One query and what came of it."""

    query: Query
    link: Link
    begun: float
    """Seconds of the clock that events carry, as all times here."""
    ended: float | None = None
    end: End = End.PENDING
    response: Response | None = None
    content: Content | None = None
    why: Break | None = None

    @property
    def transport(self) -> str:
        """`udp` or `tcp`."""
        return "tcp" if self.link.kind is Kind.STREAM else "udp"

    @property
    def seconds(self) -> float:
        """How long it took; 0 while it is pending."""
        return 0.0 if self.ended is None else self.ended - self.begun


@dataclass(slots=True, eq=False)
class Wait:
    """A time in which a libc waited, and nothing that counts came."""

    queries: tuple[Query, ...]
    """Those that had no answer that counts."""
    servers: tuple[str, ...]
    begun: float
    ended: float
    then: str
    """What the libc did next."""

    @property
    def seconds(self) -> float:
        """How long."""
        return self.ended - self.begun


@dataclass(slots=True, eq=False)
class Remark:
    """What the libc made of it."""

    at: float
    text: str


Entry = Exchange | Wait | Remark


@dataclass(slots=True)
class Ledger:
    """The lookup so far. `tell` is called with each entry that will not change any more."""

    tell: Callable[[Entry], None] = lambda _: None
    entries: list[Entry] = field(default_factory=list)

    @property
    def exchanges(self) -> list[Exchange]:
        """The queries, in the order in which they left."""
        return [entry for entry in self.entries if isinstance(entry, Exchange)]

    @property
    def waits(self) -> list[Wait]:
        """The waits in vain."""
        return [entry for entry in self.entries if isinstance(entry, Wait)]

    def did(self, action: Action, now: float) -> None:
        """An action was done."""
        if isinstance(action, Send):
            self.entries += [Exchange(query, action.link, now) for query in action.queries]
        elif isinstance(action, Close):
            self._end_all([one for one in self._pending() if one.link.label == action.link.label], now)
        elif isinstance(action, GiveUp):
            self._end_all([one for one in self._pending() if one.query in action.queries], now)
            if now - action.since >= LEAST_WAIT:
                self._add(Wait(action.queries, action.servers, action.since, now, action.then))
        elif isinstance(action, Note):
            self._add(Remark(now, action.text))

    def saw(self, event: Event) -> None:
        """An event came."""
        if isinstance(event, Arrived):
            self._arrived(event)
        elif isinstance(event, Broken):
            for one in self._pending():
                if one.link == event.link:
                    self._end(one, End.BROKEN, event.now, why=event.why)

    def finish(self, now: float) -> None:
        """The lookup is over."""
        self._end_all(self._pending(), now)

    def _arrived(self, event: Arrived) -> None:
        response = response_in(event.message)
        asked = [one for one in self._pending() if one.link == event.link]
        found = [one for one in asked if response is not None and one.query.identity == response.identity]
        if response is None or not found:
            self._add(Remark(event.now, f"{event.link.server} sent what answers nothing that waits for an answer"))
            return
        one = found[-1]
        one.response, one.content = response, content_of(response, one.query)
        self._end(one, End.ANSWERED, event.now)

    def _pending(self) -> list[Exchange]:
        return [one for one in self.exchanges if one.end is End.PENDING]

    def _end_all(self, exchanges: list[Exchange], now: float) -> None:
        """The libc looks at these no more."""
        answered = {one.query for one in self.exchanges if one.end is End.ANSWERED}
        for one in exchanges:
            self._end(one, End.UNUSED if one.query in answered else End.SILENT, now)

    def _end(self, one: Exchange, end: End, now: float, *, why: Break | None = None) -> None:
        one.end, one.ended, one.why = end, now, why
        self.tell(one)

    def _add(self, entry: Wait | Remark) -> None:
        self.entries.append(entry)
        self.tell(entry)
