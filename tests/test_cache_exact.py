"""The exact cache: whole responses by whole queries, in rounds of a second, few spellings of a question, within a budget."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cache.answers import Answer
from forwarder.cache.exact import MAX_SPELLINGS, ROUND, ExactCache
from forwarder.wire.records import parse_response

NOW = 500.0
ROOMY = 1 << 20
SLOT = 42


def answer(ends: float = NOW + 60) -> Answer:
    """One that is good until then."""
    response = parse_response(bytes(5) + b"\1" + bytes(6) + b"\0\0\1\0\1", b"\0", 1, do=False)
    return Answer(b"key", 0, response=response, stored_at=NOW, expires_at=ends)


def query(number: int, identity: bytes = b"\xab\xcd") -> bytes:
    return identity + b"\1\0 query %d" % number


def response(number: int, identity: bytes = b"\xab\xcd") -> bytes:
    return identity + b"\x81\x80 response %d" % number


@pytest.fixture
def exact() -> ExactCache:
    exact = ExactCache(ROOMY)
    exact.begin(NOW)
    return exact


class TestRecall:
    def test_another_id_finds_what_follows_the_id(self, exact: ExactCache) -> None:
        exact.put(query(1), response(1), SLOT, answer())
        known = exact.recall(query(1, b"\x12\x34")[2:])
        assert known is not None
        assert known[:2] == (response(1)[2:], SLOT)

    def test_other_octets_find_nothing(self, exact: ExactCache) -> None:
        exact.put(query(1), response(1), SLOT, answer())
        assert exact.recall(query(2)[2:]) is None
        assert exact.recall(query(1)[2:] + b"\0") is None
        assert exact.recall(query(1)) is None


class TestRounds:
    def test_a_round_lasts_a_second(self, exact: ExactCache) -> None:
        exact.put(query(1), response(1), SLOT, answer())
        exact.begin(NOW + ROUND - 0.001)
        assert exact.recall(query(1)[2:])
        exact.begin(NOW + ROUND)
        assert exact.recall(query(1)[2:]) is None
        assert query(1)[2:] in exact.former
        exact.begin(NOW + 2 * ROUND)
        assert (len(exact), exact.used) == (0, 0)

    def test_after_a_pause_the_last_round_is_forgotten(self, exact: ExactCache) -> None:
        exact.put(query(1), response(1), SLOT, answer())
        exact.begin(NOW + 5 * ROUND)
        assert (len(exact), exact.used) == (0, 0)

    def test_the_next_begins_when_somebody_asks(self, exact: ExactCache) -> None:
        exact.begin(NOW + 10.25)
        assert exact.round_ends == NOW + 10.25 + ROUND

    def test_beginning_within_a_round_changes_nothing(self, exact: ExactCache) -> None:
        exact.begin(NOW + 0.5)
        assert exact.round_ends == NOW + ROUND

    def test_clearing_forgets_and_the_round_goes_on(self, exact: ExactCache) -> None:
        exact.put(query(1), response(1), SLOT, answer())
        exact.clear()
        assert (len(exact), exact.used) == (0, 0)
        assert exact.round_ends == NOW + ROUND


class TestEnds:
    """No response leaves after its TTLs ran out."""

    @pytest.mark.parametrize("ends", [NOW, NOW + 0.001, NOW + ROUND - 0.001])
    def test_an_answer_that_ends_before_the_round_is_refused(self, exact: ExactCache, ends: float) -> None:
        exact.put(query(1), response(1), SLOT, answer(ends))
        assert exact.recall(query(1)[2:]) is None
        assert exact.used == 0

    def test_one_that_ends_with_the_round_is_kept(self, exact: ExactCache) -> None:
        exact.put(query(1), response(1), SLOT, answer(NOW + ROUND))
        assert exact.recall(query(1)[2:])

    @given(st.floats(0, 3, exclude_min=True), st.floats(0, 5), st.integers(1, 3))
    def test_nothing_is_recalled_after_its_end(self, stored_after: float, asked_after: float, ttl: int) -> None:
        exact = ExactCache(ROOMY)
        exact.begin(NOW)
        stored_at = NOW + stored_after
        exact.begin(stored_at)
        exact.put(query(1), response(1), SLOT, answer(stored_at + ttl))
        asked_at = stored_at + asked_after
        exact.begin(asked_at)
        assert exact.recall(query(1)[2:]) is None or asked_at < stored_at + ttl

    def test_ttl_1_is_kept_only_where_the_round_ends_first(self) -> None:
        exact = ExactCache(ROOMY)
        exact.begin(NOW)
        exact.put(query(1), response(1), SLOT, answer(NOW + 0.25 + 1))
        exact.put(query(2), response(2), SLOT, answer(NOW - 0.25 + 1))
        assert exact.recall(query(1)[2:])
        assert exact.recall(query(2)[2:]) is None


def addressed(*addresses: bytes, ttl: int = 60) -> tuple[bytes, Answer]:
    """A response with these addresses, and the answer it was made of."""
    question = b"\1q\0\0\1\0\1"
    records = b"".join(b"\xc0\x0c\0\1\0\1" + ttl.to_bytes(4) + b"\0\4" + address for address in addresses)
    message = b"\xab\xcd\x81\x80" + struct.pack("!4H", 1, len(addresses), 0, 0) + question + records
    response = parse_response(message, b"\1q\0", 1, do=False)
    return message, Answer(b"key", 0, response=response, stored_at=NOW, expires_at=NOW + ttl)


class TestRenewed:
    def test_its_ttls_have_counted_down(self, exact: ExactCache) -> None:
        message, one = addressed(b"aaaa")
        exact.put(query(1), message, SLOT, one)
        for rounds in range(1, 4):
            exact.begin(NOW + rounds * ROUND)
            known = exact.renew(query(1)[2:], NOW + rounds * ROUND + 0.5)
            assert known is not None
            assert exact.recall(query(1)[2:]) is known
            assert known[:2] == (message[2:-10] + (60 - rounds).to_bytes(4) + message[-6:], SLOT)

    def test_its_addresses_have_moved_on_by_one(self, exact: ExactCache) -> None:
        message, one = addressed(b"aaaa", b"bbbb", b"cccc")
        exact.put(query(1), message, SLOT, one)
        seen = []
        for rounds in range(1, 4):
            exact.begin(NOW + rounds * ROUND)
            known = exact.renew(query(1)[2:], NOW + rounds * ROUND)
            assert known is not None
            seen.append([(known[0] + b".")[place - 1 : place + 3] for place in (-36, -20, -4)])
        assert seen == [[b"cccc", b"aaaa", b"bbbb"], [b"bbbb", b"cccc", b"aaaa"], [b"aaaa", b"bbbb", b"cccc"]]

    def test_it_counts_as_asked_for(self, exact: ExactCache) -> None:
        message, one = addressed(b"aaaa")
        exact.put(query(1), message, SLOT, one)
        exact.begin(NOW + ROUND)
        assert not one.visited
        exact.renew(query(1)[2:], NOW + ROUND)
        assert one.visited

    def test_not_when_its_answer_ends_within_the_round(self, exact: ExactCache) -> None:
        message, one = addressed(b"aaaa", ttl=1)
        one.expires_at = NOW + ROUND + 0.5
        exact.put(query(1), message, SLOT, one)
        exact.begin(NOW + ROUND)
        assert exact.renew(query(1)[2:], NOW + ROUND) is None
        assert exact.recall(query(1)[2:]) is None

    def test_not_beyond_the_spellings_of_its_question(self, exact: ExactCache) -> None:
        message, one = addressed(b"aaaa")
        exact.put(query(1), message, SLOT, one)
        exact.begin(NOW + ROUND)
        for number in range(10, 10 + MAX_SPELLINGS):
            exact.put(query(number), message, SLOT, one)
        assert exact.renew(query(1)[2:], NOW + ROUND) is None

    def test_not_beyond_the_budget(self) -> None:
        exact = ExactCache(2400)
        exact.begin(NOW)
        for number in range(2):
            exact.put(query(number), addressed(b"aaaa")[0], SLOT, addressed(b"aaaa")[1])
        exact.begin(NOW + ROUND)
        exact.put(query(7), addressed(b"aaaa")[0], SLOT, addressed(b"aaaa")[1])
        assert exact.renew(query(0)[2:], NOW + ROUND) is not None
        assert exact.renew(query(1)[2:], NOW + ROUND) is None
        assert exact.used <= 2400


class TestEnding:
    def test_what_is_renewed_in_the_last_part_of_its_life_is_noted(self, exact: ExactCache) -> None:
        message, one = addressed(b"aaaa", ttl=20)
        exact.put(query(1), message, SLOT, one)
        noted = []
        for rounds in range(1, 20):
            exact.begin(NOW + rounds * ROUND)
            exact.renew(query(1)[2:], NOW + rounds * ROUND)
            noted.append(list(exact.ending))
            exact.ending.clear()
        assert noted == [[]] * 17 + [[one]] * 2

    def test_not_when_its_successor_was_asked_for(self, exact: ExactCache) -> None:
        message, one = addressed(b"aaaa", ttl=20)
        exact.put(query(1), message, SLOT, one)
        one.is_asked_ahead = True
        one.stored_at = NOW - 18
        exact.begin(NOW + ROUND)
        assert exact.renew(query(1)[2:], NOW + ROUND) is not None
        assert exact.ending == []


class TestSpellings:
    def test_a_few_of_one_question_are_kept_and_no_more(self, exact: ExactCache) -> None:
        one = answer()
        for number in range(10):
            exact.put(query(number), response(number), SLOT, one)
        assert len(exact) == MAX_SPELLINGS == 4
        assert all(exact.recall(query(number)[2:]) for number in range(4))

    def test_another_question_has_room_of_its_own(self, exact: ExactCache) -> None:
        one, other = answer(), answer()
        for number in range(10):
            exact.put(query(number), response(number), SLOT, one)
        exact.put(query(10), response(10), SLOT, other)
        assert exact.recall(query(10)[2:])

    def test_the_next_round_has_room_again(self, exact: ExactCache) -> None:
        one = answer()
        for number in range(10):
            exact.put(query(number), response(number), SLOT, one)
        exact.begin(NOW + ROUND)
        for number in range(10, 20):
            exact.put(query(number), response(number), SLOT, one)
        assert sum(exact.recall(query(number)[2:]) is not None for number in range(10, 20)) == 4
        assert exact.recall(query(10)[2:])

    def test_a_refused_one_takes_no_room(self, exact: ExactCache) -> None:
        ending = answer(NOW + 0.5)
        for number in range(10):
            exact.put(query(number), response(number), SLOT, ending)
        ending.expires_at = NOW + 60
        exact.put(query(10), response(10), SLOT, ending)
        assert exact.recall(query(10)[2:])


class TestBudget:
    @given(st.lists(st.tuples(st.integers(12, 300), st.integers(12, 4096)), max_size=60), st.integers(0, 20_000))
    def test_never_exceeded_and_at_least_what_is_held(self, sizes: list[tuple[int, int]], budget: int) -> None:
        exact = ExactCache(budget)
        exact.begin(NOW)
        held = 0
        for number, (asked, said) in enumerate(sizes):
            octets = b"%02d" % number * asked
            exact.put(octets[:asked], bytes(said), SLOT, answer())
            kept = exact.recall(octets[2:asked])
            held += asked + said if kept else 0
            assert held <= exact.used <= budget

    def test_one_that_fits_still_goes_in_after_one_that_did_not(self) -> None:
        exact = ExactCache(2000)
        exact.begin(NOW)
        exact.put(query(1), bytes(1000), SLOT, answer())
        assert len(exact) == 0
        exact.put(query(2), response(2), SLOT, answer())
        assert len(exact) == 1

    def test_a_new_round_has_all_of_it(self) -> None:
        exact = ExactCache(1400)
        exact.begin(NOW)
        exact.put(query(1), response(1), SLOT, answer())
        exact.put(query(2), response(2), SLOT, answer())
        assert len(exact) == 1
        exact.begin(NOW + ROUND)
        exact.put(query(2), response(2), SLOT, answer())
        assert exact.recall(query(2)[2:])

    def test_without_any_nothing_is_kept(self) -> None:
        exact = ExactCache(0)
        exact.begin(NOW)
        exact.put(query(1), response(1), SLOT, answer())
        assert (len(exact), exact.used) == (0, 0)
