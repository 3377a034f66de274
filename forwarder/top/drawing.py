"""What is seen of the daemon, drawn for a terminal: lines that fit it, the most important first.

Pure. Always holds: whatever names and sentences the daemon shows are plain text here, never markup or control characters; what
a colour says a word says too; nothing is wider or higher than the terminal.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap

from rich.text import Text

from forwarder.inside.seen import cache_state, name_lists, upstream_paces, upstream_state, worker_state
from forwarder.inside.words import NOTHING, duration, rate, ratio, span, tame
from forwarder.observe.overview import Asked, Overview, Pace, percentiles
from forwarder.top.trail import Trail

BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
LABEL = 22
"""Columns before a chart: its name and its figure."""
CELL = 26
"""Columns of a source."""
FIGURES = 42
"""Columns of the figures of an upstream."""
STATE_STYLES = {"up": "green", "down": "bold red", "loop": "bold red", "left": "dim"}
TITLE, QUIET, ALARM = "bold cyan", "dim", "bold red"


@dataclass(frozen=True, slots=True)
class Paper:
    """What is drawn on."""

    width: int
    height: int
    """Columns and rows."""
    has_blocks: bool
    """Whether it can show block elements, or ASCII alone."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together."""

    lines: Sequence[Text]
    least: int
    """So many of them are shown, or none."""
    rank: int
    """The lower, the sooner it has its lines."""

    def shown(self, rows: int) -> list[Text]:
        """As many lines as have room; the last one says how many have none."""
        if rows >= len(self.lines):
            return list(self.lines)
        rest = len(self.lines) - rows + 1
        return [*self.lines[: rows - 1], Text(f"  and {rest} more", QUIET)] if rows else []


def frame(trail: Trail, paper: Paper) -> list[Text]:
    """All that is shown, a text for each row."""
    blocks = [Block(list(_head(trail, paper)), 1, 0)]
    if trail.moment is not None:
        now = trail.moment.overview
        blocks += [
            Block(list(_charts(trail, paper)), 2, 0),
            Block(list(_times(trail.pace)), 2, 1),
            Block(_warnings(now, paper), min(2, len(now.warnings)), 2),
            Block(list(_sources(trail.pace, paper)), 1, 4),
            Block(list(_upstreams(now, trail.pace, paper)), 2, 3),
            Block(list(_memory(now)), 1, 5),
            Block(list(_names(now, paper)), 3, 6),
        ]
    rows = _rows_for(blocks, paper.height)
    shown = [block.shown(count) for block, count in zip(blocks, rows, strict=True) if count]
    has_air = sum(map(len, shown)) + len(shown) - 1 <= paper.height
    lines = [line for block in shown for line in (*block, *([Text()] if has_air else []))]
    for line in lines:
        line.no_wrap = True
        line.truncate(paper.width, overflow="ellipsis" if paper.has_blocks else "crop")
    return lines[: paper.height]


def _rows_for(blocks: Sequence[Block], height: int) -> list[int]:
    """How many rows each has: first the least, in the order of their ranks, then as many as it wants."""
    rows = [0] * len(blocks)
    order = sorted(range(len(blocks)), key=lambda place: blocks[place].rank)
    for place in order:
        least = min(blocks[place].least, len(blocks[place].lines))
        if least <= height:
            rows[place] = least
            height -= least
    for place in order:
        if rows[place]:
            more = min(len(blocks[place].lines) - rows[place], height)
            rows[place] += more
            height -= more
    return rows


def _head(trail: Trail, paper: Paper) -> Iterator[Text]:
    line = Text(no_wrap=True)
    if trail.moment is not None:
        now = trail.moment.overview
        line.append(f"forwarder {tame(now.release)}", "bold")
        line.append(f"  up {span(now.at - now.started)}  ")
        line.append("serving" if now.ready else "not serving", "green" if now.ready else ALARM)
        line.append(time.strftime("  %H:%M:%S", time.localtime(now.at)))
    else:
        line.append("forwarder", "bold")
    line.append("   q leaves", QUIET)
    yield line
    for text in wrap(f"no answer, asking again: {tame(trail.problem)}", paper.width) if trail.problem else ():
        yield Text(text, ALARM)


def _charts(trail: Trail, paper: Paper) -> Iterator[Text]:
    for name, figure, values, top in (
        ("hit ratio", ratio(_last(trail.ratios)), trail.ratios, 1.0),
        ("queries", NOTHING if trail.pace is None else rate(trail.pace.queries), trail.rates, None),
    ):
        line = Text(f"{name:11}", TITLE)
        line.append(f"{figure:>9}  ", "bold")
        line.append(spark(list(values)[-max(1, paper.width - LABEL) :], top, has_blocks=paper.has_blocks), "green")
        yield line


def spark(values: Sequence[float | None], top: float | None, *, has_blocks: bool) -> str:
    """A chart of one row, from 0 to `top`, or to the highest of the values; a space where there is none."""
    steps = BLOCKS if has_blocks else PLAIN_BLOCKS
    highest = top or max((value for value in values if value), default=1.0)
    return "".join(
        " " if value is None else steps[min(len(steps) - 1, round(value / highest * (len(steps) - 1)))] for value in values
    )


def _times(pace: Pace | None) -> Iterator[Text]:
    for name, found in (
        ("answered", {} if pace is None else pace.percentiles),
        ("from memory", {} if pace is None else pace.hit_percentiles),
    ):
        line = Text(f"{name:13}", TITLE)
        for quantile in ("p50", "p90", "p99"):
            line.append(f"{quantile} ", QUIET)
            line.append(f"{duration(found.get(quantile)):10}")
        yield line


def _sources(pace: Pace | None, paper: Paper) -> Iterator[Text]:
    yield Text("answers from", TITLE)
    if pace is None:
        return
    cells = [
        f"  {tame(source):9}{rate(count):>8}{ratio(count / pace.queries if pace.queries else None):>7}"
        for source, count in pace.sources.items()
    ]
    columns = max(1, paper.width // CELL)
    for first in range(0, len(cells), columns):
        yield Text("".join(f"{cell:{CELL}}" for cell in cells[first : first + columns]))


def _upstreams(now: Overview, pace: Pace | None, paper: Paper) -> Iterator[Text]:
    room = max(10, min(60, paper.width - FIGURES))
    yield Text(f"{'upstream':{room}}{'':6}{'queries':>10}{'failures':>10}{'p50':>8}{'p99':>8}", TITLE)
    paces = upstream_paces(pace)
    for upstream in sorted(now.upstreams, key=lambda one: (not one.is_asked, one.is_up and not one.is_looped)):
        state, name = upstream_state(upstream), tame(upstream.name)
        line = Text(f"  {name[: room - 3]:{room - 2}}")
        line.append(f"{state:6}", STATE_STYLES[state])
        lately = paces.get(upstream.name)
        line.append(f"{NOTHING if lately is None else rate(lately.queries):>10}")
        failures = 0.0 if lately is None else lately.failures
        line.append(f"{NOTHING if lately is None else rate(failures):>10}", ALARM if failures else "")
        found = percentiles(upstream.times) if lately is None or lately.percentiles["p50"] is None else lately.percentiles
        line.append(f"{duration(found['p50']):>8}{duration(found['p99']):>8}")
        yield line


def _memory(now: Overview) -> Iterator[Text]:
    serving = sum(worker.serving for worker in now.workers)
    line = Text(f"{'workers':11}", TITLE)
    line.append(f"{serving} of {len(now.workers)} serving", "" if serving == len(now.workers) else ALARM)
    for worker in now.workers:
        if not worker.serving or worker.restarts:
            line.append(f"; {worker_state(worker)}", "" if worker.serving else ALARM)
    yield line
    line = Text(f"{'cache':11}", TITLE)
    line.append(cache_state(now), "")
    yield line


def _warnings(now: Overview, paper: Paper) -> list[Text]:
    return [
        Text(("! " if place == 0 else "  ") + text, "yellow")
        for warning in now.warnings
        for place, text in enumerate(wrap(tame(warning), max(20, paper.width - 2)))
    ]


def _names(now: Overview, paper: Paper) -> Iterator[Text]:
    found = name_lists(now)
    if not found:
        return
    room = paper.width // len(found)
    yield Text("".join(f"{f'names {title}':{room}}" for title in found), TITLE)
    for row in zip_longest(*found.values()):
        yield Text("".join(f"{_asked(one, room - 1):{room}}" for one in row))


def _asked(one: Asked | None, room: int) -> str:
    if one is None:
        return ""
    text = f"{one.share * 100:4.0f} % {tame(one.name)}"
    return text if len(text) <= room else f"{text[: room - 3]}..."


def _last(values: Sequence[float | None]) -> float | None:
    return values[-1] if values else None
