"""CoreDNS's cache: how long an answer may be kept.

What the plugin takes when it is not told: 3600 s for answers, 1800 s for negative ones, nothing stale. Always holds: an option
that is no limit of ours goes to `remark`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from forwarder.config import DAY, HOUR
from forwarder.importing.addresses import seconds_of, zones_named
from forwarder.importing.blocks import Directive
from forwarder.importing.remarks import for_option

Remark = Callable[[Directive, str], None]
"""Says of a directive what becomes of it."""

DEFAULT_TTL, DEFAULT_NEGATIVE_TTL = 3600.0, 1800.0
DEFAULT_CAPACITY = 9984
"""Responses, of each kind: what the manifests write, and what the plugin takes by itself."""
LEAST_TTL, MOST_TTL, MOST_NEGATIVE_TTL = 1.0, 7 * DAY, 3 * HOUR
"""Bounds of max_ttl and max_negative_ttl."""

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds; None is nothing said."""

    max_ttl: float | None = None
    max_negative_ttl: float | None = None
    maximum_stale_timer: float | None = None
    servfail: float | None = None
    """How long a failure is remembered."""


def limits_of(directive: Directive, zones: tuple[str, ...], remark: Remark) -> Limits:
    """What this `cache` says for a block of these zones."""
    args = directive.args
    limits = Limits(DEFAULT_TTL, DEFAULT_NEGATIVE_TTL)
    if args and _NUMBER.fullmatch(args[0]) and int(args[0]) > 0:
        limits = Limits(float(args[0]), float(args[0]))
        args = args[1:]
    if args and not _covers(args, zones):
        remark(directive, "everything is cached that is asked: the limits count for all names of the block")
    for option in directive.options:
        limits = _with_option(limits, option, remark)
    return _within_bounds(limits, directive, remark)


def _covers(args: tuple[str, ...], zones: tuple[str, ...]) -> bool:
    """Whether these are just the zones of the block."""
    try:
        return {zone for arg in args for zone in zones_named(arg)} >= set(zones)
    except ValueError:
        return False


def _with_option(limits: Limits, option: Directive, remark: Remark) -> Limits:
    match option.name:
        case "success" | "denial":
            return _with_capacity(limits, option, remark)
        case "serve_stale":
            return _with_stale(limits, option, remark)
        case "servfail":
            return replace(limits, servfail=_duration(option, remark))
        case "disable":
            return _with_disabled(limits, option, remark)
        case "prefetch" if option.args[:1] == ("0",):
            remark(option, "answers in use are fetched again before they end, unless you write cache.prefetch: false")
        case "prefetch":
            remark(option, "answers in use are fetched again in the last tenth of their life, however often they are asked for")
        case _:
            remark(option, for_option("cache", option.name))
    return limits


def _with_capacity(limits: Limits, option: Directive, remark: Remark) -> Limits:
    """`success CAPACITY [TTL] [MINTTL]`."""
    if not option.args or not all(_NUMBER.fullmatch(arg) for arg in option.args):
        remark(option, "holds something else than numbers, and was not carried over")
        return limits
    capacity, ttl, least = (*(int(arg) for arg in option.args[:3]), 0, 0)[:3]
    if capacity != DEFAULT_CAPACITY:
        remark(option, "the cache is as large as cache.memory says, for all zones: 32MiB hold some 30,000 answers")
    if len(option.args) > 2 and least:  # noqa: PLR2004 - the third is MINTTL
        remark(option, "a short TTL is kept as it is: there is no least one")
    if ttl and option.name == "success":
        return replace(limits, max_ttl=float(ttl))
    return replace(limits, max_negative_ttl=float(ttl)) if ttl else limits


def _with_stale(limits: Limits, option: Directive, remark: Remark) -> Limits:
    """`serve_stale [DURATION] [MODE ...]`."""
    timer = _duration(option, remark) if option.args else HOUR
    if len(option.args) > 1:
        sentence = "the upstream is asked first for answering.client_response_timer, then a stale answer leaves"
        remark(option, f"{sentence} with cache.stale_answer_ttl")
    return replace(limits, maximum_stale_timer=timer)


def _with_disabled(limits: Limits, option: Directive, remark: Remark) -> Limits:
    """`disable success|denial [ZONES...]`."""
    if option.args == ("denial",):
        return replace(limits, max_negative_ttl=0.0)
    if option.args == ("success",):
        remark(option, "everything is cached: 1 s is the least")
        return replace(limits, max_ttl=LEAST_TTL)
    remark(option, "limits count for a whole zone: write zones of their own for these names")
    return limits


def _duration(option: Directive, remark: Remark) -> float | None:
    try:
        return seconds_of(option.args[0] if option.args else "")
    except ValueError as error:
        remark(option, f"{error}, and was not carried over")
        return None


def _within_bounds(limits: Limits, directive: Directive, remark: Remark) -> Limits:
    """Each limit as near as a setting of ours comes to it."""
    most = {"max_ttl": MOST_TTL, "max_negative_ttl": MOST_NEGATIVE_TTL, "maximum_stale_timer": MOST_TTL}
    for name, bound in most.items():
        value = getattr(limits, name)
        if value is not None and value > bound:
            remark(directive, f"{name} is {bound:.0f} s at most, and was cut to that")
            limits = replace(limits, **{name: bound})
        elif value is not None:
            limits = replace(limits, **{name: round(value * 1000) / 1000})
    return limits
