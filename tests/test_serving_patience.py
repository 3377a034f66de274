"""How long a client waits, as a table: what is known of its question, and what is left of its patience."""

import pytest

from forwarder.cache.answers import Answer
from forwarder.cache.failures import Failure
from forwarder.serving.coalescing import NOBODY, Asker
from forwarder.serving.patience import SLOW_STALE, ClientResponseTimer, Known, Patience, patience_for
from forwarder.upstream.waiting import Timers
from forwarder.wire.message import parse_query
from forwarder.wire.records import Kind, Response
from tests.lab.kitchen import octets_of

NOW = 900.0
RECHECK = 5.0
NONE, ASKED_BEHIND, SHORT, LONG = Patience

RESPONSE = Response(b"", Kind.POSITIVE, 0, (1, 0, 0), 60, 60, -1, is_authentic=False)


def stale(seconds: float) -> Answer:
    """An answer that ended so many seconds ago."""
    return Answer(b"key", 0, response=RESPONSE, stored_at=0.0, expires_at=NOW - seconds)


def failed(seconds: float, ttl: float = 1.0, *, timed_out: bool = True) -> Failure:
    """A failure of so many seconds ago."""
    return Failure(b"key", 0, text="why", timed_out=timed_out, rcode=2, recoveries=0, failed_at=NOW - seconds, ttl=ttl)


@pytest.mark.parametrize(
    ("answer", "failure", "is_down", "patience"),
    [
        # nothing known: the asking decides
        (None, None, False, LONG),
        (None, None, True, LONG),
        # a failure that holds, and one that held
        (None, failed(0.0), False, NONE),
        (None, failed(0.9), True, NONE),
        (None, failed(7.9, ttl=8.0), False, NONE),
        (None, failed(1.0), False, SHORT),
        (None, failed(20.0), True, SHORT),
        (None, failed(1.0, timed_out=False), False, LONG),
        (None, failed(0.9, timed_out=False), False, NONE),
        # merely slow: what ended lately stands in
        (stale(0.0), None, False, SHORT),
        (stale(SLOW_STALE - 0.1), None, False, SHORT),
        (stale(SLOW_STALE), None, False, LONG),
        (stale(3000.0), None, False, LONG),
        # no upstream answers: whatever is stale, at once
        (stale(1.0), None, True, ASKED_BEHIND),
        (stale(3000.0), None, True, ASKED_BEHIND),
        # it was tried: the recheck timer, or the failure's own time where that is longer
        (stale(3000.0), failed(4.9), False, NONE),
        (stale(3000.0), failed(4.9), True, NONE),
        (stale(3000.0), failed(5.0), False, SHORT),
        (stale(3000.0), failed(5.0, timed_out=False), False, SHORT),
        (stale(1.0), failed(5.0), True, ASKED_BEHIND),
        (stale(1.0), failed(7.9, ttl=8.0), False, NONE),
        (stale(1.0), failed(8.0, ttl=8.0), False, SHORT),
    ],
)
def test_patience(answer: Answer | None, failure: Failure | None, patience: Patience, *, is_down: bool) -> None:
    assert patience_for(answer, failure, RECHECK, NOW, is_down=is_down) is patience


def test_a_timer_tells_once_when_it_is_due_and_may_be_set_again() -> None:
    told: list[tuple[Asker, Known, float]] = []
    first = Asker(parse_query(octets_of("a.test.")), NOBODY, None, NOW, is_timed=True)
    known = stale(1.0)
    timers = Timers()
    timers.watch(ClientResponseTimer(first, known, lambda *what: told.append(what)), NOW + 0.4)
    timers.sweep(NOW + 0.3)
    assert (told, first.is_timed) == ([], True)
    timers.sweep(NOW + 0.4)
    timers.sweep(NOW + 9.0)
    assert (told, first.is_timed) == ([(first, known, NOW + 0.4)], False)
    assert not timers
