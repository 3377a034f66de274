"""The door for streams, with real connections on a real loop.

Whole answers in any order, bounds that hold, nobody in another's way; a client over a limit waits and loses nothing.
"""

import asyncio
import os
import resource
import socket
from itertools import pairwise

import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.serving.tcp import MAX_PIPELINED, MAX_UNSENT
from tests.lab.behaviours import addresses, answer
from tests.lab.clients import extended_errors, framed, rdatas
from tests.lab.kitchen import PINNED_ADDRESS, counted, octets_of, read
from tests.lab.needs import needs_address
from tests.lab.streams import IDLE_TIMEOUT, bench, in_loop, run, turns


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_miss_then_from_memory_then_exact(host: str) -> None:
    needs_address(host)

    async def scenario() -> None:
        async with bench(host) as at:
            client, octets = await at.client(), octets_of("a.test.")
            await client.send(octets)
            await at.until(lambda: at.kitchen.upstream.waiting)
            at.settle()
            message = await client.received()
            assert rdatas(read(message or b"", octets)) == ["192.0.2.1"]
            for _ in range(3):
                assert rdatas(await client.ask(octets)) == ["192.0.2.1"]
            assert counted(at.kitchen.counts) == {
                ("tcp", "A", "upstream", "NOERROR"): 1,
                ("tcp", "A", "answers", "NOERROR"): 1,
                ("tcp", "A", "exact", "NOERROR"): 2,
            }
            assert at.connections == 1

    run(scenario)


@in_loop
async def test_a_hit_of_an_answer_about_to_end_has_the_next_one_asked_for() -> None:
    async with bench() as at:
        client, octets = await at.client(), octets_of("a.test.")
        at.kitchen.remember(octets)
        at.kitchen.pass_time(53.5)
        at.kitchen.taken(octets)
        at.kitchen.pass_time(1.0)
        assert rdatas(await client.ask(octets)) == ["192.0.2.1"]
        assert counted(at.kitchen.counts)["tcp", "A", "exact", "NOERROR"] == 1
        assert len(at.kitchen.upstream.waiting) == 1
        assert at.kitchen.memory.exact.ending == []


@in_loop
async def test_answers_leave_as_they_are_ready_in_any_order() -> None:
    async with bench() as at:
        client = await at.client()
        sent = [octets_of(f"{letter}.test.", identity=number) for number, letter in enumerate("abcd")]
        await client.send(*sent)
        await at.until(lambda: len(at.kitchen.upstream.waiting) == 4)
        for place, number in ((2, 2), (0, 0), (1, 3), (0, 1)):
            at.kitchen.upstream.settle_one(place)
            at.kitchen.turn.end()
            message = await client.received()
            assert rdatas(read(message or b"", sent[number])) == ["192.0.2.1"]


@in_loop
async def test_a_slow_answer_holds_up_neither_the_next_query_nor_the_next_client() -> None:
    async with bench() as at:
        slow, other = await at.client(), await at.client()
        at.kitchen.pin(b"\1p\4test\0")
        await slow.send(octets_of("slow.test."))
        await at.until(lambda: at.kitchen.upstream.waiting)
        for client in (slow, other):
            assert rdatas(await client.ask(octets_of("p.test."))) == [PINNED_ADDRESS]
        at.settle()
        assert rdatas(read(await slow.received() or b"", octets_of("slow.test."))) == ["192.0.2.1"]


@given(
    kinds=st.lists(st.sampled_from(["hit", "miss", "silent", "refused"]), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_however_the_stream_is_cut_each_query_gets_its_answer(kinds: list[str], cuts: list[int]) -> None:
    async def scenario() -> None:
        async with bench() as at:
            at.kitchen.remember(octets_of("hit.test."))
            qtypes = {"refused": "AXFR"}
            sent = [octets_of(f"{kind}.test.", qtypes.get(kind, "A"), identity=number) for number, kind in enumerate(kinds)]
            stream = b"".join(
                framed(octets[:2] + b"\x81" + octets[3:] if kind == "silent" else octets)
                for kind, octets in zip(kinds, sent, strict=True)
            )
            client = await at.client()
            places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
            for start, end in pairwise(places):
                await client.send_octets(stream[start:end])
                await turns()
            await at.until(lambda: bool(at.kitchen.upstream.waiting) == ("miss" in kinds))
            client.socket.shutdown(socket.SHUT_WR)
            await turns()
            at.settle()
            got: set[int] = set()
            while (message := await client.received()) is not None:
                number = int.from_bytes(message[:2])
                assert number not in got
                got.add(number)
                assert rdatas(read(message, sent[number])) == ([] if kinds[number] == "refused" else ["192.0.2.1"])
            assert got == {number for number, kind in enumerate(kinds) if kind != "silent"}

    run(scenario)


@in_loop
async def test_one_octet_at_a_time() -> None:
    async with bench() as at:
        at.kitchen.remember(octets_of("a.test."))
        client, sent = await at.client(), [octets_of("a.test.", identity=number) for number in range(3)]
        for octet in b"".join(map(framed, sent)):
            await client.send_octets(bytes((octet,)))
            await turns()
        for octets in sent:
            assert rdatas(read(await client.received() or b"", octets)) == ["192.0.2.1"]


@in_loop
async def test_questions_ahead_are_bounded_and_the_rest_is_asked_later_and_not_lost() -> None:
    async with bench() as at:
        client, other = await at.client(), await at.client()
        sent = [octets_of(f"n{number}.test.", identity=number) for number in range(3 * MAX_PIPELINED + 5)]
        sending = asyncio.ensure_future(client.send(*sent))
        upstream = at.kitchen.upstream
        await at.until(lambda: len(upstream.waiting) == MAX_PIPELINED)
        await turns()
        assert len(upstream.asked) == MAX_PIPELINED
        await other.send(octets_of("other.test."))
        await at.until(lambda: len(upstream.waiting) == MAX_PIPELINED + 1)
        got: list[int] = []
        while len(got) < len(sent):
            assert len(upstream.waiting) <= MAX_PIPELINED + 1
            while upstream.waiting:
                upstream.settle_one(0)
                assert len(upstream.waiting) <= MAX_PIPELINED + 1
            at.kitchen.turn.end()
            message = await client.received()
            assert message is not None
            got.append(int.from_bytes(message[:2]))
            assert rdatas(read(message, sent[got[-1]])) == ["192.0.2.1"]
        await sending
        assert sorted(got) == list(range(len(sent)))
        assert await other.received()


@in_loop
async def test_a_client_far_ahead_is_not_read_from() -> None:
    async with bench(buffers=1 << 16) as at:
        client, first = await at.client(buffers=1 << 16), octets_of("n00000.test.")
        sent = [first.replace(b"n00000", b"n%05d" % number) for number in range(15_000)]
        sending = asyncio.ensure_future(client.send(*sent))
        await at.until(lambda: len(at.kitchen.upstream.waiting) == MAX_PIPELINED)
        for _ in range(100):
            await turns()
        assert not sending.done(), "half a megabyte would wait in our memory, not in the client's"
        sending.cancel()


@in_loop
async def test_answers_too_late_to_send_make_room_for_the_next_questions() -> None:
    async with bench() as at:
        client = await at.client()
        await client.send(*(octets_of(f"n{number}.test.") for number in range(MAX_PIPELINED)))
        await at.until(lambda: len(at.kitchen.upstream.waiting) == MAX_PIPELINED)
        at.kitchen.pass_time(2.0)
        at.settle()
        assert at.kitchen.counts[counters.DEADLINE_MISSED] == MAX_PIPELINED
        assert rdatas(await client.ask(octets_of("n0.test."))) == ["192.0.2.1"], "and nothing came before"


@in_loop
async def test_hundreds_of_queries_that_fail_at_once_in_one_write_are_all_answered() -> None:
    async with bench(max_in_progress=1) as at:
        at.kitchen.take(octets_of("slow.test."))
        client = await at.client()
        sent = [octets_of("a.test.", identity=number) for number in range(600)]
        await client.send(*sent)
        for octets in sent:
            assert read(await client.received() or b"", octets).rcode() == dns.rcode.SERVFAIL


@in_loop
async def test_more_large_answers_from_memory_than_fit_the_output_in_one_write_are_all_sent() -> None:
    async with bench(buffers=4 << 20) as at:
        at.kitchen.remember(octets_of("many.test."), answer(*addresses(500)))
        client = await at.client(buffers=4 << 20)
        sent = [octets_of("many.test.", identity=number) for number in range(200)]
        await client.send(*sent)
        for octets in sent:
            message = await client.received()
            assert message is not None
            assert len(message) > 500 * 16
            assert message[:2] == octets[:2]


@in_loop
async def test_a_client_that_never_reads_is_not_read_from_and_others_are_served() -> None:
    async with bench(buffers=1 << 16) as at:
        at.kitchen.remember(octets_of("many.test."), answer(*addresses(1000)))
        client, other = await at.client(buffers=1 << 16), await at.client()
        sent = [octets_of("many.test.", identity=number) for number in range(10_000)]
        sending = asyncio.ensure_future(client.send(*sent))
        answered = [0]
        while answered[-1] == 0 or answered[-1] > answered[max(0, len(answered) - 20)]:
            await other.ask(octets_of("any.test.", "ANY"))
            answered.append(sum(times for (_, _, source, _), times in counted(at.kitchen.counts).items() if source != "policy"))
        assert answered[-1] * 16_000 < MAX_UNSENT + 16_000 + (1 << 20), "what we may hold, and what the kernel does"
        assert not sending.done()
        for octets in sent[:500]:
            message = await client.received()
            assert message is not None, "paused, not closed"
            assert len(message) > 16_000
            assert message[:2] == octets[:2], "and nothing lost"
        sending.cancel()


@in_loop
async def test_a_client_that_sends_no_more_gets_its_answers_and_then_the_end() -> None:
    async with bench() as at:
        client, waiting = await at.client(), await at.client()
        sent = [octets_of(f"n{number}.test.", identity=number) for number in range(MAX_PIPELINED + 20)]
        await client.send(*sent)
        client.socket.shutdown(socket.SHUT_WR)
        await at.until(lambda: len(at.kitchen.upstream.waiting) == MAX_PIPELINED)
        await turns()
        at.settle()
        got = [int.from_bytes((await client.received() or b"")[:2]) for _ in sent]
        assert sorted(got) == list(range(len(sent)))
        assert await client.is_closed()
        assert at.connections == 1
        waiting.socket.shutdown(socket.SHUT_WR)
        assert await waiting.is_closed(), "nothing asked, nothing to wait for"


@in_loop
async def test_a_client_outside_allow_is_refused_and_told_so_whatever_is_known() -> None:
    async with bench(allow=["127.0.0.8/31", "::/0"]) as at:
        at.kitchen.remember(octets_of("a.test."))
        inside, outside = await at.client(source="127.0.0.9"), await at.client(source="127.0.0.10")
        assert rdatas(await inside.ask(octets_of("a.test."))) == ["192.0.2.1"]
        for octets in (octets_of("a.test.", payload=1232), octets_of("b.test.", payload=1232)):
            for _ in range(3):
                response = await outside.ask(octets)
                assert (response.rcode(), [code for code, _ in extended_errors(response)]) == (dns.rcode.REFUSED, [18])
        assert at.kitchen.counts[counters.REFUSED_CLIENTS] == 6
        assert not at.kitchen.upstream.waiting
        assert counted(at.kitchen.counts)["tcp", "A", "policy", "REFUSED"] == 6


@in_loop
async def test_what_is_no_query_gets_nothing_and_the_connection_lives_on() -> None:
    async with bench() as at:
        at.kitchen.pin(b"\1p\4test\0")
        client = await at.client()
        await client.send(octets_of("p.test.")[:2] + b"\x81\x80" + octets_of("p.test.")[4:])
        assert rdatas(await client.ask(octets_of("p.test."))) == [PINNED_ADDRESS]


@pytest.mark.parametrize("octets", [b"\0\0", b"\0\x0b" + b"\0" * 11, b"GET / HTTP/1.1\r\n\r\n\0\0\0\1"])
def test_a_length_below_a_header_ends_the_connection_and_no_other(octets: bytes) -> None:
    async def scenario() -> None:
        async with bench() as at:
            at.kitchen.pin(b"\1p\4test\0")
            client, other = await at.client(), await at.client()
            await client.send_octets(octets + b"\0" * 20_000)
            assert octets[0] or await client.is_closed()
            assert rdatas(await other.ask(octets_of("p.test."))) == [PINNED_ADDRESS]

    run(scenario)


@in_loop
async def test_an_idle_connection_is_closed_and_one_that_waits_for_an_answer_is_not() -> None:
    async with bench() as at:
        at.kitchen.pin(b"\1p\4test\0")
        idle, waiting, active, dribbling = [await at.client() for _ in range(4)]
        await waiting.send(octets_of("a.test."))
        await at.until(lambda: at.kitchen.upstream.waiting)
        at.kitchen.pass_time(IDLE_TIMEOUT - 1)
        await dribbling.send_octets(b"\0")
        await active.ask(octets_of("p.test."))
        at.kitchen.pass_time(1)
        assert await idle.is_closed(), "by the door's own looking around, within a second"
        assert at.connections == 3
        at.settle()
        at.kitchen.pass_time(IDLE_TIMEOUT)
        at.admission.close_idle(at.kitchen.turn.now)
        assert at.connections == 0


@in_loop
async def test_a_client_that_reads_nothing_is_closed_when_nothing_has_moved_for_as_long() -> None:
    async with bench(buffers=1 << 16) as at:
        at.kitchen.remember(octets_of("many.test."), answer(*addresses(3000)))
        client = await at.client(buffers=1 << 16)
        sending = asyncio.ensure_future(client.send(*[octets_of("many.test.")] * 100))
        await at.until(lambda: counted(at.kitchen.counts))
        await turns()
        at.kitchen.pass_time(IDLE_TIMEOUT)
        at.admission.close_idle(at.kitchen.turn.now)
        assert at.connections == 0
        await asyncio.gather(sending, return_exceptions=True)


@in_loop
async def test_a_new_client_takes_the_place_of_the_longest_idle_one_never_of_one_that_waits() -> None:
    async with bench(max_connections=3) as at:
        at.kitchen.pin(b"\1p\4test\0")
        first, second, third = [await at.client() for _ in range(3)]
        await first.send(octets_of("a.test."))
        await at.until(lambda: at.kitchen.upstream.waiting)
        for client in (third, second):
            at.kitchen.pass_time(0.1)
            await client.ask(octets_of("p.test."))
        fourth = await at.client()
        assert await third.is_closed()
        for client, name in ((second, "b.test."), (fourth, "c.test.")):
            assert rdatas(await client.ask(octets_of("p.test."))) == [PINNED_ADDRESS]
            await client.send(octets_of(name))
        await at.until(lambda: len(at.kitchen.upstream.waiting) == 3)
        assert await (await at.client()).is_closed(), "nobody is idle"
        at.settle()
        for client in (first, second, fourth):
            assert await client.received()
        assert at.connections == 3


@in_loop
async def test_a_client_that_is_gone_is_forgotten_and_its_answer_dropped() -> None:
    async with bench() as at:
        client, other = await at.client(), await at.client()
        for one in (client, other):
            await one.send(octets_of("a.test."), octets_of("b.test."))
        await at.until(lambda: at.kitchen.coalescing.take_coalesced() == 2)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        client.socket.close()
        await at.until(lambda: at.connections == 1)
        at.settle()
        assert await other.received()
        assert await other.received()


@in_loop
async def test_a_closed_door_accepts_nobody_and_answers_what_it_took() -> None:
    async with bench() as at:
        waiting, idle, unread = await at.client(), await at.client(), await at.client()
        await waiting.send(octets_of("a.test."), octets_of("b.test."))
        await at.until(lambda: len(at.kitchen.upstream.waiting) == 2)
        at.kitchen.pin(b"\1p\4test\0")
        unread.socket.send(framed(octets_of("p.test.")))
        at.door.close()
        assert b"\1p\4test" in (await unread.received() or b""), "what had come was read"
        assert await idle.is_closed()
        await at.client()
        assert at.connections == 1
        at.settle()
        assert {(await waiting.received() or b"")[12:14] for _ in range(2)} == {b"\1a", b"\1b"}
        assert await waiting.is_closed()


@in_loop
async def test_without_descriptors_clients_wait_until_there_are_some() -> None:
    async with bench() as at:
        at.kitchen.pin(b"\1p\4test\0")
        first = await at.client()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket(at.listener.family) as late:
            late.setblocking(False)
            lowest_free = os.dup(late.fileno())
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
            try:
                late.connect_ex(at.listener.getsockname())
                for _ in range(20):
                    assert rdatas(await first.ask(octets_of("p.test."))) == [PINNED_ADDRESS]
                assert at.connections == 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            await at.until(lambda: at.connections == 2)
