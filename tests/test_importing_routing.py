"""Which zones follow from a block; compared with CoreDNS's own choice, name by name."""

from hypothesis import given
from hypothesis import strategies as st

from forwarder.config import is_below
from forwarder.importing.forwarding import Route
from forwarder.importing.routing import is_used, zones_of
from tests.lab.importing import SOMEWHERE


def route(zone: str, *exceptions: str, upstream: str = "192.0.2.1:53") -> Route:
    return Route(zone, (upstream,), SOMEWHERE, exceptions=exceptions)


def test_one_forward_for_all_zones_of_the_block() -> None:
    one = route(".")
    assert zones_of(["a", "b"], [one], lambda _: None) == [("a", one), ("b", one)]


def test_a_forward_for_a_part_makes_a_zone_of_it() -> None:
    part, rest = route("lab.a"), route(".")
    assert zones_of(["a"], [part, rest], lambda _: None) == [("a", rest), ("lab.a", part)]


def test_the_first_one_counts() -> None:
    rest, part = route("."), route("lab.a")
    chosen = zones_of(["a"], [rest, part], lambda _: None)
    assert chosen == [("a", rest)]
    assert (is_used(rest, chosen), is_used(part, chosen)) == (True, False)


def test_an_exception_goes_to_the_next_forward_or_to_nobody() -> None:
    first, second = route(".", "x.a"), route("x.a")
    assert zones_of(["a"], [first, second], lambda _: None) == [("a", first), ("x.a", second)]
    unasked: list[str] = []
    assert zones_of(["a"], [first], unasked.append) == [("a", first)]
    assert unasked == ["x.a"]


names = st.lists(st.sampled_from("abc"), max_size=4).map(lambda labels: ".".join(labels) or ".")
routes_made = st.lists(st.tuples(names, st.lists(names, max_size=2)), max_size=4)


@given(routes_made, names)
def test_the_longest_zone_asks_what_coredns_asks(made: list[tuple[str, list[str]]], name: str) -> None:
    """For names for which CoreDNS asks nobody, it is said of a zone around them."""
    routes = [route(zone, *exceptions, upstream=f"192.0.2.{number}:53") for number, (zone, exceptions) in enumerate(made)]
    wanted = next(
        (one for one in routes if is_below(name, one.zone) and not any(is_below(name, other) for other in one.exceptions)), None
    )
    unasked: list[str] = []
    chosen = dict(zones_of(["."], routes, unasked.append))
    around = [zone for zone in (*chosen, *unasked) if is_below(name, zone)]
    longest = max(around, key=lambda zone: len(zone.strip(".")))
    assert chosen.get(longest) is wanted
