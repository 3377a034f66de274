"""Several snapshots, one behind the other, read by workers that share the names: each answer is one worker's, and only once."""

import os
import struct
from collections.abc import Callable

import pytest

from forwarder import link
from forwarder.cache.snapshot import HEADER_OCTETS
from forwarder.snapshotting import Share, moment_of
from forwarder.steering import worker_for
from tests.test_cache_snapshot import NOW, cache_of, key_of, made_up, positive, resealed, said, written
from tests.test_cache_snapshot_hostile import GOOD
from tests.test_cache_snapshot_hostile import KEY as MADE_UP
from tests.test_snapshotting import Half, known_again, play

EACH = 60
NAMES = [f"n{number}.test." for number in range(3 * EACH)]
SECTIONS = [
    written(cache_of(*((name, positive(name)) for name in NAMES[first : first + EACH]))) for first in (0, EACH, 2 * EACH)
]
"""Three snapshots, of answers to different questions."""
FIRST, SECOND, THIRD = SECTIONS


def just_now(octets: bytes) -> bytes:
    """The same snapshot, written at this moment."""
    moment = moment_of(NOW)
    return resealed(octets[:10] + struct.pack("!QQ", moment.wall, moment.running) + octets[26:])


def keys(half: Half) -> list[bytes]:
    return [answer.key for answer in half.answers.kept()]


def memory_of(*octets: bytes) -> int:
    descriptor = os.memfd_create("snapshot")
    os.pwrite(descriptor, b"".join(octets), 0)
    return descriptor


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_two_sections_read_by_any_number_of_workers(workers: int, seconds: float) -> None:
    """Each answer is with the worker that the kernel will give its name to, and with no other."""

    async def scene(memory: int) -> None:
        size = os.pwrite(memory, just_now(FIRST) + just_now(SECOND), 0)
        restored = 0
        for number in range(workers):
            half = Half(memory, share=Share(number, workers))
            report = await half.read(size, seconds=seconds)
            assert isinstance(report, link.SnapshotRead)
            mine = [key_of(name) for name in NAMES[: 2 * EACH] if worker_for(key_of(name)[:-5], workers) == number]
            assert mine, "each has some"
            assert report == known_again(len(mine))
            assert keys(half) == mine
            restored += report.answers
        assert restored == 2 * EACH

    play(scene)


@pytest.mark.parametrize("workers", [1, 2])
def test_sections_in_memories_of_their_own(workers: int) -> None:
    """As the workers of the former generation left them."""

    async def scene(_: int) -> None:
        parts = [link.Part(memory_of(just_now(section)), len(section)) for section in SECTIONS]
        halves = [Half(parts[0].memory, share=Share(number, workers)) for number in range(workers)]
        for half in halves:
            half.snapshots.read(link.Restore(parts, 7), 0.0, half.link)
            await half.report()
            assert half.times_read == 1
        assert sorted(key for half in halves for key in keys(half)) == sorted(map(key_of, NAMES))
        for part in parts:
            os.close(part.memory)

    play(scene)


Spoilt = Callable[[bytes], bytes]


def damaged(place: int) -> Spoilt:
    """One bit of this octet is another."""
    return lambda octets: octets[:place] + bytes((octets[place] ^ 0x10,)) + octets[place + 1 :]


def cut(size: int) -> Spoilt:
    return lambda octets: octets[:size]


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (damaged(len(SECOND) - 1), "is damaged: its checksum is wrong"),
        (damaged(HEADER_OCTETS), "is damaged: its checksum is wrong"),
        (damaged(0), "is no snapshot of a cache"),
        (cut(len(SECOND) - 1), f"has {len(SECOND) - 1} octets where {len(SECOND)} were written"),
        (cut(HEADER_OCTETS + 1), f"has {HEADER_OCTETS + 1} octets where {len(SECOND)} were written"),
        (cut(HEADER_OCTETS - 1), "is cut off in its header"),
        (cut(1), "is cut off in its header"),
        (lambda _: b"\0", "is no snapshot of a cache"),
    ],
    ids=["last octet", "first octet", "magic", "an octet short", "one octet of it", "half a header", "a start", "a zero"],
)
def test_a_second_section_that_is_wrong_leaves_the_first_in_use_and_is_said(second: Spoilt, problem: str) -> None:
    async def scene(memory: int) -> None:
        size = os.pwrite(memory, just_now(FIRST) + second(just_now(SECOND)), 0)
        half = Half(memory)
        assert await half.read(size) == known_again(EACH, problem)
        assert keys(half) == [key_of(name) for name in NAMES[:EACH]]
        assert half.times_read == 1

    play(scene)


def test_a_part_that_is_wrong_leaves_the_others_in_use_and_the_first_problem_is_said() -> None:
    async def scene(_: int) -> None:
        second = just_now(SECOND)
        contents = (just_now(FIRST), damaged(HEADER_OCTETS)(second), damaged(0)(second), just_now(THIRD))
        parts = [link.Part(memory_of(octets), len(octets)) for octets in contents]
        half = Half(parts[0].memory)
        half.snapshots.read(link.Restore(parts, 7), 100.0, half.link)
        assert await half.report() == known_again(2 * EACH, "is damaged: its checksum is wrong")
        assert keys(half) == [key_of(name) for name in NAMES[:EACH] + NAMES[2 * EACH :]]
        for part in parts:
            os.close(part.memory)

    play(scene)


def test_no_parts_and_an_empty_one() -> None:
    async def scene(memory: int) -> None:
        assert await Half(memory).read() == known_again(0)
        half = Half(memory)
        assert await half.read(0) == known_again(0, "is empty")
        assert half.times_read == 0

    play(scene)


def test_of_the_same_question_in_two_sections_the_first_is_kept() -> None:
    """A name that was asked of another worker once, over TCP, is in two of them."""

    async def scene(memory: int) -> None:
        again = written(cache_of(("n0.test.", said("n0.test.", "n0.test. 300 IN A 192.0.2.9"))))
        size = os.pwrite(memory, just_now(FIRST) + just_now(again), 0)
        half = Half(memory)
        assert await half.read(size) == known_again(EACH)
        assert len(half.answers) == EACH
        kept = half.answers.fresh(key_of("n0.test."), NOW + 60)
        assert kept is not None
        assert kept.response.message.endswith(b"\xc0\0\2\1"), "of the first"

    play(scene)


@pytest.mark.parametrize("number", [0, 1])
def test_a_key_that_is_no_name_is_nobodys(number: int) -> None:
    """Longer than a name may be, or without an end: no worker trips over whose it is."""

    async def scene(memory: int) -> None:
        position = 0
        for key in (b"\4test" * 99 + b"\0" + MADE_UP[-5:], b"\4test" * 99 + MADE_UP[-5:], b"", MADE_UP):
            position += os.pwrite(memory, just_now(made_up(key, GOOD, place=9 if key == MADE_UP else 0)), position)
        half = Half(memory, share=Share(number, 2))
        owner = worker_for(MADE_UP[:-5], 2)
        assert await half.read(position) == known_again(int(number == owner))

    play(scene)
