"""The bounded mapping against SIEVE as its authors describe it, written as a plain list; its budget; what leaves is freed."""

import weakref
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cache.bounded import Bounded, Entry
from tests.lab.collector import no_collector

BUDGET = 100


class Named(Entry, weakref=True, eq=False, gc=True):
    """An entry that can be watched as it goes."""


class Departures(dict[bytes, Named]):
    """Entries by key; writes down who leaves."""

    def __init__(self, removed: list[bytes]) -> None:
        super().__init__()
        self._removed = removed

    def __delitem__(self, key: bytes) -> None:
        self._removed.append(key)
        super().__delitem__(key)


class Recorded(Bounded[Named]):
    """A bounded mapping with such entries."""

    def __init__(self, budget: int, removed: list[bytes]) -> None:
        super().__init__(budget)
        self.entries = Departures(removed)


class Watched:
    """A bounded mapping that writes down who leaves."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.removed: list[bytes] = []
        self.entries: Bounded[Named] = Recorded(budget, self.removed)

    def put(self, key: str, size: int = 10) -> bool:
        return self.entries.put(Named(key.encode(), size))

    def holds(self, key: str) -> bool:
        return self.entries.entries.get(key.encode()) is not None

    def ask(self, key: str) -> bool:
        return mark(self.entries, key.encode())


def mark(entries: Bounded[Named], key: bytes) -> bool:
    """What whoever looks an entry up does."""
    entry = entries.entries.get(key)
    if entry is not None:
        entry.visited = True
    return entry is not None


@dataclass
class Modelled:
    key: bytes
    size: int
    visited: bool = False


class Sieve:
    """SIEVE over a list, oldest first: the hand is an index into it, and None at the start and after the newest."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.entries: list[Modelled] = []
        self.hand: int | None = None
        self.removed: list[bytes] = []
        self.evictions = 0

    @property
    def used(self) -> int:
        return sum(entry.size for entry in self.entries)

    def place(self, key: bytes) -> int | None:
        return next((place for place, entry in enumerate(self.entries) if entry.key == key), None)

    def get(self, key: bytes) -> None:
        place = self.place(key)
        if place is not None:
            self.entries[place].visited = True

    def put(self, key: bytes, size: int) -> bool:
        new = Modelled(key, size)
        place = self.place(key)
        if place is not None:
            new.visited = self.entries[place].visited
            self.remove(place)
        if size > self.budget:
            return False
        while self.used + size > self.budget:
            hand = self.hand or 0
            while self.entries[hand].visited:
                self.entries[hand].visited = False
                hand = (hand + 1) % len(self.entries)
            self.hand = hand
            self.remove(hand)
            self.evictions += 1
        self.entries.append(new)
        return True

    def remove(self, place: int) -> None:
        self.removed.append(self.entries.pop(place).key)
        if self.hand is not None and place < self.hand:
            self.hand -= 1
        if self.hand == len(self.entries):
            self.hand = None

    def clear(self) -> None:
        while self.entries:
            self.remove(0)


KEYS = st.integers(0, 11).map(lambda number: b"%d" % number)
EVENTS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.sampled_from([1, 9, 10, 11, 30, 60, 100, 101, 500])),
    st.tuples(st.just("put"), KEYS, st.just(10)),
    st.tuples(st.just("get"), KEYS, st.just(0)),
    st.tuples(st.just("get"), KEYS, st.just(0)),
    st.tuples(st.just("remove"), KEYS, st.just(0)),
    st.tuples(st.just("clear"), st.just(b""), st.just(0)),
)


@given(st.lists(EVENTS, max_size=120))
def test_it_is_sieve(events: list[tuple[str, bytes, int]]) -> None:
    watched, model = Watched(), Sieve(BUDGET)
    entries = watched.entries
    for event, key, size in events:
        match event:
            case "put":
                assert entries.put(Named(key, size)) == model.put(key, size)
                assert entries.used <= BUDGET
            case "get":
                mark(entries, key)
                model.get(key)
            case "remove":
                known, place = entries.entries.get(key), model.place(key)
                assert (known is None) == (place is None)
                if known is not None and place is not None:
                    entries.remove(known)
                    model.remove(place)
            case _:
                entries.clear()
                model.clear()
        assert watched.removed == model.removed
        assert (len(entries), entries.used, entries.evictions) == (len(model.entries), model.used, model.evictions)
        assert {entry.key for entry in model.entries} == {
            key for key in map(b"%d".__mod__, range(12)) if entries.entries.get(key)
        }


@given(st.lists(EVENTS, max_size=60))
def test_what_leaves_is_freed_at_once(events: list[tuple[str, bytes, int]]) -> None:
    watched = Watched()
    living: weakref.WeakSet[Named] = weakref.WeakSet()
    with no_collector():
        for event, key, size in events:
            known = watched.entries.entries.get(key)
            if event == "put":
                del known
                new = Named(key, size)
                living.add(new)
                watched.entries.put(new)
                del new
            elif event == "remove" and known is not None:
                watched.entries.remove(known)
                del known
            elif event == "clear":
                watched.entries.clear()
            assert len(living) == len(watched.entries)


def test_one_that_left_and_is_still_held_holds_nobody_else() -> None:
    watched = Watched(30)
    kept = [Named(b"%d" % number, 10) for number in range(3)]
    others = weakref.WeakSet([kept[0], kept[2]])
    with no_collector():
        for entry in kept:
            watched.entries.put(entry)
        watched.entries.remove(kept[1])
        del kept[0], kept[1], entry
        watched.entries.clear()
        assert len(others) == 0
        assert [entry.key for entry in kept] == [b"1"]


class TestBudget:
    def test_everything_fits_that_adds_up_to_it(self) -> None:
        watched = Watched(30)
        assert all(watched.put(key) for key in "abc")
        assert (watched.entries.used, watched.entries.evictions) == (30, 0)

    def test_one_octet_more_costs_the_oldest(self) -> None:
        watched = Watched(30)
        for key in "abc":
            watched.put(key)
        assert watched.put("d", 1)
        assert watched.removed == [b"a"]
        assert watched.entries.used == 21

    def test_as_many_go_as_must(self) -> None:
        watched = Watched(30)
        for key in "abc":
            watched.put(key)
        assert watched.put("d", 25)
        assert watched.removed == [b"a", b"b", b"c"]
        assert watched.entries.used == 25

    def test_one_larger_than_all_of_it_is_refused_and_costs_nobody_else(self) -> None:
        watched = Watched(30)
        watched.put("a")
        assert not watched.put("b", 31)
        assert watched.holds("a")
        assert not watched.holds("b")
        assert (watched.entries.used, watched.entries.evictions) == (10, 0)

    def test_what_a_refused_one_would_have_replaced_is_gone(self) -> None:
        watched = Watched(30)
        watched.put("a")
        assert not watched.put("a", 31)
        assert not watched.holds("a")
        assert watched.entries.used == 0

    def test_without_any_nothing_is_kept(self) -> None:
        watched = Watched(0)
        assert not watched.put("a")
        assert len(watched.entries) == 0

    def test_a_replaced_entry_is_not_counted_twice(self) -> None:
        watched = Watched(30)
        for size in (10, 20, 5):
            watched.put("a", size)
        assert (len(watched.entries), watched.entries.used) == (1, 5)
        assert watched.removed == [b"a", b"a"]

    def test_replacing_removing_and_clearing_evict_nobody(self) -> None:
        watched = Watched(30)
        watched.put("a")
        watched.put("a")
        entry = watched.entries.entries.get(b"a")
        assert entry is not None
        watched.entries.remove(entry)
        watched.put("b")
        watched.entries.clear()
        assert watched.entries.evictions == 0
        assert watched.removed == [b"a", b"a", b"b"]


class TestSieve:
    def test_the_first_that_nobody_asked_for_goes(self) -> None:
        watched = Watched(30)
        for key in "abc":
            watched.put(key)
        watched.ask("a")
        watched.put("d")
        assert watched.removed == [b"b"]

    def test_looking_without_asking_spares_nobody(self) -> None:
        watched = Watched(30)
        for key in "abc":
            watched.put(key)
        assert watched.holds("a")
        watched.put("d")
        assert watched.removed == [b"a"]

    def test_when_all_were_asked_for_the_oldest_goes(self) -> None:
        watched = Watched(30)
        for key in "abc":
            watched.put(key)
            watched.ask(key)
        watched.put("d")
        assert watched.removed == [b"a"]

    def test_asking_spares_once(self) -> None:
        watched = Watched(30)
        for key in "abc":
            watched.put(key)
        watched.ask("a")
        watched.put("d")  # the hand unmarks a, takes b and stands at c
        watched.put("e")  # takes c, stands at d
        watched.ask("d")
        watched.put("f")  # unmarks d, takes e, the newest: next time it starts from the oldest
        watched.put("g")
        assert watched.removed == [b"b", b"c", b"e", b"a"]

    def test_an_answer_learnt_again_keeps_what_was_asked_of_the_former(self) -> None:
        watched = Watched(30)
        for key in "ab":
            watched.put(key)
        watched.ask("a")
        watched.put("a")
        watched.put("c")
        watched.put("d")
        assert watched.removed == [b"a", b"b"]
        watched.put("e")
        assert watched.holds("a")

    @pytest.mark.parametrize("times_asked", [1, 3])
    def test_what_is_asked_for_survives_a_scan_of_names_asked_for_once(self, times_asked: int) -> None:
        """Where least-recently-used would have lost everything after one hundred names."""
        watched = Watched(100 * 10)
        hot = [f"hot {number}" for number in range(50)]
        for key in hot:
            watched.put(key)
        for number in range(50):
            watched.put(f"cold {number}")
        for key in hot * times_asked:
            assert watched.ask(key)
        for number in range(10_000):
            watched.put(f"once {number}")
        assert all(watched.holds(key) for key in hot)
        assert watched.entries.evictions == 10_000

    def test_what_is_not_asked_for_any_more_goes_in_the_end(self) -> None:
        watched = Watched(100 * 10)
        for number in range(100):
            watched.put(f"former {number}")
            watched.ask(f"former {number}")
        for turn in range(300):
            watched.put(f"new {turn}")
            watched.ask(f"new {turn}")
        assert not any(watched.holds(f"former {number}") for number in range(100))
