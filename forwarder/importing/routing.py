"""Which zones follow from a server block with its forwards.

CoreDNS takes the block with the longest zone, and in it the first forward that the name is below and not excepted from; the
zones here are those names at which that choice changes. Pure. Always holds: the zone with the longest suffix asks what CoreDNS
asks, and a name for which CoreDNS asks nobody is in `unasked`.
"""

from collections.abc import Callable, Sequence

from forwarder.config import is_below
from forwarder.importing.forwarding import Route

Chosen = tuple[str, Route]
"""A zone and whom it asks."""


def zones_of(zones: Sequence[str], routes: Sequence[Route], unasked: Callable[[str], None]) -> list[Chosen]:
    """The zones of a block and those within them; `unasked` is told of names for which nobody is asked."""
    inner = [name for route in routes for name in (route.zone, *route.exceptions)]
    names = dict.fromkeys((*zones, *(name for name in inner if any(is_below(name, zone) for zone in zones))))
    choice = {name: _first(name, routes) for name in names}
    found: list[Chosen] = []
    for name, route in choice.items():
        if route is None:
            unasked(name)
        elif name in zones or choice[_above(name, names)] is not route:
            found.append((name, route))
    return found


def is_used(route: Route, chosen: Sequence[Chosen]) -> bool:
    """Whether any name is asked there."""
    return any(one is route for _, one in chosen)


def _first(name: str, routes: Sequence[Route]) -> Route | None:
    for route in routes:
        if is_below(name, route.zone) and not any(is_below(name, other) for other in route.exceptions):
            return route
    return None


def _above(name: str, names: dict[str, None]) -> str:
    """The longest of the names that this one is below."""
    return max((other for other in names if other != name and is_below(name, other)), key=lambda other: len(other.strip(".")))
