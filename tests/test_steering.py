"""Steering: the program and the function agree on every name, every datagram ends somewhere, and names are spread evenly."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forwarder.steering import program_for, worker_for
from forwarder.wire.names import name_from_text
from tests.lab import classic_bpf
from tests.lab.messages import names as any_names
from tests.lab.node_names import names as names_of_a_node

OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
COUNTS = (1, 2, 3, 4, 7, 8, 16, 64)
ROOT = b"\0"
LABELS_127 = b"\1a" * 127 + ROOT
OCTETS_255 = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + ROOT

regular_names = any_names.filter(lambda name: 0 not in name[:-1])


@lru_cache
def program(workers: int) -> list[tuple[int, int, int, int]]:
    return classic_bpf.instructions(program_for(workers))


def query(name: bytes, qtype: int = 1, *, edns: bool = False, message_id: int = 0x1234) -> bytes:
    header = struct.pack("!6H", message_id, 0x0120, 1, 0, 0, int(edns))
    return header + name + struct.pack("!HH", qtype, 1) + (OPT if edns else b"")


def chosen(payload: bytes, workers: int) -> int:
    """What the program returns, ended by itself."""
    ended = classic_bpf.run(program(workers), payload)
    assert not ended.failed
    return ended.value


@st.composite
def respelled(draw: st.DrawFn, name: bytes) -> bytes:
    upper = draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    letters = (octet - 32 if up and ord("a") <= octet <= ord("z") else octet for octet, up in zip(name, upper, strict=True))
    return bytes(letters)


def in_wire_form(texts: Iterable[str]) -> Iterator[bytes]:
    return (name_from_text(text) for text in texts)


@given(any_names, st.sampled_from(COUNTS))
@example(ROOT, 4)
@example(LABELS_127, 4)
@example(OCTETS_255, 4)
def test_program_and_function_agree(name: bytes, workers: int) -> None:
    assert chosen(query(name), workers) == worker_for(name, workers) < workers


@given(st.data(), any_names.map(bytes.lower))
def test_one_name_has_one_worker_however_it_is_asked(data: st.DataObject, name: bytes) -> None:
    spelled = data.draw(respelled(name))
    asked = [query(spelled, qtype, edns=edns, message_id=qtype) for qtype in (1, 28, 65, 0xFFFF) for edns in (False, True)]
    assert {chosen(each, 64) for each in asked} == {worker_for(name, 64)} == {worker_for(spelled, 64)}


@given(regular_names.filter(lambda name: len(name) > 1), st.data())
def test_every_octet_counts(name: bytes, data: st.DataObject) -> None:
    """Of 65,536 workers another one has the name that differs in one octet: equal ones are an accident of 1 in 65,536."""
    position = data.draw(st.integers(0, len(name) - 2))
    others = [name[:position] + bytes((octet,)) + name[position + 1 :] for octet in (0x30, 0x31, 0x65, 0x66)]
    assert len({worker_for(other, 65536) for other in others}) >= 3


def test_zero_octet_inside_a_label_ends_what_is_hashed() -> None:
    one, other = b"\3a\0b\3com\0", b"\3a\0c\3net\0"
    assert worker_for(one, 65536) == worker_for(other, 65536) == chosen(query(one), 65536) == chosen(query(other), 65536)


def test_a_name_without_end_is_no_name() -> None:
    with pytest.raises(ValueError, match="not found"):
        worker_for(b"\3www", 4)


@given(st.binary(max_size=600), st.sampled_from(COUNTS))
def test_garbage_ends_in_range(payload: bytes, workers: int) -> None:
    assert classic_bpf.run(program(workers), payload).value < workers


@pytest.mark.parametrize("name", [ROOT, b"\3www\7example\3com\0", LABELS_127, OCTETS_255])
def test_truncated_queries_end_in_range(name: bytes) -> None:
    whole = query(name)
    for size in range(len(whole)):
        ended = classic_bpf.run(program(4), whole[:size])
        assert ended.value in ({0} if ended.failed else range(4))
    assert not classic_bpf.run(program(4), whole).failed


def test_without_an_end_within_256_octets_the_first_worker_has_it() -> None:
    ended = classic_bpf.run(program(4), query(b"\x3f" * 300))
    assert (ended.value, ended.failed) == (0, False)


@pytest.mark.parametrize("workers", COUNTS)
def test_the_kernel_has_room_for_the_program(workers: int) -> None:
    assert len(program(workers)) == 832 < classic_bpf.MOST_INSTRUCTIONS  # `instructions` has looked at every jump


def test_a_usual_name_takes_few_instructions() -> None:
    usual = query(name_from_text("api.example.com.shop.svc.cluster.local"), edns=True)
    assert classic_bpf.run(program(4), usual).executed < 150


SPREAD = {2: 0.1, 3: 0.1, 4: 0.1, 8: 0.15, 16: 0.25, 64: 0.45}
"""Workers -> how far from the mean the fullest and the emptiest may be: four times what chance does to 10,000 names."""
KINDS = {
    "node": names_of_a_node(10_000),
    "numbered": [f"name{number}" for number in range(10_000)],
    "numbered below a domain": [f"host{number}.example.com" for number in range(10_000)],
    "numbered labels inside": [f"www.tenant-{number:05}.example.com" for number in range(10_000)],
    "addresses": [f"{number % 256}.{number // 256}.42.10.in-addr.arpa" for number in range(10_000)],
}


@pytest.mark.parametrize("workers", SPREAD)
@pytest.mark.parametrize("kind", KINDS)
def test_names_are_spread_evenly(kind: str, workers: int) -> None:
    names = KINDS[kind]
    assert len(set(names)) == 10_000
    counted = Counter(worker_for(name, workers) for name in in_wire_form(names))
    mean = len(names) / workers
    assert [
        (index, counted[index]) for index in range(workers) if not abs(counted[index] - mean) <= SPREAD[workers] * mean
    ] == []


def test_search_expansions_of_one_name_do_not_follow_each_other() -> None:
    """Else the four names of a search path, asked at once, would wait for one worker: 1 in 64 do by chance."""
    hosts = [f"host{number}.example.com" for number in range(2_000)]
    paths = [("", ".shop.svc.cluster.local", ".svc.cluster.local", ".cluster.local")] * len(hosts)
    together = sum(
        len({worker_for(name_from_text(host + search), 4) for search in path}) == 1
        for host, path in zip(hosts, paths, strict=True)
    )
    assert together < 60
