"""What a client's repeated query tells of its resolver, and which pairs an upstream answers by half."""

from collections.abc import Mapping

import pytest

from forwarder.observe import counters
from forwarder.serving.coalescing import Asker
from forwarder.serving.habits import SLOTS, Habits
from forwarder.upstream.servers import Failed
from forwarder.wire.message import parse_query
from tests.lab.behaviours import nxdomain, refusal
from tests.lab.kitchen import DEADLINE, ONE, FakeDoor, Kitchen, octets_of
from tests.lab.messages import query_message

CLIENT = (b"client, port 40000", b"")


def repeats(counts: memoryview) -> Mapping[str, int]:
    """Those that are not zero."""
    values = counts[counters.CLIENT_REPEATS : counters.CLIENT_REPEATS + len(counters.AFTER)].tolist()
    return {after: value for after, value in zip(counters.AFTER, values, strict=True) if value}


class Client:
    """One that is told a failure at once, whenever it asks."""

    def __init__(self, peer: object = CLIENT, *, is_stream: bool = False) -> None:
        self.counts = counters.private()
        self.habits = Habits(self.counts)
        self.peer = peer
        self.door = FakeDoor(is_stream=is_stream)

    def asks(self, question: str, at: float, identity: int = 7) -> None:
        """`NAME TYPE`, with this ID."""
        query = parse_query(query_message(question, identity=identity))
        self.habits.failed(Asker(query, self.door, self.peer, 1000.0 + at))


@pytest.mark.parametrize(
    ("seconds", "after"),
    [
        (0.001, {}),
        (2.2, {}),
        (2.5, {"failure_musl": 1}),
        (2.8, {}),
        (4.4, {}),
        (4.6, {"failure": 1}),
        (5.0, {"failure": 1}),
        (5.4, {"failure": 1}),
        (5.6, {}),
        (60.0, {}),
    ],
)
def test_when_it_comes_again_tells_whose_it_is(seconds: float, after: Mapping[str, int]) -> None:
    client = Client()
    client.asks("a.test. A", 0.0)
    client.asks("a.test. A", seconds)
    assert repeats(client.counts) == after


def test_a_latched_glibc_waits_twice_for_each_name() -> None:
    client = Client()
    for name, at in (("a.test.", 0.0), ("a.search.test.", 10.0)):
        client.asks(f"{name} A", at, identity=int(at))
        client.asks(f"{name} A", at + 5.005, identity=int(at))
    assert repeats(client.counts) == {"failure": 2}


def test_musl_asks_at_once_and_then_waits() -> None:
    """What it does where the first failure took 400 ms, two seconds and a half being counted from its first query."""
    client = Client()
    for at in (0.0, 0.4, 0.401, 2.5, 2.501, 2.502):
        client.asks("a.test. A", at)
        client.asks("a.test. AAAA", at, identity=8)
    assert repeats(client.counts) == {"failure_musl": 1}


@pytest.mark.parametrize("aaaa_at", [-0.5, 0.0, 0.001, 1.7])
def test_with_its_aaaa_a_response_was_lost(aaaa_at: float) -> None:
    client = Client()
    client.asks("a.test. A", 0.0)
    client.asks("a.test. AAAA", aaaa_at, identity=8)
    client.asks("a.test. A", 5.0)
    assert repeats(client.counts) == {"lost_reply": 1}


def test_an_aaaa_of_long_ago_is_of_another_lookup() -> None:
    client = Client()
    client.asks("a.test. AAAA", -5.0, identity=6)
    client.asks("a.test. A", 0.0)
    client.asks("a.test. A", 5.0)
    assert repeats(client.counts) == {"failure": 1}


def test_a_healthy_client_repeats_at_once() -> None:
    client = Client()
    for lookup in range(20):
        for again in (0.0, 0.0005):
            client.asks("a.test. A", lookup * 2.5 + again, identity=2 * lookup)
            client.asks("a.test. AAAA", lookup * 2.5 + again, identity=2 * lookup + 1)
    assert repeats(client.counts) == {}


@pytest.mark.parametrize(("question", "identity"), [("a.test. A", 8), ("b.test. A", 7), ("a.test. TXT", 7)])
def test_another_query_is_no_repeat(question: str, identity: int) -> None:
    client = Client()
    client.asks("a.test. A", 0.0)
    client.asks(question, 5.0, identity)
    assert repeats(client.counts) == {}


def test_another_client_is_no_repeat() -> None:
    client = Client()
    client.asks("a.test. A", 0.0)
    client.peer = (b"client, port 40001", b"")
    client.asks("a.test. A", 5.0)
    assert repeats(client.counts) == {}


def test_over_tcp_nothing_is_lost() -> None:
    client = Client(is_stream=True)
    client.asks("a.test. A", 0.0)
    client.asks("a.test. A", 5.0)
    assert repeats(client.counts) == {}


def test_the_spelling_changes_nothing() -> None:
    client = Client()
    client.asks("A.test. A", 0.0)
    client.asks("A.test. A", 5.0)
    assert repeats(client.counts) == {"failure": 1}


def test_many_clients_share_the_slots_and_the_last_ones_stay() -> None:
    client = Client()
    for at in (0.0, 5.0):
        for number in range(4 * SLOTS):
            client.peer = number
            client.asks("a.test. A", at)
    before = repeats(client.counts).get("failure", 0)
    assert before < SLOTS // 4, "most were driven out before they came again"
    for number in range(3 * SLOTS, 4 * SLOTS):
        client.peer = number
        client.asks("a.test. A", 10.0)
    assert repeats(client.counts)["failure"] - before > SLOTS // 4


class TestInTheRecipe:
    """What reaches it, and what does not."""

    def test_a_failure_from_upstream_then_from_memory(self) -> None:
        kitchen, octets = Kitchen(), octets_of("a.test.")
        kitchen.take(octets, CLIENT)
        kitchen.fail(refusal("SERVFAIL"))
        kitchen.pass_time(2.0)
        kitchen.take(octets_of("a.test."), b"another client")
        kitchen.fail(refusal("SERVFAIL"))
        kitchen.pass_time(3.0)
        kitchen.take(octets, CLIENT)
        kitchen.fail(refusal("SERVFAIL"))
        assert repeats(kitchen.counts) == {"failure": 1}

    def test_a_failure_that_took_its_time_is_counted_from_the_query(self) -> None:
        kitchen, octets = Kitchen(), octets_of("a.test.")
        kitchen.take(octets, CLIENT)
        kitchen.fail(Failed.TIMEOUT)
        kitchen.now = 1005.0
        kitchen.take(octets, CLIENT)
        kitchen.fail(Failed.TIMEOUT)
        assert repeats(kitchen.counts) == {"failure": 1}

    def test_an_answer_is_not_looked_at(self) -> None:
        kitchen, octets = Kitchen(), octets_of("a.test.")
        for _ in range(3):
            kitchen.take(octets, CLIENT)
            kitchen.upstream.settle(ONE)
            kitchen.pass_time(5.0)
        assert repeats(kitchen.counts) == {}

    @pytest.mark.parametrize("was_answered", [False, True])
    def test_the_same_again_while_it_is_asked(self, *, was_answered: bool) -> None:
        kitchen, octets = Kitchen(), octets_of("a.test.")
        if was_answered:
            kitchen.remember(octets)
            kitchen.pass_time(61.0)
        kitchen.take(octets, CLIENT)
        kitchen.take(octets, b"another client")
        kitchen.take(octets_of("A.test.", identity=2), CLIENT)
        assert repeats(kitchen.counts) == {}
        kitchen.pass_time(0.1)
        kitchen.take(octets, CLIENT)
        assert repeats(kitchen.counts) == {"silence": 1}

    def test_the_same_again_over_tcp_is_meant(self) -> None:
        kitchen, octets = Kitchen(), octets_of("a.test.")
        for _ in range(2):
            kitchen.take(octets, CLIENT, door=kitchen.tcp)
        assert repeats(kitchen.counts) == {}


def split_pairs(
    answered: str, asked: str, *, pause: float = 0.0, behaviour: object = ONE, outcome: object = Failed.TIMEOUT
) -> int:
    """Pairs counted when one question was answered, and another, asked so many seconds later, came to this."""
    kitchen = Kitchen()
    kitchen.take(octets_of(*answered.split()))
    kitchen.upstream.settle(behaviour)  # type: ignore[arg-type]  # a behaviour
    kitchen.pass_time(pause)
    kitchen.take(octets_of(*asked.split()))
    kitchen.fail(outcome)  # type: ignore[arg-type]  # a behaviour or how it failed
    return kitchen.counts[counters.SPLIT_PAIRS]


@pytest.mark.parametrize(
    ("answered", "asked", "pairs"),
    [
        ("a.test. A", "A.test. AAAA", 1),
        ("a.test. AAAA", "a.test. A", 1),
        ("a.test. A", "b.test. AAAA", 0),
        ("a.test. TXT", "a.test. AAAA", 0),
        ("a.test. A", "a.test. TXT", 0),
    ],
)
def test_a_pair_is_a_and_aaaa_of_one_name(answered: str, asked: str, pairs: int) -> None:
    assert split_pairs(answered, asked) == pairs


def test_a_pair_is_split_by_silence_alone() -> None:
    assert split_pairs("a.test. A", "a.test. AAAA", outcome=refusal("SERVFAIL")) == 0
    assert split_pairs("a.test. A", "a.test. AAAA", outcome=Failed.NETWORK) == 1
    assert split_pairs("a.test. A", "a.test. AAAA", behaviour=refusal("SERVFAIL")) == 0


def test_halves_far_apart_are_no_pair() -> None:
    assert split_pairs("a.test. A", "a.test. AAAA", pause=0.5) == 1
    assert split_pairs("a.test. A", "a.test. AAAA", pause=DEADLINE) == 0


def test_the_half_that_is_answered_may_be_asked_first_or_last() -> None:
    kitchen = Kitchen()
    kitchen.take(octets_of("a.test.", "AAAA"))
    kitchen.take(octets_of("a.test."))
    kitchen.pass_time(0.3)
    kitchen.upstream.settle_one(1, ONE)
    kitchen.fail(Failed.TIMEOUT)
    assert kitchen.counts[counters.SPLIT_PAIRS] == 1


def test_a_name_that_does_not_exist_answers_for_both() -> None:
    assert split_pairs("a.test. A", "a.test. TXT", behaviour=nxdomain("test.")) == 0
