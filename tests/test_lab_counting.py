"""Proves that the client which counts every query counts right: what is lost, wrong, late, answered twice or refused.

Everything under load rests on it, so its server here does all of that on purpose, and knows how often.
"""

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab import oracle
from tests.lab.clients import Address
from tests.lab.counting import LOST_AFTER, Load, Lost, Record, compiled, counted
from tests.lab.oracle import HEADER_SIZE
from tests.lab.ports import free_port

NAMES, RATE, SECONDS = 20, 400, 1.0
"""Each question is asked ten times a second."""
MISSES = 50
TIMES = RATE // (2 * NAMES)
"""How often each question of the hits is asked."""
UNANSWERED, WRONG, FAILED, TWICE, FOREIGN = (b"h000000%d" % number for number in range(5))
"""Names, and what becomes of their queries."""
A = 1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("counting"))


def answers_to(query: bytes) -> list[bytes]:
    """As the oracle says, but for some names; of each miss, A alone."""
    label = query[HEADER_SIZE + 1 : HEADER_SIZE + 9]
    answer = oracle.response_to(query, ttl=60)
    if label == UNANSWERED or (label.startswith(b"m") and query[-3] != A):
        return []
    if label == WRONG:
        return [answer[:-1] + bytes((answer[-1] ^ 1,))]
    if label == FAILED:
        return [answer[:3] + b"\x82" + answer[4:]]
    if label == FOREIGN:
        return [answer[:13] + b"x" + answer[14:]]
    return [answer, answer] if label == TWICE else [answer]


@contextmanager
def serving() -> Iterator[Address]:
    """A server that answers so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        ended = threading.Event()

        def serve() -> None:
            while True:
                query, peer = endpoint.recvfrom(512)
                if ended.is_set():
                    return
                for answer in answers_to(query):
                    endpoint.sendto(answer, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        address: Address = endpoint.getsockname()
        try:
            yield address
        finally:
            ended.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", address)
            thread.join()


@pytest.fixture(scope="module")
def record(program: Path) -> Record:
    with serving() as server:
        return counted(program, [server], Load(SECONDS, "m", RATE, MISSES, NAMES))


def test_sums(record: Record) -> None:
    """Of hits and misses apart: A and AAAA of one name are lost, of one wrong, of another foreign, of another SERVFAIL."""
    hits, misses = record.hits, record.misses
    of_one_name = 2 * TIMES
    assert (hits.sent, hits.answered, hits.lost) == (RATE, RATE - of_one_name, of_one_name)
    assert (hits.servfails, hits.wrong) == (of_one_name, 2 * of_one_name)
    assert (misses.sent, misses.lost, misses.wrong) == (MISSES, MISSES // 2, 0)
    assert record.second_answers == of_one_name
    assert (record.strays, record.refusals, record.lost_here) == (0, 0, 0)


def test_each_lost_one_is_told(record: Record) -> None:
    """When it was sent, and what it was."""
    assert len(record.lost) == record.hits.lost + record.misses.lost
    assert sum(lost.is_miss for lost in record.lost) == record.misses.lost
    assert [lost.at for lost in record.lost] == sorted(lost.at for lost in record.lost)
    assert record.lost[0] == Lost(record.begun + record.sent[0], is_miss=False), "the first name of all is not answered"


def test_the_rate_is_steady_and_does_not_wait(record: Record) -> None:
    """Though many are never answered: as many as asked for, in the time asked for."""
    assert len(record.sent) == RATE + MISSES
    assert SECONDS * 0.9 < record.sent[-1] < SECONDS * 1.5
    slots = record.slots()
    assert sum(sent for sent, _ in slots) == RATE + MISSES
    assert sum(came for _, came in slots) == record.hits.answered + record.misses.answered


def test_waits(record: Record) -> None:
    """Infinite for those that are lost, and those alone; a miss without an answer waits at the end."""
    waits = record.waits(record.begun, record.begun + 2 * SECONDS)
    assert waits.count(math.inf) == len(record.lost)
    assert len(list(record.latencies)) == len(waits) - len(record.lost)
    assert record.misses_waiting(record.begun, record.begun + LOST_AFTER) == record.misses.lost


def test_silence(record: Record) -> None:
    """The longest time without an answer lies between two answers that follow each other."""
    begin, end = record.silence(record.begun, record.begun + LOST_AFTER)
    gaps = [later - sooner for sooner, later in zip(record.arrivals, record.arrivals[1:], strict=False)]
    assert end - begin == pytest.approx(max(gaps), abs=1e-6)


def test_a_port_that_is_closed(program: Path) -> None:
    """Everything is lost, and the client says why."""
    record = counted(program, [("127.0.0.1", free_port())], Load(0.2, "m", RATE, 0, NAMES))
    assert record.hits.lost == record.hits.sent > 0
    assert record.refusals > 0
