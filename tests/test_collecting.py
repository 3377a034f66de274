"""Collections: none while the worker serves, one after another while a flood of questions ends."""

import gc
from collections.abc import Iterator

import pytest

from forwarder.collecting import FLOOD, Floods, settle
from tests.lab.collector import no_collector


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """One entry for each collection that began or ended meanwhile."""
    seen: list[str] = []

    def look(phase: str, _info: dict[str, int]) -> None:
        seen.append(phase)

    with no_collector():
        gc.callbacks.append(look)
        yield seen
        gc.callbacks.remove(look)


def test_what_stands_is_put_aside_and_nothing_is_collected_by_itself() -> None:
    try:
        settle()
        assert not gc.isenabled()
        assert gc.get_freeze_count() > len(gc.get_objects())
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([0, 100, FLOOD - 1, 0, 0], []),
        ([FLOOD, FLOOD - 1, FLOOD // 2 + 1], []),
        ([FLOOD, FLOOD // 2, FLOOD // 2], [1]),
        ([5000, 5000, 2500, 2400, 1200, 10, 4, 1, 0, 0], [2, 4, 5, 6, 7]),
        ([5000, 0, 0, 5000, 0], [1, 4]),
        ([5000, 2000, 5000, 2400, 1000], [1, 3, 4]),
    ],
)
def test_after_a_flood_whenever_half_of_it_is_over(collections: list[str], held: list[int], expected: list[int]) -> None:
    floods = Floods()
    found = []
    for number, so_many in enumerate(held):
        floods.look(so_many)
        if collections:
            found.append(number)
        collections.clear()
    assert found == expected
