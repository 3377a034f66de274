"""What happened to upstreams, in lines for the log: one goes down, comes up, sends our queries back, or does so no more.

Pure: an overview goes in once a second. Always holds: a line is said for all workers together, and only of what an upstream
did: workers that begin take every upstream for well, which is no news.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from forwarder.flapping import Flapping
from forwarder.levels import Err, Notice
from forwarder.observe.counters import OTHER_UPSTREAMS
from forwarder.observe.overview import Overview, Upstream

BEGINNING = 1.5
"""Seconds after a worker came or went in which nothing is concluded: its gauges are not written yet."""
UNPROVED = 5.0
"""Seconds after that in which an upstream that seems up must have answered since: longer than former workers take to leave."""
CLEAR = 5
"""Looks in a row without a loop: a worker that begins takes a moment to find one."""


@dataclass(slots=True)
class _Known:
    """What was said of an upstream, and what speaks against it."""

    is_up: bool = True
    is_looped: bool = False
    answers: int = 0
    """How many it had given when it was last seen down."""
    must_prove: bool | None = None
    """Whether being up takes an answer since; None while it is down."""
    clear: int = 0
    """Looks in a row at which it did not loop."""


class Changes:
    """The upstreams as they were last seen."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._flapping = Flapping()
        self._workers: set[tuple[int | None, bool]] = set()
        self._began_at = 0.0

    def look(self, overview: Overview, now: float) -> list[str]:
        """What is to be said; `now` in seconds of any clock that does not jump."""
        workers = {(worker.pid, worker.serving) for worker in overview.workers}
        if workers != self._workers:
            self._workers, self._began_at = workers, now
        told = self._flapping.settled(now)
        if now - self._began_at < BEGINNING or not any(worker.serving for worker in overview.workers):
            return told
        asked = [upstream for upstream in overview.upstreams if upstream.is_asked and upstream.name != OTHER_UPSTREAMS]
        for name in self._known.keys() - {upstream.name for upstream in asked}:
            del self._known[name]
            self._flapping.forget(_called(name))
        is_any_up = any(upstream.is_up and not upstream.is_looped for upstream in asked)
        for upstream in asked:
            known = self._known.setdefault(upstream.name, _Known())
            lines = (*self._of_life(upstream, known, now, is_any_up=is_any_up), *self._of_loops(upstream, known))
            for line in lines:
                told += self._flapping.changed(_called(upstream.name), line, now)
        return told

    def _of_life(self, upstream: Upstream, known: _Known, now: float, *, is_any_up: bool) -> Iterator[str]:
        name = _called(upstream.name)
        if not upstream.is_up:
            known.answers, known.must_prove = upstream.times.count, None
            if known.is_up:
                known.is_up = False
                yield _down(name, is_any_up=is_any_up)
        elif not known.is_up:
            if known.must_prove is None:
                known.must_prove = now - self._began_at < UNPROVED
            if not known.must_prove or upstream.times.count > known.answers:
                known.is_up = True
                yield Notice(f"{name} is up again")

    @staticmethod
    def _of_loops(upstream: Upstream, known: _Known) -> Iterator[str]:
        name = _called(upstream.name)
        known.clear = 0 if upstream.is_looped else known.clear + 1
        if upstream.is_looped and not known.is_looped:
            known.is_looped = True
            yield Err(f"{name} sends our queries back to us and is left out: point it, or us, elsewhere")
        elif known.is_looped and known.clear >= CLEAR:
            known.is_looped = False
            yield Notice(f"{name} sends our queries back to us no more and is asked again")


def _called(name: str) -> str:
    return f"upstream {name}"


def _down(name: str, *, is_any_up: bool) -> str:
    why = f"{name} is down, nothing comes from it"
    if is_any_up:
        return f"{why}: it is asked last, and probed. See that it runs, and that this node reaches it"
    return Err(f"{why}, and no other is up: only what is remembered is answered. See that they run, or try `forwarder doctor`")
