"""Whether an upstream is spoken to with EDNS (RFC 6891 section 6.2.2).

Pure. Always holds: a server that ever answered a query with OPT usably is not given up for being silent; what a mismatched
response says changes nothing here; the plain way of speaking is remembered for a while only.
"""

REMEMBERED = 900.0
"""Seconds without OPT for a server that refused it (FORMERR, NOTIMP) and answered without: it may be replaced some day."""
SUSPECTED = 60.0
"""Seconds for one that was silent instead: it may have been the network."""


class Dialect:
    """How one server is spoken to."""

    __slots__ = ("_plain_until", "is_plain", "knows_edns")

    def __init__(self) -> None:
        self.knows_edns = False
        """Whether it answered a query with OPT."""
        self.is_plain = False
        """Whether it is spoken to without; ask `speaks_plain`, which knows when that ends."""
        self._plain_until = 0.0

    def speaks_plain(self, now: float) -> bool:
        """Whether to leave out OPT."""
        if self.is_plain and now >= self._plain_until:
            self.is_plain = False
        return self.is_plain

    def learn(self, now: float, *, edns: bool, was_refused: bool) -> None:
        """It answered usably, with OPT in the query or without; `was_refused`: after it had refused one with."""
        if edns:
            self.knows_edns = True
            self.is_plain = False
        elif was_refused or not (self.knows_edns or self.is_plain):
            self.is_plain = True
            self._plain_until = now + (REMEMBERED if was_refused else SUSPECTED)
