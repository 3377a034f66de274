"""What the supervisor hears: kept as far as the configuration of the moment wants it, and never a reason to stop."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder.config import ObserveSettings
from forwarder.hearing import Hearing
from forwarder.observe import counters
from forwarder.observe.notes import Note, written
from forwarder.observe.overview import Asked
from forwarder.observe.totals import Totals

FAILURE = counters.SOURCES.index("failure")
CLIENT = bytes((192, 0, 2, 7))


def note(label: bytes, rcode: int = 0, source: int = 0, client: bytes = CLIENT) -> Note:
    return Note(1.0, bytes((len(label),)) + label + b"\0\0\1\0\1", False, source, rcode, 5, 1, client)


class Play:
    """A hearing, a worker's end of it, and settings that change."""

    def __init__(self, settings: ObserveSettings) -> None:
        self.settings = settings
        self.said: list[str] = []
        self.totals = Totals(counters.private())
        self.hearing = Hearing(lambda: self.settings, self.totals, self.said.append)

    def tell(self, *notes: Note) -> None:
        """Notes of a worker."""
        self.send(written(notes))

    def send(self, data: bytes) -> None:
        """Octets of a worker."""
        end = socket.fromfd(self.hearing.descriptor, socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with end:
            end.send(data)


def play(settings: ObserveSettings, scene: Callable[[Play], Awaitable[None]]) -> Play:
    """Play a scene and close."""

    async def whole() -> Play:
        at = Play(settings)
        at.hearing.begin()
        try:
            await scene(at)
        finally:
            at.hearing.close()
        return at

    return asyncio.run(whole())


async def turns() -> None:
    """What was said is heard."""
    for _ in range(3):
        await asyncio.sleep(0)


def logged(path: Path) -> list[str]:
    return [json.loads(line)["question"]["name"] for line in path.read_text().splitlines()]


def test_names_are_heard_where_they_are_wanted() -> None:
    async def scene(at: Play) -> None:
        at.tell(note(b"a"), note(b"a"), note(b"f", 2, FAILURE))
        at.tell(note(b"a", client=b""))
        await turns()
        names = at.hearing.names()
        assert names is not None
        assert (names.sampled, names.failing) == (4, [Asked("f.", 1.0)])
        assert [(asked.name, round(asked.share, 3)) for asked in names.top] == [("a.", 0.75), ("f.", 0.25)]

    play(ObserveSettings(), scene)


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    async def scene(at: Play) -> None:
        at.tell(note(b"a"))
        await turns()
        assert at.hearing.names() is None

    assert play(ObserveSettings(top_names=False), scene).said == []


def test_the_log_has_what_its_mode_says_and_what_was_said_to_the_last(tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def scene(at: Play) -> None:
        at.tell(note(b"a"), note(b"f", 2, FAILURE), note(b"nobody", 2, FAILURE, b""))
        await turns()
        at.tell(note(b"g", 5))

    at = play(ObserveSettings(query_log="errors", query_log_file=str(path)), scene)
    assert logged(path) == ["f.", "g."]
    assert at.totals.past[counters.QUERY_LOG_DROPS] == 0


@pytest.mark.parametrize("data", [b"", b"\x91", b"\x93\1\2\3", b"\xdd\xff\xff\xff\xff", b"x" * 50_000])
def test_whatever_a_worker_says_is_heard_or_dropped(data: bytes) -> None:
    async def scene(at: Play) -> None:
        at.tell(note(b"a"))
        at.send(data)
        at.tell(note(b"b"))
        await turns()
        names = at.hearing.names()
        assert names is not None
        assert names.sampled == 2

    play(ObserveSettings(), scene)


def test_settings_that_change_are_followed(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"

    async def scene(at: Play) -> None:
        for settings, label in (
            (ObserveSettings(query_log="all", query_log_file=str(first)), b"a"),
            (ObserveSettings(query_log="errors", query_log_file=str(first)), b"b"),
            (ObserveSettings(query_log="all", query_log_file=str(second)), b"c"),
            (ObserveSettings(top_names=False), b"d"),
        ):
            at.settings = settings
            at.hearing.look()
            at.tell(note(label), note(b"f" + label, 2))
            await turns()
        assert at.hearing.names() is None
        at.settings = ObserveSettings()
        at.hearing.look()
        names = at.hearing.names()
        assert names is not None
        assert names.sampled == 0, "what was heard before it was turned off is forgotten"

    play(ObserveSettings(), scene)
    assert logged(first) == ["a.", "fa.", "fb."]
    assert logged(second) == ["c.", "fc."]


def test_what_the_log_loses_is_counted_with_all_else(tmp_path: Path) -> None:
    async def scene(at: Play) -> None:
        at.tell(note(b"a"), note(b"b"))
        await turns()

    at = play(ObserveSettings(query_log="all", query_log_file=str(tmp_path / "none" / "log")), scene)
    assert at.totals.past[counters.QUERY_LOG_DROPS] == 2
    (said,) = at.said
    assert "No such file or directory" in said
