"""The API over real HTTP: the shapes of `observe.overview`, whole; and docs/api.md has every field of them."""

import asyncio
import json
import re
from typing import get_type_hints

import msgspec
import pytest

from forwarder.observe import api, counters
from forwarder.observe import overview as shapes
from forwarder.observe.overview import Asked, Conntrack, Moment, Names, Overview, Pace
from tests.lab.figures import Daemon
from tests.lab.pages import Served, Shown, answer, visited
from tests.lab.project import ROOT

HOSTILE = '<img src=x onerror="alert(1)">\\000\\010\'"&\\..example.'
PACES = 2 * api.PACES_IN_PART + 1


def test_the_overview() -> None:
    names = Names(7, [Asked(HOSTILE, 0.5)], [], [])
    shown = Shown(Daemon(names=names, conntrack=Conntrack(1, 2, 3, 4)))
    shown.daemon.answered(counters.EXACT, 3)
    got = answer(shown, "/api/overview")
    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    assert msgspec.json.decode(got.body, type=Overview) == shown.overview()
    assert b"\n" not in got.body


@pytest.mark.parametrize("count", [0, 1, api.PACES_IN_PART, PACES])
def test_the_history_is_one_array_whatever_its_length(count: int) -> None:
    shown = Shown()

    def visit(served: Served) -> None:
        for _ in range(count and count + 1):  # the first look has nothing before it
            shown.daemon.answered(counters.UPSTREAM)
            served.look()
        got = served.ask("/api/history")
        assert (got.status, got.headers["content-type"]) == (200, "application/json")
        assert msgspec.json.decode(got.body, type=list[Pace]) == list(shown.paces())
        assert len(shown.paces()) == count

    visited(shown, visit)


def test_events_are_the_last_moment_and_each_that_comes() -> None:
    def visit(served: Served) -> None:
        served.look()
        with served.connected() as client, client.makefile("rb") as lines:
            client.sendall(b"GET /api/events HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert b"content-type: text/event-stream\r\n" in list(iter(lines.readline, b"\r\n"))
            assert (lines.readline(), lines.readline()) == (b"retry: 2000\n", b"\n")
            for _ in range(3):
                told, after = lines.readline(), lines.readline()
                assert (told[:6], after) == (b"data: ", b"\n")
                assert msgspec.json.decode(told[6:], type=Moment) == served.shown.latest
                served.look()

    visited(Shown(), visit)


def test_one_moment_is_written_once_for_all() -> None:
    async def play() -> None:
        shown = Shown()
        live = api.Live(shown)
        shown.look()
        first, second = live.events(), live.events()
        assert await anext(first) == await anext(second)
        assert await anext(first) is await anext(second)
        await first.aclose()
        await second.aclose()

    asyncio.run(play())


def test_what_there_is() -> None:
    got = answer(Shown(), "/api/")
    places = json.loads(got.body)["places"]

    def visit(served: Served) -> None:
        for place in places:
            assert served.ask(f"/api/{place}", method="HEAD").status == 200

    visited(Shown(), visit)


def test_every_field_is_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    kinds = [kind for kind in vars(shapes).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    fields = {field for kind in kinds if kind is not msgspec.Struct for field in get_type_hints(kind)}
    assert fields - set(re.findall(r"`(\w+)`", text)) == set()
    assert set(Daemon().overview().counted) | {"receive_drops", "workers_restarted"} <= set(re.findall(r"`(\w+)`", text))
