"""Notes: few whatever comes, fair to all that is asked, silent of who asked unless told otherwise; and never in the way."""

import socket
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.observe.notes import SLOW_MICROSECONDS, Note, written
from forwarder.serving.noting import BATCH, LINES_A_SECOND, MOST_WAITING, NAMES_A_SECOND, Sampler, Wanted
from tests.lab.behaviours import answer, nxdomain, refusal
from tests.lab.kitchen import CLIENT, Kitchen, octets_of
from tests.lab.streams import bench as stream_bench
from tests.lab.streams import run
from tests.test_serving_udp import bench, in_exact

NAMES = Wanted(names=True, errors=False, slow=False, everything=False)
ERRORS = Wanted(names=False, errors=True, slow=False, everything=False)
SLOW = Wanted(names=False, errors=True, slow=True, everything=False)
ALL = Wanted(names=True, errors=True, slow=True, everything=True)


def told(notes: list[Note]) -> list[tuple[str, str, str]]:
    """First label, source and RCODE of each."""
    return [
        (note.question[1 : 1 + note.question[0]].decode(), counters.SOURCES[note.source], counters.RCODES[note.rcode])
        for note in notes
    ]  # fmt: skip


class Flood:
    """Queries that one sampler sees, a second after the other."""

    def __init__(self, most: int, seed: int) -> None:
        self.sampler = Sampler(most, Random(seed).random)  # noqa: S311 - a test that can be repeated
        self.taken: list[tuple[int, int]] = []
        """Which, and how many it stood for."""
        self.seen = 0

    def second(self, queries: int) -> int:
        """So many in a second; how many were noted."""
        before = len(self.taken)
        for _ in range(queries):
            self.sampler.left -= 1
            if self.sampler.left < 0:
                self.taken.append((self.seen, self.sampler.take()))
                self.sampler.left = self.sampler.gap()
            self.seen += 1
        self.sampler.renew()
        return len(self.taken) - before


class TestSampler:
    def test_every_query_is_noted_while_there_are_few(self) -> None:
        flood = Flood(100, 0)
        assert [flood.second(99) for _ in range(5)] == [99] * 5
        assert {stands_for for _, stands_for in flood.taken} == {1}

    def test_a_flood_is_bounded_from_its_first_second_on(self) -> None:
        flood = Flood(100, 0)
        first, *others = (flood.second(100_000) for _ in range(10))
        assert first <= 100 * 3, "each doubling takes an eighth as many"
        assert all(50 <= count <= 200 for count in others)

    @given(st.lists(st.integers(0, 3000), min_size=1, max_size=20), st.integers(0, 99))
    def test_what_is_noted_stands_for_what_was_asked(self, seconds: list[int], seed: int) -> None:
        flood = Flood(100, seed)
        for queries in seconds:
            assert flood.second(queries) <= 100 * 4
        stood_for = sum(stands_for for _, stands_for in flood.taken)
        assert stood_for <= sum(seconds) * 2 + 200

    def test_each_of_a_rhythm_is_seen_as_often_as_it_should_be(self) -> None:
        flood = Flood(100, 7)
        for _ in range(50):
            flood.second(10_000)
        stood_for = Counter[int]()
        for number, stands_for in flood.taken:
            stood_for[number % 4] += stands_for
        assert stood_for.total() == pytest.approx(500_000, rel=0.05)
        assert all(stood_for[place] == pytest.approx(125_000, rel=0.15) for place in range(4))

    def test_after_a_flood_the_next_query_is_noted_again(self) -> None:
        flood = Flood(100, 1)
        flood.second(1_000_000)
        flood.second(0)
        flood.second(0)
        assert flood.second(5) == 5


class TestRecipe:
    def test_each_kind_of_response_is_noted_with_its_source(self) -> None:
        kitchen = Kitchen(wanted=ALL)
        kitchen.pin(b"\1p\4test\0")
        kitchen.taken(octets_of("p.test."))
        kitchen.taken(octets_of("a.test.", "AXFR"))
        kitchen.take(octets_of("a.test."), "peer")
        kitchen.upstream.settle(answer("@ 60 IN A 192.0.2.1"))
        kitchen.taken(octets_of("a.test."))
        kitchen.take(octets_of("n.test."), "peer")
        kitchen.upstream.settle(nxdomain("test."))
        kitchen.take(octets_of("f.test."), "peer")
        kitchen.fail(refusal("SERVFAIL"))
        kitchen.taken(octets_of("f.test."))
        notes = kitchen.notes()
        assert told(notes) == [
            ("p", "hosts", "NOERROR"), ("a", "policy", "REFUSED"), ("a", "upstream", "NOERROR"), ("a", "answers", "NOERROR"),
            ("n", "upstream", "NXDOMAIN"), ("f", "failure", "SERVFAIL"), ("f", "failure", "SERVFAIL"),
        ]  # fmt: skip
        assert {(note.client, note.stands_for, note.is_stream) for note in notes} == {(CLIENT, 1, False)}
        upstream = kitchen.upstream.name
        assert [(note.upstream, note.attempts) for note in notes] == [
            ("", 0), ("", 0), (upstream, 1), ("", 0), (upstream, 1), (upstream, 1), ("", 0)
        ]  # fmt: skip

    def test_everybody_who_waited_is_noted_with_what_it_took_for_each(self) -> None:
        kitchen = Kitchen(wanted=ALL)
        kitchen.take(octets_of("a.test."), "first")
        kitchen.pass_time(0.25)
        kitchen.take(octets_of("A.TEST."), "second", door=kitchen.tcp)
        kitchen.pass_time(0.25)
        kitchen.upstream.settle(answer("@ 60 IN A 192.0.2.1"))
        notes = kitchen.notes()
        assert [note.question[:2] for note in notes] == [b"\1a", b"\1A"], "as each spelled it"
        assert [note.is_stream for note in notes] == [False, True]
        assert [note.microseconds for note in notes] == [pytest.approx(500_000, abs=2), pytest.approx(250_000, abs=2)]

    def test_a_stale_answer_says_who_did_not_answer_in_time(self) -> None:
        kitchen = Kitchen(wanted=ALL)
        kitchen.remember(octets_of("a.test."))
        kitchen.pass_time(61.0)
        kitchen.notes()
        kitchen.take(octets_of("a.test."), "peer")
        kitchen.fail(refusal("SERVFAIL"))
        (note,) = kitchen.notes()
        assert told([note]) == [("a", "stale", "NOERROR")]
        assert note.upstream == kitchen.upstream.name
        assert note.attempts >= 1

    def test_names_alone_are_noted_without_who_asked(self) -> None:
        kitchen = Kitchen(wanted=NAMES)
        kitchen.remember(octets_of("a.test."))
        kitchen.taken(octets_of("a.test."))
        kitchen.take(octets_of("f.test."), "peer")
        kitchen.fail(refusal("SERVFAIL"))
        notes = kitchen.notes()
        assert told(notes) == [("a", "upstream", "NOERROR"), ("a", "answers", "NOERROR"), ("f", "failure", "SERVFAIL")]
        assert {note.client for note in notes} == {b""}

    def test_errors_alone_are_noted_where_nothing_else_is_wanted(self) -> None:
        kitchen = Kitchen(wanted=ERRORS)
        kitchen.remember(octets_of("a.test."))
        kitchen.take(octets_of("slow.test."), "peer")
        kitchen.pass_time(0.3)
        kitchen.upstream.settle(nxdomain("test."))
        kitchen.take(octets_of("f.test."), "peer")
        kitchen.fail(refusal("SERVFAIL"))
        notes = kitchen.notes()
        assert told(notes) == [("f", "failure", "SERVFAIL")]
        assert notes[0].client == CLIENT

    @pytest.mark.parametrize(("seconds", "count"), [(SLOW_MICROSECONDS / 1e6 + 0.001, 1), (SLOW_MICROSECONDS / 2e6, 0)])
    def test_what_took_long_is_noted_where_that_is_wanted(self, seconds: float, count: int) -> None:
        kitchen = Kitchen(wanted=SLOW)
        kitchen.take(octets_of("a.test."), "peer")
        kitchen.pass_time(seconds)
        kitchen.upstream.settle(answer("@ 60 IN A 192.0.2.1"))
        assert told(kitchen.notes()) == [("a", "upstream", "NOERROR")] * count

    def test_a_failure_is_not_lost_among_a_flood_of_others(self) -> None:
        kitchen = Kitchen(wanted=NAMES)
        kitchen.remember(octets_of("a.test."))
        kitchen.take(octets_of("f.test."), "peer")
        kitchen.fail(refusal("SERVFAIL"))
        assert kitchen.noting is not None
        found: list[Note] = []
        for number in range(5000):
            kitchen.taken(octets_of("f.test." if number == 4999 else "a.test."))
            if number % 100 == 0:
                found += kitchen.notes()
        found += kitchen.notes()
        assert told(found)[-1] == ("f", "failure", "SERVFAIL")
        assert found[-1].stands_for == 1
        assert len(found) <= NAMES_A_SECOND * 4

    def test_what_is_left_out_of_the_log_is_counted(self) -> None:
        kitchen = Kitchen(wanted=ALL)
        kitchen.remember(octets_of("a.test."))
        kitchen.notes()
        asked = 4 * LINES_A_SECOND
        notes: list[Note] = []
        for number in range(asked):
            kitchen.taken(octets_of("a.test."))
            if number % 500 == 0:
                notes += kitchen.notes()
        notes += kitchen.notes()
        assert len(notes) < asked / 1.5
        left_out = kitchen.counts[counters.QUERY_LOG_LEFT_OUT]
        assert left_out == sum(note.stands_for - 1 for note in notes)
        assert left_out + len(notes) == pytest.approx(asked, rel=0.1)


class TestWriting:
    def test_a_full_batch_is_written_when_the_turn_ends_and_the_rest_within_the_second(self) -> None:
        kitchen = Kitchen(wanted=ALL)
        assert kitchen.noting is not None
        kitchen.pin(b"\1p\4test\0")
        for _ in range(BATCH + 3):
            kitchen.taken(octets_of("p.test."))
        with pytest.raises(BlockingIOError):
            kitchen.ours.recv(1)
        kitchen.turn.end()
        first = kitchen.ours.recv(1 << 20)
        assert first
        kitchen.taken(octets_of("p.test."))
        kitchen.turn.end()
        with pytest.raises(BlockingIOError):
            kitchen.ours.recv(1)
        kitchen.noting.tidy()
        assert kitchen.ours.recv(1 << 20)
        kitchen.noting.tidy()
        with pytest.raises(BlockingIOError):
            kitchen.ours.recv(1)

    @pytest.mark.parametrize("is_gone", [True, False])
    def test_where_nobody_reads_notes_are_dropped_and_counted(self, *, is_gone: bool) -> None:
        kitchen = Kitchen(wanted=ALL)
        assert kitchen.noting is not None
        kitchen.pin(b"\1p\4test\0")
        if is_gone:
            kitchen.ours.close()
        sent = 0
        while not kitchen.counts[counters.QUERY_LOG_DROPS]:
            kitchen.taken(octets_of("p.test."))
            kitchen.noting.write()
            sent += 1
            assert sent < 100_000
        assert kitchen.counts[counters.QUERY_LOG_DROPS] == 1
        if not is_gone:
            assert len(kitchen.notes()) == sent - 1, "and what came before is whole"

    def test_a_turn_that_brings_too_many_drops_some(self) -> None:
        kitchen = Kitchen(wanted=ALL)
        assert kitchen.noting is not None
        for _ in range(MOST_WAITING + 5):
            kitchen.noting.hit(bytes(12) + b"\0\0\1\0\1", kitchen.udp, "peer", 1, 1)
        assert kitchen.counts[counters.QUERY_LOG_DROPS] == 5
        assert len(kitchen.notes()) == MOST_WAITING

    def test_the_largest_batch_fits_the_socket(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with ours, theirs:
            note = Note(1e9, bytes(259), False, 0, 0, 10**7, 10**7, bytes(16), "[2001:db8:1:2:3:4:5:6]:853@" + "x" * 40, 6)
            data = written([note] * (BATCH + 64))
            assert theirs.send(data) == len(data)


class TestDoors:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_hits_over_udp_are_noted_by_their_octets(self, host: str) -> None:
        with bench(host, wanted=ALL) as at:
            in_exact(at.kitchen, octets_of("Hit.test."), octets_of("other.test."))
            at.kitchen.notes()
            clients = [at.client() for _ in range(3)]
            for client, name in zip(clients, ("Hit.test.", "miss.test.", "other.test."), strict=True):
                client.send(octets_of(name))
            at.call()
            notes = at.kitchen.notes()
            assert told(notes) == [("Hit", "exact", "NOERROR"), ("other", "exact", "NOERROR")]
            assert {note.client for note in notes} == {socket.inet_pton(at.endpoint.family, host)}
            at.settle()
            assert told(at.kitchen.notes()) == [("miss", "upstream", "NOERROR")]

    def test_who_hits_is_not_noted_where_names_are_all_that_is_wanted(self) -> None:
        with bench(wanted=NAMES) as at:
            in_exact(at.kitchen, octets_of("hit.test."))
            at.kitchen.notes()
            at.client().send(octets_of("hit.test."))
            at.call()
            (note,) = at.kitchen.notes()
            assert (told([note]), note.client) == ([("hit", "exact", "NOERROR")], b"")

    def test_hits_are_not_looked_at_where_only_errors_are_wanted(self) -> None:
        with bench(wanted=ERRORS) as at:
            in_exact(at.kitchen, octets_of("hit.test."))
            at.client().send(octets_of("hit.test."))
            at.call()
            assert at.kitchen.notes() == []

    def test_a_flood_of_hits_is_sampled_from_all_places_of_its_batches(self) -> None:
        with bench(wanted=NAMES) as at:
            names = [f"h{number}.test." for number in range(4)]
            in_exact(at.kitchen, *map(octets_of, names))
            at.kitchen.notes()
            assert at.kitchen.noting is not None
            clients = [at.client() for _ in names]
            stood_for = Counter[str]()
            for _ in range(3000):
                for client, name in zip(clients, names, strict=True):
                    client.send(octets_of(name))
                at.call()
                for client in clients:
                    client.recv(512)
                for note in at.kitchen.notes():
                    stood_for[told([note])[0][0]] += note.stands_for
            assert stood_for.total() == pytest.approx(12_000, rel=0.2)
            assert all(stood_for[f"h{number}"] == pytest.approx(3000, rel=0.5) for number in range(4))

    def test_hits_and_all_else_over_tcp_are_noted(self) -> None:
        async def scenario() -> None:
            async with stream_bench(wanted=ALL) as at:
                in_exact(at.kitchen, octets_of("hit.test."))
                at.kitchen.pin(b"\1p\4test\0")
                in_exact(at.kitchen, octets_of("hit.test."))
                at.kitchen.notes()
                client = await at.client()
                await client.ask(octets_of("hit.test."))
                await client.ask(octets_of("p.test."))
                await client.ask(octets_of("a.test.", "AXFR"))
                notes = at.kitchen.notes()
                assert told(notes) == [("hit", "exact", "NOERROR"), ("p", "hosts", "NOERROR"), ("a", "policy", "REFUSED")]
                assert {(note.is_stream, note.client) for note in notes} == {(True, bytes((127, 0, 0, 1)))}

        run(scenario)
