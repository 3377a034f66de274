"""The loop whose clock stands still: timers in their order, descriptors until nothing is on its way."""

import socket
from collections.abc import Iterator

import pytest

from tests.lab.ports import bound_pair
from tests.rpl.virtual import START, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    with VirtualLoop() as made:
        yield made


def test_the_clock_stands_still_until_time_passes(loop: VirtualLoop) -> None:
    loop.settle()
    assert loop.clock() == START
    loop.pass_time(2.5)
    assert loop.clock() == START + 2.5


def test_timers_go_off_in_the_order_of_their_times_then_of_their_making(loop: VirtualLoop) -> None:
    seen: list[tuple[str, float]] = []
    for name, delay in (("late", 2.0), ("early", 1.0), ("early too", 1.0), ("later than asked", 4.0)):
        loop.call_later(delay, lambda name=name: seen.append((name, loop.now - START)))  # type: ignore[misc]  # a name each
    loop.pass_time(3.0)
    assert seen == [("early", 1.0), ("early too", 1.0), ("late", 2.0)]
    loop.pass_time(1.0)
    assert seen[-1] == ("later than asked", 4.0)


def test_a_timer_that_sets_a_timer_goes_on_within_the_same_time(loop: VirtualLoop) -> None:
    ticks = []

    def tick() -> None:
        ticks.append(loop.now)
        loop.call_later(0.01, tick)

    loop.call_later(0.01, tick)
    loop.pass_time(1.0)
    assert 99 <= len(ticks) <= 100


def test_time_stops_where_it_is_enough(loop: VirtualLoop) -> None:
    seen: list[float] = []
    for delay in (1.0, 2.0, 3.0):
        loop.call_later(delay, lambda: seen.append(loop.now))
    loop.pass_time(10.0, lambda: len(seen) == 2)
    assert loop.now == START + 2.0


def test_settling_serves_a_handshake_and_what_follows_it(loop: VirtualLoop) -> None:
    datagrams, listener = bound_pair()
    heard: list[bytes] = []
    accepted: list[socket.socket] = []

    def accept() -> None:
        connection, _ = listener.accept()
        accepted.append(connection)
        loop.add_reader(connection.fileno(), lambda: answer(connection))

    def answer(connection: socket.socket) -> None:
        connection.send(connection.recv(100).upper())

    with datagrams, listener, socket.socket() as client:
        client.setblocking(False)
        loop.add_reader(listener.fileno(), accept)
        assert client.connect_ex(listener.getsockname()) != 0

        def on_connected() -> None:
            loop.remove_writer(client.fileno())
            client.send(b"a question")

        loop.add_writer(client.fileno(), on_connected)
        loop.add_reader(client.fileno(), lambda: heard.append(client.recv(100)))
        loop.settle()
        assert heard == [b"A QUESTION"]
        loop.remove_reader(client.fileno())
        loop.remove_reader(listener.fileno())
        for connection in accepted:
            loop.remove_reader(connection.fileno())
            connection.close()


def test_one_that_takes_nothing_is_found(loop: VirtualLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"never read")
        loop.add_reader(ours.fileno(), lambda: None)
        with pytest.raises(AssertionError, match="do not settle"):
            loop.settle()


def test_a_descriptor_closed_while_watched_is_found(loop: VirtualLoop) -> None:
    ours, theirs = socket.socketpair()
    loop.add_reader(ours.fileno(), lambda: None)
    ours.close()
    theirs.close()
    with pytest.raises(AssertionError, match="closed while it was watched"):
        loop.settle()


def test_what_was_removed_is_not_called(loop: VirtualLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"never read")
        loop.add_reader(ours.fileno(), lambda: pytest.fail("called"))
        assert loop.remove_reader(ours.fileno())
        assert not loop.remove_reader(ours.fileno())
        loop.settle()
