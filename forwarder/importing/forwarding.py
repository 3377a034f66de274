"""CoreDNS's forward, and proxy, which was its name before 1.5: whom to ask, and how.

Always holds: an option or an upstream that has no place in a zone of ours goes to `remark`; an encrypted upstream never becomes
one that is asked in the clear.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from forwarder.importing.addresses import NamelessError, Target, target_of, zones_named
from forwarder.importing.blocks import Directive
from forwarder.importing.remarks import for_option
from forwarder.importing.sources import Place, quoted

Remark = Callable[[Directive, str], None]
"""Says of a directive what becomes of it."""

IN_FILE_ORDER = (
    "the nameservers of the file are asked in its order, a later one after an earlier failed: CoreDNS draws lots,"
    " and policy: equal spreads"
)
MAX_UPSTREAMS = 16
"""Of a zone."""


@dataclass(frozen=True, slots=True)
class Route:
    """One `forward`, read."""

    zone: str
    """At and below which it is asked."""
    upstreams: tuple[str, ...]
    """As a Config holds them; none when none could be carried over."""
    place: Place
    transport: str = "udp"
    ca_file: str | None = None
    policy: str = "ordered"
    exceptions: tuple[str, ...] = ()
    """Zones below it that it is not asked for."""


@dataclass(frozen=True, slots=True)
class _Options:
    """What the braces say."""

    is_tcp: bool = False
    servername: str = ""
    ca_file: str | None = None
    policy: str = ""
    exceptions: tuple[str, ...] = ()


def route_of(directive: Directive, remark: Remark) -> Route | None:
    """Whom this asks; None when it cannot be read. Raises NamelessError."""
    if len(directive.args) < 2:  # noqa: PLR2004 - FROM and TO
        remark(directive, "names nobody to ask, and was not carried over")
        return None
    try:
        zone = zones_named(directive.args[0])[0]
    except ValueError as error:
        remark(directive, f"{error}, and was not carried over")
        return None
    options = _options(directive, remark)
    targets = _targets(directive, options, remark)
    upstreams = tuple(dict.fromkeys(target.upstream for target in targets))
    is_tls = bool(targets) and targets[0].scheme == "tls"
    return Route(
        zone,
        upstreams,
        directive.place,
        transport="tls" if is_tls else "tcp" if options.is_tcp else "udp",
        ca_file=options.ca_file if is_tls else None,
        policy=_policy(directive, upstreams, options, remark),
        exceptions=options.exceptions,
    )


def _targets(directive: Directive, options: _Options, remark: Remark) -> list[Target]:
    """Those upstreams that can be asked in one way; the first one says which."""
    targets = []
    for text in directive.args[1:]:
        try:
            targets.append(target_of(text, options.servername))
        except NamelessError:
            raise
        except ValueError as error:
            remark(directive, f"{error}, and is not asked")
    kept = [target for target in targets if target.scheme == targets[0].scheme][:MAX_UPSTREAMS]
    if len(kept) < len(targets):
        left = quoted([target.upstream for target in targets if target not in kept])
        remark(directive, f"a zone asks all its upstreams in one way, {MAX_UPSTREAMS} at most: {left} left out")
    return kept


def _policy(directive: Directive, upstreams: tuple[str, ...], options: _Options, remark: Remark) -> str:
    """`random`, which is what it is when nothing is written, and `round_robin` spread, as `equal` does."""
    if options.policy == "ordered":
        return "ordered"
    if not options.policy and len(upstreams) == 1:
        if upstreams[0].startswith("/"):
            remark(directive, IN_FILE_ORDER)
        return "ordered"
    return "equal" if len(upstreams) > 1 or options.policy else "ordered"


def _options(directive: Directive, remark: Remark) -> _Options:
    options = _Options()
    for option in directive.options:
        options = _with_option(directive.name, options, option, remark)
    return options


def _with_option(plugin: str, options: _Options, option: Directive, remark: Remark) -> _Options:
    match option.name, option.args:
        case "force_tcp", ():
            return replace(options, is_tcp=True)
        case "prefer_udp", ():
            return options
        case "protocol", ("dns", *rest) if plugin == "proxy" and rest in ([], ["force_tcp"]):
            return replace(options, is_tcp=bool(rest))
        case "tls_servername", (name,):
            return replace(options, servername=name)
        case "policy", ("random" | "round_robin",):
            return replace(options, policy="equal")
        case "policy", ("sequential" | "first",):
            return replace(options, policy="ordered")
        case "tls", args:
            return replace(options, ca_file=_authority(args, option, remark))
        case "except", (_, *_):
            return replace(options, exceptions=(*options.exceptions, *_excepted(option, remark)))
        case _:
            remark(option, for_option(plugin, option.name))
    return options


def _authority(args: tuple[str, ...], option: Directive, remark: Remark) -> str | None:
    """`tls [CERT KEY] [CA]`."""
    if len(args) in {2, 3}:
        remark(option, "upstreams are shown no certificate of a client's")
    if len(args) not in {1, 3}:
        return None
    if not args[-1].startswith("/"):
        remark(option, "the file of certificates (ca_file) needs its whole path, and was not carried over")
        return None
    return args[-1]


def _excepted(option: Directive, remark: Remark) -> tuple[str, ...]:
    names: list[str] = []
    for arg in option.args:
        try:
            names += zones_named(arg)
        except ValueError as error:
            remark(option, f"{error}, and was not carried over")
    return tuple(names)
