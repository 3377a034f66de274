"""Forgetting at run time: what is known of a name, or of a name and all below it, whatever way it is known.

Forgotten are the answers to all questions for such a name (every type, with DO and CD or without), the answers to other names
whose alias chain leads over one or that hold a record of one, failures, and cuts by which such a name is denied. Pinned names
are the operator's and stay.

Always holds: one step takes about a millisecond; when the last step is done, nothing that was asked of an upstream before the
first is given to a query that comes from then on. For this the steps wait for the questions that were in progress at the first
(`answering.deadline` at most) and look at their answers too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from forwarder.cache.answers import Answer
from forwarder.errors import WireError
from forwarder.serving.answering import Memory
from forwarder.serving.coalescing import Coalescing
from forwarder.upstream.waiting import TICK
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import KEY_BEHIND_NAME, Qtype
from forwarder.wire.names import Names, is_at_or_below, skip_name
from forwarder.wire.records import Response
from forwarder.wire.walking import walked

SLICE = 100
"""Entries looked at in one step: a twentieth of a millisecond where the name is rare, half a one where each answer has to be
walked."""
T = TypeVar("T")
ALIASES = frozenset({Qtype.CNAME, Qtype.DNAME})


@dataclass(frozen=True, slots=True)
class Scope:
    """Which names are meant."""

    name: bytes
    """Lower-cased wire form."""
    is_suffix: bool
    """And all below it."""

    def holds(self, name: bytes) -> bool:
        """Whether this name (lower-cased wire form) is meant."""
        return name == self.name or (self.is_suffix and is_at_or_below(name, self.name))

    def holds_key(self, key: bytes) -> bool:
        """Whether the name of the question with this key is meant."""
        return self.holds(key[:-KEY_BEHIND_NAME])

    def holds_answer(self, answer: Answer) -> bool:
        """Whether an answer is one for such a name, or came to be by way of one."""
        return self.holds_key(answer.key) or self._is_on_the_way(answer.response)

    def _is_on_the_way(self, response: Response) -> bool:
        """Whether such a name owns a record that is not there as a proof, or is what an alias points to."""
        message = response.message
        first_label = self.name[: 1 + self.name[0]]
        if first_label not in message.lower():  # compression never cuts a label, so the name is not in it
            return False
        names = Names(message)
        answers, authorities, _ = response.counts
        try:
            records, _ = walked(message, skip_name(message, HEADER_SIZE) + 4, sum(response.counts))
            for record in (*records[:answers], *records[answers + authorities :]):
                if self.holds(names.lowered(record.start)[0]):
                    return True
                if record.rtype in ALIASES and self.holds(names.lowered(record.rdata)[0]):
                    return True
        except WireError:
            return True  # nobody will miss what cannot be read again
        return False


class Flushing:
    """One flush, in steps."""

    __slots__ = ("_coalescing", "_memory", "_scope", "entries")

    def __init__(self, memory: Memory, coalescing: Coalescing, scope: Scope) -> None:
        self._memory = memory
        self._coalescing = coalescing
        self._scope = scope
        self.entries = 0
        """Answers and failures forgotten so far."""

    def steps(self) -> Iterator[float]:
        """Do a step, and say how many seconds the next one has time; it is done when there is no next one."""
        answers, in_progress = self._memory.answers, self._coalescing.questions
        asked = list(in_progress.values())
        keys = [first.query.key for first in asked]
        yield from self._forget(answers.kept(), list(self._memory.failures.entries))
        while asked := [first for first in asked if in_progress.get(first.query.key) is first]:
            yield TICK
        known = [answer for key in keys if (answer := answers.entries.get(key)) is not None]
        yield from self._forget(known, [key for key in keys if key in self._memory.failures.entries])

    def _forget(self, answers: list[Answer], failed: list[bytes]) -> Iterator[float]:
        """Forget those of them that are meant, slice by slice, and with the last whatever else is known."""
        memory, scope = self._memory, self._scope
        for some in _slices(answers):
            for answer in some:
                if memory.answers.entries.get(answer.key) is answer and scope.holds_answer(answer):
                    memory.answers.forget(answer)
                    self.entries += 1
            yield 0.0
        for keys in _slices(failed):
            for key in keys:
                if key in memory.failures.entries and scope.holds_key(key):
                    memory.failures.forget(key)
                    self.entries += 1
            yield 0.0
        forget_the_rest(memory, scope)


def forget_the_rest(memory: Memory, scope: Scope) -> None:
    """What is small, or found by name at once: one line for each memory besides answers and failures."""
    memory.denial.forget(scope.name)
    memory.exact.clear()


def _slices(items: list[T]) -> Iterator[list[T]]:
    """From the first to the last; the list is emptied, so that what was forgotten is freed slice by slice too."""
    items.reverse()
    while items:
        some = items[: -SLICE - 1 : -1]
        del items[-SLICE:]
        yield some
