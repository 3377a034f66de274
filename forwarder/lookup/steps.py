"""The words between what decides and what sends: a resolver yields actions, one at a time, and is handed what came of each.

Pure. Always holds: an event carries the time at which it happened, so that a resolver never asks for it. A link is a socket;
the resolver names it, and one that was closed and is used again is a new socket with a new port.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from forwarder.lookup.questions import Query


class Kind(Enum):
    """What sort of socket a link is."""

    CONNECTED = auto()
    """UDP to one server: the kernel says when nobody listens there."""
    FREE = auto()
    """UDP to any server: the kernel says nothing."""
    STREAM = auto()
    """TCP, dialled when first used."""


@dataclass(frozen=True, slots=True)
class Link:
    """A socket, and the server at its other end."""

    label: str
    kind: Kind
    server: str
    """`ADDRESS:PORT`; links of kind FREE with one label share a socket."""


@dataclass(frozen=True, slots=True)
class Send:
    """These queries leave now, together."""

    link: Link
    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Await:
    """The next event on one of these links, or TimeOut."""

    links: tuple[Link, ...]
    until: float
    """Seconds of the clock that events carry."""
    queries: tuple[Query, ...]
    """What the libc wants answered, for people who watch."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """These queries got no answer that counts since `since`; the libc goes on to something else."""

    queries: tuple[Query, ...]
    since: float
    servers: tuple[str, ...]
    then: str
    """What it does next, a clause: `asks the next nameserver`."""


@dataclass(frozen=True, slots=True)
class Close:
    """The socket is closed; what was still to come on it is lost."""

    link: Link


@dataclass(frozen=True, slots=True)
class Note:
    """What the libc makes of what happened, where that is not plain: a sentence without its full stop."""

    text: str


Action = Send | Await | GiveUp | Close | Note


@dataclass(frozen=True, slots=True)
class Done:
    """An action that is no waiting was done."""

    now: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message."""

    now: float
    link: Link
    """With the server it came from."""
    message: bytes


class Break(Enum):
    """Why a link is of no more use; the value finishes `the server ...`."""

    NO_LISTENER = "is not there: nothing listens on that port"
    RESET = "reset the connection"
    CLOSED = "closed the connection"
    UNREACHABLE = "cannot be reached from here"
    GARBLED = "sent what is no DNS message"


@dataclass(frozen=True, slots=True)
class Broken:
    """The link failed."""

    now: float
    link: Link
    why: Break


@dataclass(frozen=True, slots=True)
class TimeOut:
    """Nothing until then."""

    now: float


Event = Done | Arrived | Broken | TimeOut
T = TypeVar("T")
Steps = Generator[Action, Event, T]
"""What a resolver is: actions out, events in, a result at its end."""
