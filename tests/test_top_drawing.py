"""What top draws: it fits, it says everything that matters, and nothing in it steers the terminal."""

import io
import re

import pytest
from rich.console import Console, Group

from forwarder.inside.words import ratio
from forwarder.observe.overview import Moment, Upstream
from forwarder.top.drawing import Paper, frame, spark
from forwarder.top.trail import Trail
from tests.lab.moments import hostile, moment

SIZES = [(80, 24), (40, 10), (20, 5), (200, 60), (1, 1)]
COLOURED = re.compile(r"\x1b\[[0-9;]*m")


def drawn(told: Moment, width: int = 80, height: int = 24, *, has_blocks: bool = True, problem: str = "") -> list[str]:
    trail = Trail()
    trail.add(told)
    if problem:
        trail.miss(problem)
    return [line.plain for line in frame(trail, Paper(width, height, has_blocks=has_blocks))]


def on_terminal(told: Moment, **environment: str) -> str:
    """The octets that a terminal of 16 colours gets."""
    trail = Trail()
    trail.add(told)
    octets = io.StringIO()
    console = Console(file=octets, force_terminal=True, width=80, color_system="standard", markup=False, _environ=environment)
    console.print(Group(*frame(trail, Paper(80, 24, has_blocks=True))))
    return octets.getvalue()


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("told", [moment(warnings=["word " * 60] * 5), hostile()], ids=["warned", "hostile"])
def test_it_fits(told: Moment, width: int, height: int) -> None:
    lines = drawn(told, width, height, problem="nobody is there " * 9)
    assert 0 < len(lines) <= height
    assert max(map(len, lines)) <= width


def test_80_by_24_has_room_for_everything() -> None:
    text = "\n".join(drawn(moment(warnings=["The sky falls: look up."])))
    for word in (
        "forwarder 1.0", "serving", "hit ratio", "90.0 %", "1,000/s", "p50", "p99", "exact", "192.0.2.1:53", "down",
        "1 of 1 serving", "MiB", "www.example.", "broken.example.", "no.example.", "! The sky falls: look up.", "q leaves",
    ):  # fmt: skip
        assert word in text, word


def test_what_matters_most_stays_when_there_is_little_room() -> None:
    text = "\n".join(drawn(moment(warnings=["The sky falls: look up."]), 60, 7))
    for word in ("serving", "hit ratio", "queries", "p99", "sky falls"):
        assert word in text, word


def test_of_many_upstreams_those_that_are_down_come_first() -> None:
    (one,) = moment().overview.upstreams[:1]
    up = [renamed(one, f"192.0.2.{n}:53", is_up=True) for n in range(40)]
    lines = drawn(moment(upstreams=[*up, renamed(one, "198.51.100.1:53", is_up=False)]))
    place = next(number for number, line in enumerate(lines) if line.startswith("upstream"))
    assert lines[place + 1].split()[:2] == ["198.51.100.1:53", "down"]
    assert any(re.fullmatch(r"  and \d+ more", line) for line in lines)


def renamed(upstream: Upstream, name: str, *, is_up: bool) -> Upstream:
    return Upstream(name, True, is_up, False, 0, upstream.queries, upstream.failures, 0, upstream.times)


def test_nothing_steers_the_terminal() -> None:
    octets = on_terminal(hostile())
    assert COLOURED.sub("", octets).replace("\n", "").isprintable()
    assert "[red]markup[/red]" in octets, "no markup is read"


def test_without_blocks_it_is_ascii() -> None:
    assert all(line.isascii() for line in drawn(moment(), has_blocks=False))


def test_colours_are_the_terminals_own_and_no_color_leaves_them_out() -> None:
    coloured = COLOURED.findall(on_terminal(moment()))
    assert "\x1b[32m" in coloured, "what is up is green"
    assert all(int(number) < 98 for code in coloured for number in code[2:-1].split(";") if number)
    plain = COLOURED.findall(on_terminal(moment(), NO_COLOR="1"))
    assert not {number for code in plain for number in code[2:-1].split(";")} & {str(colour) for colour in range(30, 48)}


@pytest.mark.parametrize(
    ("values", "top", "chart"),
    [
        ([], 1.0, ""),
        ([0.0, 0.5, 1.0], 1.0, "▁▅█"),
        ([None, 1.0], 1.0, " █"),
        ([0.0, 0.0], None, "▁▁"),
        ([10.0, 20.0], None, "▅█"),
        ([2.0], 1.0, "█"),
    ],
)
def test_a_chart_of_one_row(values: list[float | None], top: float | None, chart: str) -> None:
    assert spark(values, top, has_blocks=True) == chart


def test_before_anything_was_seen_it_says_why() -> None:
    trail = Trail()
    trail.miss("nobody is there")
    assert [line.plain for line in frame(trail, Paper(80, 24, has_blocks=True))][1].endswith("again: nobody is there")
    assert ratio(None) == "-"
