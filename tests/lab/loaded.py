"""The stage of what is shown under load: an upstream that writes down what it is asked, a daemon, and the client that counts.

The daemon knows all names of hits before the load begins, and no answer ends before the test does: whatever reaches the
upstream of them was forgotten. Always holds: each load asks misses of its own.
"""

import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.clients import Address
from tests.lab.counting import NAMES, Counting, Load, Record, compiled, counted
from tests.lab.fast_upstream import FastUpstream

UPSTREAM_DELAY = 0.002
"""Seconds for an answer, as from the next rack: some misses are in progress at any moment."""
TTL = 3600
WARM_UP_RATE = 2_000
"""Names a second, so that the first load is one the upstream can bear."""
QUESTIONS = 2 * NAMES
"""A and AAAA of each name of the hits."""
HIT_LETTER = "h"


@dataclass(slots=True)
class LoadedStage:
    """All that stands before a daemon is started."""

    upstream: FastUpstream
    program: Path
    directory: Path
    """For files of the test's own."""
    _warm_up: int = 0
    """Upstream queries for names of the hits until the daemon knew them all."""
    _letters: Iterator[str] = field(default_factory=lambda: iter(string.ascii_lowercase.replace(HIT_LETTER, "")))

    @property
    def zones(self) -> str:
        """The configuration that a daemon needs."""
        return f"zones: [{{zone: ., upstreams: ['{self.upstream.address}']}}]\n"

    def warm(self, servers: Sequence[Address]) -> None:
        """Ask for every name of the hits once: all are answered."""
        load = Load(QUESTIONS / WARM_UP_RATE, next(self._letters), WARM_UP_RATE, 0)
        record = counted(self.program, servers, load)
        assert (record.hits.answered, record.hits.servfails, record.hits.wrong) == (QUESTIONS, 0, 0), record
        asked = self._hits_asked()
        assert len(asked) == QUESTIONS
        self._warm_up = sum(asked.values())

    def load(self, servers: Sequence[Address], seconds: float) -> Counting:
        """The load that counts, to be started by `with`."""
        return Counting(self.program, servers, Load(seconds, next(self._letters)))

    def hits_asked_again(self) -> int:
        """Upstream queries for names of the hits since the warm-up."""
        return sum(self._hits_asked().values()) - self._warm_up

    def _hits_asked(self) -> dict[tuple[str, int], int]:
        """How often the upstream was asked each question of the hits."""
        return {question: times for question, times in self.upstream.asked().items() if question[0].startswith(HIT_LETTER)}


@contextmanager
def loaded_stage(directory: Path) -> Iterator[LoadedStage]:
    """The client compiled, the upstream running."""
    with FastUpstream(ttl=TTL, delay=UPSTREAM_DELAY, log=directory / "asked") as upstream:
        yield LoadedStage(upstream, compiled(directory), directory)


def ensure_sound(record: Record) -> None:
    """What holds whatever becomes of the daemon: every answer is the right one and came once, and the client lost none."""
    assert record.lost_here == 0, f"the client itself lost datagrams: {record}"
    assert (record.hits.wrong, record.misses.wrong, record.second_answers, record.strays) == (0, 0, 0, 0), record
    assert record.refusals == 0, f"a port was closed: {record}"


def ensure_nothing_lost(record: Record) -> None:
    """And each query was answered, not with a failure."""
    ensure_sound(record)
    assert record.lost == [], record
    assert (record.hits.servfails, record.misses.servfails) == (0, 0), record
