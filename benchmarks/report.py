"""RESULTS.md: the machine, one table of ratios, and the figures behind them. Only formats; measures nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.peers import DAEMON
from benchmarks.results import Ratio, Results, Spread

Row = Sequence[str]
LESS = "(less is better)"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table of ratios."""

    title: str
    measurement: str
    figure: str
    """Empty: throughput."""
    asked: str = ""
    """What is asked of the daemon."""
    basis: str = ""
    """What is divided; empty: what `Results.throughput_ratio` says."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table of figures."""

    title: str
    measurement: str
    name: str
    scale: float = 1.0
    digits: int = 0


COMPARISONS = (
    Comparison("hits", "hits", "", "at least 0.9 of unbound's, 1.15 of dnsmasq's"),
    Comparison("misses, UDP upstream", "misses-udp", "", "at least 1.3 of unbound's"),
    Comparison("misses, TCP upstream", "misses-tcp", "", "at least 1.1 of unbound's"),
    Comparison(f"p50 of hits at 20,000/s {LESS}", "latency", "p50_us", "at most 1.3 of unbound's", "latencies"),
    Comparison(f"p99 of hits at 20,000/s {LESS}", "latency", "p99_us", "within the peers' spread", "latencies"),
    Comparison(f"CPU at 10,000 hits/s {LESS}", "cpu", "cpu_percent", "", "CPU time"),
    Comparison(f"PSS empty {LESS}", "memory", "pss_empty", "", "memory"),
    Comparison(f"PSS with 10,000 entries {LESS}", "memory", "pss_full", "at most 60 MB", "memory"),
    Comparison(f"exec to first answer {LESS}", "start", "start_ms", "at most 500 ms", "time"),
)
_THROUGHPUT = (("hits", "hits"), ("misses-udp", "misses, UDP upstream"), ("misses-tcp", "misses, TCP upstream"))
FIGURES = (
    *(
        figure
        for name, title in _THROUGHPUT
        for figure in (
            Figure(f"{title}: answers/s", name, "rate"),
            Figure(f"{title}: CPU us per answer", name, "cpu_us", digits=2),
            Figure(f"{title}: server busy, % of its core", name, "busy", scale=100),
            Figure(f"{title}: that core busy, %", name, "core_busy", scale=100),
            Figure(f"{title}: queries lost, %", name, "lost", scale=100, digits=3),
        )
    ),
    Figure("hits at 20,000/s: p50, us", "latency", "p50_us"),
    Figure("hits at 20,000/s: p99, us", "latency", "p99_us"),
    Figure("hits at 20,000/s: queries lost, %", "latency", "lost", scale=100, digits=3),
    Figure("hits at 10,000/s: CPU, % of a core", "cpu", "cpu_percent", digits=1),
    Figure("PSS empty, MB", "memory", "pss_empty", scale=1e-6, digits=1),
    Figure("PSS with 10,000 entries, MB", "memory", "pss_full", scale=1e-6, digits=1),
    Figure("exec to first answer, ms", "start", "start_ms"),
    Figure("2 workers, a core each: times the hits of one (asked for: at least 1.8)", "workers", "times", digits=2),
    Figure("2 workers: CPU us per answer", "workers", "cpu_us", digits=2),
    Figure("2 workers: the idler one's answers, % of an even share", "workers", "even", scale=100),
    Figure("observation: CPU us per hit", "observation", "cpu_us", digits=2),
    Figure("observation: % of it that counters and notes take (asked for: at most 3)", "observation", "cost", 100, digits=1),
    Figure("observation: % of it that the names asked most take", "observation", "names_cost", 100, digits=1),
    Figure("2 workers: upstream queries for the same names, times those of one", "workers", "asked", digits=3),
    Figure(
        "scraped 10 times a second: p50 of hits at 20,000/s, times that without (asked for: at most 1.05)",
        "scraping",
        "p50_times",
        digits=3,
    ),
    Figure("scraped 10 times a second: p99, times that without", "scraping", "p99_times", digits=2),
    Figure("scraped 10 times a second: p99, us (asked for: within the spread of the next row)", "scraping", "p99_us"),
    Figure("in the same rounds, not scraped: p99, us", "scraping", "quiet_p99_us"),
)
NOTES = """\
Medians over all rounds, in brackets the least and the most. Servers take turns within a round, in another order each
round; a ratio is made of two figures of one round. Throughput is the ratio of rates where both servers were the limit
(their core at least 95 % busy, the kernel's work for them included), otherwise of the servers' own CPU time per answer,
turned over so that more is better: a rate that the client limited says nothing about a server. `benchmarks/README.md`
tells how to run this.
"""


def written(results: Results, peers: Sequence[str], machine: Iterable[Row], heading: str) -> str:
    """The whole report as Markdown."""
    others = [peer for peer in peers if peer != DAEMON]
    return "\n".join(
        (
            f"# {heading}\n",
            NOTES,
            "## Machine\n",
            _table(("what", "which"), machine),
            "## Ratios\n",
            _table(_ratio_columns(peers), _ratio_rows(results, peers, others)),
            "## Figures\n",
            _table(("figure", *peers), _figure_rows(results, peers)),
        )
    )


def _ratio_columns(peers: Sequence[str]) -> Row:
    ours = [f"{DAEMON} : {other}" for other in peers if other != DAEMON] if DAEMON in peers else []
    theirs = [f"{peer} : unbound" for peer in peers if peer not in {DAEMON, "unbound"} and "unbound" in peers]
    return ("", *ours, *theirs, "ratio of", "asked for")


def _ratio_rows(results: Results, peers: Sequence[str], others: Sequence[str]) -> Iterable[Row]:
    for comparison in COMPARISONS:
        pairs = [(DAEMON, other) for other in others] if DAEMON in peers else []
        pairs += [(peer, "unbound") for peer in others if peer != "unbound" and "unbound" in others]
        ratios = [_ratio(results, comparison, *pair) for pair in pairs]
        if any(ratios):
            # The basis may differ from pair to pair: each cell names its own when it is not the row's first.
            basis = next(ratio.basis for ratio in ratios if ratio)
            cells = [_ratio_cell(ratio, basis) for ratio in ratios]
            yield (comparison.title, *cells, comparison.basis or basis, comparison.asked)


def _ratio(results: Results, comparison: Comparison, peer: str, other: str) -> Ratio | None:
    if comparison.figure:
        return results.ratio(comparison.measurement, comparison.figure, peer, other)
    return results.throughput_ratio(comparison.measurement, peer, other)


def _ratio_cell(ratio: Ratio | None, basis: str) -> str:
    if ratio is None:
        return "-"
    text = _spread_cell(ratio.spread, 1.0, 2)
    return text if ratio.basis == basis else f"{text} of {ratio.basis}"


def _figure_rows(results: Results, peers: Sequence[str]) -> Iterable[Row]:
    for figure in FIGURES:
        spreads = [results.spread(figure.measurement, peer, figure.name) for peer in peers]
        if any(spreads):
            cells = [_spread_cell(spread, figure.scale, figure.digits) if spread else "-" for spread in spreads]
            yield (figure.title, *cells)


def _spread_cell(spread: Spread, scale: float, digits: int) -> str:
    median, least, most = (f"{value * scale:,.{digits}f}" for value in (spread.median, spread.least, spread.most))
    return f"{median} ({least}-{most})"


def _table(columns: Row, rows: Iterable[Row]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "·") for cell in line) + " |\n" for line in lines)
