"""Message IDs and spellings: drawn from the system's generator, each octet once, nothing changed but the case of letters."""

import secrets
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.unpredictable import POOL, Unpredictable
from forwarder.wire.names import name_from_text

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=3)
"""Any octets at all: labels are 8 bits clean (RFC 2181 section 11)."""


def wire_name(labels: list[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels).lower() + b"\0"


class Generator:
    """Stands where the system's generator stands, and writes down what it gave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[bytes] = []
        self._draw = secrets.token_bytes
        monkeypatch.setattr(secrets, "token_bytes", self._token_bytes)

    def _token_bytes(self, size: int) -> bytes:
        self.given.append(self._draw(size))
        return self.given[-1]


def ids_in(octets: bytes) -> Counter[int]:
    return Counter(int.from_bytes(octets[at : at + 2], sys.byteorder) for at in range(0, len(octets), 2))


class TestMessageId:
    def test_every_id_of_a_pool_is_used_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = Generator(monkeypatch)
        unpredictable = Unpredictable()
        for pool in range(3):
            drawn = Counter(unpredictable.message_id() for _ in range(POOL // 2))
            assert len(generator.given) == pool + 1
            assert drawn == ids_in(generator.given[pool])

    def test_all_sixteen_bits_are_drawn(self) -> None:
        unpredictable = Unpredictable()
        ids = [unpredictable.message_id() for _ in range(4 * POOL)]
        ones = [sum(identity >> bit & 1 for identity in ids) / len(ids) for bit in range(16)]
        assert all(0.45 < share < 0.55 for share in ones)
        assert 0 <= min(ids) <= max(ids) <= 0xFFFF

    def test_two_of_them_share_nothing(self) -> None:
        ours, theirs = Unpredictable(), Unpredictable()
        assert [ours.message_id() for _ in range(32)] != [theirs.message_id() for _ in range(32)]


class TestSpelled:
    @given(LABELS)
    def test_nothing_differs_but_the_case_of_letters(self, labels: list[bytes]) -> None:
        name = wire_name(labels)
        spelled = Unpredictable().spelled(name)
        assert len(spelled) == len(name)
        for plain, octet in zip(name, spelled, strict=True):
            assert octet == plain or (chr(plain).isascii() and chr(plain).islower() and octet == plain - 0x20)

    @given(LABELS)
    def test_length_octets_are_untouched(self, labels: list[bytes]) -> None:
        spelled = Unpredictable().spelled(wire_name(labels))
        position = 0
        for label in labels:
            assert spelled[position] == len(label)
            position += 1 + len(label)
        assert spelled[position:] == b"\0"

    def test_the_root_has_no_case(self) -> None:
        assert Unpredictable().spelled(b"\0") == b"\0"

    def test_a_label_of_sixty_three_letters_keeps_its_length(self) -> None:
        assert Unpredictable().spelled(name_from_text("a" * 63))[0] == 63

    def test_each_letter_is_drawn_by_itself(self) -> None:
        unpredictable = Unpredictable()
        name = name_from_text("abcdefghijklmnop")
        spellings = [unpredictable.spelled(name) for _ in range(1000)]
        for place in range(1, 17):
            capitals = sum(spelled[place] < 0x60 for spelled in spellings)
            assert 350 < capitals < 650
        assert len(set(spellings)) > 950

    def test_every_octet_is_used_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = Generator(monkeypatch)
        unpredictable = Unpredictable()
        name = name_from_text("a" * 63)  # 65 octets: 63 of them in a pool, and 1 octet left over
        fits = POOL // len(name)
        used = b"".join(unpredictable.spelled(name) for _ in range(2 * fits))
        assert len(generator.given) == 2
        expected = b"".join(pool[: fits * len(name)] for pool in generator.given)
        letters = [place for place in range(len(used)) if place % len(name) in range(1, 64)]
        assert [used[place] < 0x60 for place in letters] == [bool(expected[place] & 0x20) for place in letters]

    def test_ids_and_spellings_do_not_draw_from_one_pool(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = Generator(monkeypatch)
        unpredictable = Unpredictable()
        unpredictable.message_id()
        unpredictable.spelled(name_from_text("www.example.com"))
        assert len(generator.given) == 2
