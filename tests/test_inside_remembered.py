"""What a worker wrote, read by the command: each answer with what it says, how old it is and how long it is good for."""

import dns.message
import pytest

from forwarder.cache.snapshot import Conditions
from forwarder.errors import SnapshotError
from forwarder.inside.remembered import Entry, memory_in
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Kind
from tests.lab.messages import raw_record
from tests.test_cache_snapshot import (
    LIMITS,
    MOMENT,
    NOW,
    ROOT_ALONE,
    cache_of,
    denial,
    key_of,
    made_up,
    positive,
    said,
    written,
)

ALIASED = said("www.test.", "www.test. 300 IN CNAME a.web.other.", "a.web.other. 60 IN A 192.0.2.1")


def entries(octets: bytes) -> list[Entry]:
    return list(memory_in(octets).entries())


def test_each_answer_with_its_question_and_its_age() -> None:
    cache = cache_of(("a.test.", positive("a.test.")), ("no.test.", denial("no.test.")))
    octets = written(cache, now=NOW + 10.5)
    memory = memory_in(octets)
    first, second = memory.entries()
    assert (memory.count, memory.written) == (2, MOMENT.wall / 1000)
    assert (first.name, first.qtype, first.flags, first.zone) == (name_from_text("a.test."), 1, [], b"\0")
    assert (first.response.kind, first.is_negative, first.age, first.left) == (Kind.POSITIVE, False, 10.5, 289.5)
    assert (second.response.kind, second.is_negative, second.left) == (Kind.NXDOMAIN, True, 39.5)


def test_one_whose_life_is_over_has_less_than_nothing_left() -> None:
    (entry,) = entries(written(cache_of(("a.test.", positive("a.test."))), now=NOW + 303))
    assert entry.left == -3


def test_the_zones_limit_is_in_it() -> None:
    (entry,) = entries(written(cache_of(("a.test.", positive("a.test.", 100_000)))))
    assert entry.left == LIMITS.max_ttl


def test_it_knows_its_zone() -> None:
    zones = {**ROOT_ALONE, b"\4test\0": Conditions(LIMITS, trust_ad=False)}
    (entry,) = entries(written(cache_of(("a.test.", positive("a.test."))), zones))
    assert entry.zone == b"\4test\0"


def test_do_and_cd_are_part_of_the_question() -> None:
    cache = cache_of()
    cache.put(key_of("a.test.", b"\3"), positive("a.test."), LIMITS, NOW)
    (entry,) = entries(written(cache))
    assert entry.flags == ["DO", "CD"]


@pytest.mark.parametrize(
    ("suffix", "concerns"),
    [
        (".", True),
        ("test", True),
        ("www.test", True),
        ("a.web.other", True),
        ("other", True),
        ("b.other", False),
        ("t", False),
    ],
)
def test_what_it_is_about(suffix: str, concerns: bool) -> None:  # noqa: FBT001 - what is expected
    (entry,) = entries(written(cache_of(("www.test.", ALIASED))))
    assert entry.concerns(name_from_text(suffix)) == concerns


@pytest.mark.parametrize(
    ("octets", "said_of_it"),
    [
        (b"", "is empty"),
        (b"hello", "is no snapshot"),
        (written(cache_of())[:-1], "cut off"),
        (written(cache_of()) + b"x", "more octets"),
        (written(cache_of(("a.test.", positive("a.test."))))[:-1] + b"x", "checksum"),
    ],
)
def test_what_is_no_memory_of_a_worker(octets: bytes, said_of_it: str) -> None:
    with pytest.raises(SnapshotError, match=said_of_it):
        memory_in(octets)


def test_a_record_that_no_upstream_could_have_brought_is_passed_over() -> None:
    assert entries(made_up(key_of("a.test."), b"no message")) == []


def test_a_record_whose_names_do_not_fit_is_passed_over() -> None:
    """A pointer behind itself, in the data of an alias: nobody stumbles over it when it is put into words."""
    message = bytearray(dns.message.make_response(dns.message.make_query("a.test.", "A")).to_wire())
    message[7] = 1
    octets = bytes(message) + raw_record(b"\xc0\x0c", 33, b"\0\1\0\1\0\1\xc0\xff")
    assert entries(made_up(key_of("a.test."), octets)) == []
