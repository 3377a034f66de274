"""What the daemon shows of itself, read: its answer to `stats`, and the facts that both screens draw from it.

Always holds: figures of a daemon that means something else by them are refused, not shown.
"""

import json

import msgspec

from forwarder.control import asking, protocol
from forwarder.errors import ControlError
from forwarder.inside.words import counted, mebioctets, tame
from forwarder.observe.overview import VERSION, Asked, Moment, Overview, Pace, Upstream, UpstreamPace, Worker

_decoder = msgspec.json.Decoder(Moment)
REQUEST = protocol.Stats(protocol.VERSION)


def moment_in(answer: protocol.Answer) -> Moment:
    """Raises ControlError where it is another answer, or one of another age."""
    shown = asking.of_kind(protocol.Shown, answer)
    try:
        moment = _decoder.decode(shown.moment)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ControlError(f"what answers is no forwarder of this version: {error}") from error
    if moment.overview.version != VERSION:
        raise ControlError(
            f"this daemon shows itself in version {moment.overview.version}, not {VERSION}: "
            "use the command that came with the daemon"
        )
    return moment


def json_in(answer: protocol.Answer) -> str:
    """The same as JSON of printable ASCII alone, whatever its version is. Raises ControlError where it is another answer."""
    return json.dumps(msgspec.json.decode(asking.of_kind(protocol.Shown, answer).moment), separators=(",", ":"))


def upstream_state(upstream: Upstream) -> str:
    """In a word."""
    if not upstream.is_asked:
        return "left"
    if upstream.is_looped:
        return "loop"
    return "up" if upstream.is_up else "down"


def worker_state(worker: Worker) -> str:
    """One worker in some words."""
    pid = "" if worker.pid is None else f" (pid {worker.pid})"
    restarts = f", restarts: {worker.restarts}" if worker.restarts else ""
    return f"{worker.number} {tame(worker.state)}{pid}{restarts}"


def cache_state(overview: Overview) -> str:
    """What is remembered, in a line."""
    cache = overview.cache
    kinds = ", ".join(f"{tame(kind)} {counted(count)}" for kind, count in cache.entries.items())
    return f"{mebioctets(cache.octets)} of {mebioctets(cache.max_octets)}; {kinds}; evicted: {counted(cache.evictions)}"


def name_lists(overview: Overview) -> dict[str, list[Asked]]:
    """The lists of names that there are, by what they are of; none where nobody looks at names."""
    names = overview.names
    if names is None:
        return {}
    lists = {"asked for": names.top, "failing": names.failing, "denied": names.denied}
    return {title: found for title, found in lists.items() if found}


def upstream_paces(pace: Pace | None) -> dict[str, UpstreamPace]:
    """What each upstream did lately, by its name."""
    return {} if pace is None else {one.name: one for one in pace.upstreams}
