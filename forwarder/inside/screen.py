"""What `forwarder stats` prints: the daemon at one moment, on a screen of text.

Pure. Always holds: plain text of printable characters, without colours and without a width that it depends on.
"""

from collections.abc import Iterable, Iterator, Mapping

from forwarder.inside.seen import cache_state, name_lists, upstream_paces, upstream_state, worker_state
from forwarder.inside.words import NOTHING, counted, duration, rate, ratio, span, tame
from forwarder.observe.overview import Asked, Moment, Overview, Pace, UpstreamPace, hit_ratio, percentiles, together

LISTED = 10
"""Names of each list that are shown."""


def text_for(moment: Moment) -> str:
    """All of it."""
    now, pace = moment.overview, moment.pace
    blocks = [
        [f"forwarder {tame(now.release)}, up {span(now.at - now.started)}, {'serving' if now.ready else 'not serving'}"],
        _totals(now, pace),
        _times(now, pace),
        _sources(now, pace),
        _upstreams(now, upstream_paces(pace)),
        _rest(now),
        _names(now),
        ["warnings", *(f"  {tame(warning)}" for warning in now.warnings)] if now.warnings else [],
    ]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in map(list, blocks) if block)


def _totals(now: Overview, pace: Pace | None) -> Iterator[str]:
    yield f"{'':12}{'now':>12}{'in all':>18}"
    lately = (NOTHING, NOTHING, NOTHING)
    if pace is not None:
        lately = (rate(pace.queries), ratio(pace.hit_ratio), rate(pace.denied_from_memory))
    in_all = (counted(sum(now.sources.values())), ratio(hit_ratio(now.sources)), counted(now.denied_from_memory))
    remarks = ("", "answered without an upstream", "NXDOMAIN among these")
    for line in zip(("queries", "hit ratio", "saved"), lately, in_all, remarks, strict=True):
        yield "{:12}{:>12}{:>18}  {}".format(*line)


def _times(now: Overview, pace: Pace | None) -> Iterator[str]:
    yield f"{'answered in':24}{'p50':>10}{'p90':>10}{'p99':>10}"
    if pace is not None:
        yield _row("now, all", pace.percentiles)
        yield _row("now, from memory", pace.hit_percentiles)
    yield _row("in all", percentiles(together(now.times.values())))


def _row(name: str, found: Mapping[str, float | None]) -> str:
    return f"  {name:22}" + "".join(f"{duration(seconds):>10}" for seconds in found.values())


def _sources(now: Overview, pace: Pace | None) -> Iterator[str]:
    total = sum(now.sources.values())
    yield f"{'answers from':14}{'now':>10}{'in all':>18}{'share':>10}"
    for source, count in now.sources.items():
        lately = NOTHING if pace is None else rate(pace.sources.get(source, 0.0))
        yield f"  {tame(source):12}{lately:>10}{counted(count):>18}{ratio(count / total if total else None):>10}"


def _upstreams(now: Overview, paces: Mapping[str, UpstreamPace]) -> Iterator[str]:
    yield f"{'upstream':32}{'state':>6}{'queries':>10}{'failures':>10}{'p50':>9}{'p99':>9}"
    for upstream in now.upstreams:
        name, state = tame(upstream.name), upstream_state(upstream)
        pace = paces.get(upstream.name)
        queries = NOTHING if pace is None else rate(pace.queries)
        failures = NOTHING if pace is None else rate(pace.failures)
        lately = percentiles(upstream.times)
        yield (f"  {name:30}{state:>6}{queries:>10}{failures:>10}{duration(lately['p50']):>9}{duration(lately['p99']):>9}")


def _rest(now: Overview) -> Iterator[str]:
    yield f"workers    {'; '.join(map(worker_state, now.workers))}"
    yield f"cache      {cache_state(now)}"
    if now.conntrack is not None:
        table, bound = now.conntrack, now.conntrack.max_entries
        entries = f"{counted(table.entries)} of {counted(bound)}" if bound else counted(table.entries)
        yield f"conntrack  {entries} connections; refused: {counted(table.insert_failed)}; dropped: {counted(table.drop)}"


def _names(now: Overview) -> Iterator[str]:
    for title, names in name_lists(now).items():
        yield f"names {title} (share)"
        yield from _listed(names[:LISTED])


def _listed(names: Iterable[Asked]) -> Iterator[str]:
    for asked in names:
        yield f"  {ratio(asked.share):>8}  {tame(asked.name)}"
