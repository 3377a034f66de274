"""What a lookup came to: the steps, the answer, and what was learnt of reasons afterwards.

Pure. Always holds: `answers` are exchanges of the ledger, there if and only if the libc would give its caller something.
"""

from dataclasses import dataclass, field

from forwarder.lookup.ledger import Exchange, Ledger
from forwarder.lookup.questions import Query, Wanted
from forwarder.lookup.responses import Reason
from forwarder.lookup.settings import Settings


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A question asked once more with EDNS, after the lookup."""

    query: Query
    server: str
    rcode: int | None
    """None when nothing came."""
    seconds: float
    reasons: tuple[Reason, ...]


@dataclass(slots=True)
class Result:
    """What is known of a lookup."""

    wanted: Wanted
    settings: Settings
    ledger: Ledger
    begun: float = 0.0
    ended: float = 0.0
    is_interrupted: bool = False
    refusal: str = ""
    """Why nobody was asked."""
    answers: list[Exchange] = field(default_factory=list)
    """What the caller of the libc is given: responses with records of the type."""
    asked_again: list[AskedAgain] = field(default_factory=list)

    @property
    def is_resolved(self) -> bool:
        """Whether the lookup gave what was wanted."""
        return bool(self.answers)

    @property
    def seconds(self) -> float:
        """How long the libc takes."""
        return self.ended - self.begun
