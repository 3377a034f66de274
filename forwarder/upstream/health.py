"""Whether an upstream counts as up, from its real answers and silences, and when it is probed.

Pure. Always holds: it goes down only when SUSPECT_AFTER attempts in a row and then a probe brought no readable response, and
nothing else came meanwhile; it comes up only after UP_AFTER responses in a row. One lost datagram, one hanging name or one
lucky answer changes nothing. A mismatched response is no response and no silence either.
"""

import math

SUSPECT_AFTER = 2
"""Attempts in a row without a readable response after which it is probed. Where one name hangs, the probe is answered."""
UP_AFTER = 2
"""Responses in a row: a server that starts, or a path that flaps, answers once and is gone again."""
FIRST_REST = 1.0
"""Seconds until a down upstream is probed again; doubles with each probe that fails."""
LONGEST_REST = 30.0
"""Seconds: an upstream that came back is in use after this long at the latest."""


class Health:
    """What is known of one upstream."""

    __slots__ = ("_good", "_rest", "_unanswered", "_was_heard", "is_suspect", "is_troubled", "is_up", "probe_at", "recoveries")

    def __init__(self) -> None:
        self.is_up = True
        self.is_troubled = False
        """Whether the next response changes anything."""
        self.is_suspect = False
        """Whether it is up, and a probe is to say whether it stays so."""
        self.probe_at = math.inf
        """When to probe it; never while all is well."""
        self.recoveries = 0
        """How often it said something again after it had gone down."""
        self._unanswered = 0
        self._good = 0
        self._was_heard = False
        self._rest = FIRST_REST

    def failed(self, now: float) -> bool:
        """An attempt brought no readable response; whether the upstream becomes suspect with this."""
        self._unanswered = min(self._unanswered + 1, SUSPECT_AFTER)
        self._good = 0
        self.is_troubled = True
        if not self.is_up or self.is_suspect or self._unanswered < SUSPECT_AFTER:
            return False
        self.is_suspect = True
        self.probe_at = now
        return True

    def answered(self, now: float) -> bool:
        """A readable response came, whatever it says; whether the upstream is up again with this."""
        self._unanswered = 0
        self._was_heard = True
        if self.is_up:
            self.is_troubled = False
            return False
        self._good += 1
        if self._good == 1:
            self.recoveries += 1
        if self._good < UP_AFTER:
            self.probe_at = now
            return False
        self.is_up = True
        self.is_troubled = False
        self.probe_at = math.inf
        self._rest = FIRST_REST
        return True

    def probe_begins(self) -> None:
        """A probe leaves: what comes until its end speaks for the upstream too."""
        self._was_heard = False

    def probe_answered(self, now: float) -> bool:
        """As `answered`; a suspect is cleared."""
        self.is_suspect = False
        self.probe_at = math.inf
        return self.answered(now)

    def probe_failed(self, now: float) -> bool:
        """A probe brought nothing: the next one later. Whether the upstream goes down with this."""
        was_up = self.is_up
        self.is_suspect = was_up and self._was_heard and self._unanswered >= SUSPECT_AFTER
        self._good = 0
        if was_up and (self._was_heard or self._unanswered < SUSPECT_AFTER):
            self.probe_at = now if self.is_suspect else math.inf
            return False
        if not was_up:
            self._rest = min(self._rest * 2, LONGEST_REST)
        self.is_up = False
        self.probe_at = now + self._rest
        return was_up
