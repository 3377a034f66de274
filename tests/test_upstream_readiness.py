"""Readiness, over real socket pairs: who has something is called, who was forgotten is not, and then the turn ends."""

import select
import socket
from collections.abc import Iterator

import pytest

from forwarder.upstream.readiness import AT_ONCE, READ, WRITE, Readiness
from forwarder.upstream.turn import Turn


class Stage:
    """A readiness and socket pairs that are closed behind it."""

    def __init__(self) -> None:
        self.now = 1.0
        self.turn = Turn(lambda: self.now)
        self.readiness = Readiness(self.turn)
        self.events: list[tuple[int, int]] = []
        """Descriptor and events of each call."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Ours and theirs, not watched yet."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._pairs.append(pair)
        return pair

    def watched(self, events: int = READ) -> tuple[socket.socket, socket.socket]:
        """Ours and theirs, ours watched and every call written down."""
        ours, theirs = self.pair()
        descriptor = ours.fileno()
        self.readiness.watch(descriptor, lambda happened: self.events.append((descriptor, happened)), events)
        return ours, theirs

    def served(self) -> list[tuple[int, int]]:
        """The calls of one turn."""
        self.events.clear()
        self.readiness.serve()
        return list(self.events)

    def close(self) -> None:
        """Everything."""
        self.readiness.close()
        for ours, theirs in self._pairs:
            ours.close()
            theirs.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def test_only_who_has_something_is_called(stage: Stage) -> None:
    (first, _), (second, theirs) = stage.watched(), stage.watched()
    assert stage.served() == []
    theirs.send(b"x")
    assert stage.served() == [(second.fileno(), READ)]
    assert first.fileno() != second.fileno()


def test_who_did_not_read_is_called_again(stage: Stage) -> None:
    ours, theirs = stage.watched()
    theirs.send(b"x")
    assert stage.served() == stage.served() == [(ours.fileno(), READ)]
    ours.recv(1)
    assert stage.served() == []


def test_room_to_write_is_told_to_who_asks_for_it(stage: Stage) -> None:
    ours, theirs = stage.watched(READ | WRITE)
    assert stage.served() == [(ours.fileno(), WRITE)]
    theirs.send(b"x")
    assert stage.served() == [(ours.fileno(), READ | WRITE)]


def test_other_events_from_now_on(stage: Stage) -> None:
    ours, _ = stage.watched()
    stage.readiness.change(ours.fileno(), READ | WRITE)
    assert stage.served() == [(ours.fileno(), WRITE)]
    stage.readiness.change(ours.fileno(), READ)
    assert stage.served() == []


def test_the_other_side_leaving_is_something_to_read(stage: Stage) -> None:
    ours, theirs = stage.watched()
    theirs.close()
    ((descriptor, events),) = stage.served()
    assert descriptor == ours.fileno()
    assert events & READ


def test_who_is_forgotten_is_not_called_any_more(stage: Stage) -> None:
    ours, theirs = stage.watched()
    theirs.send(b"x")
    stage.readiness.forget(ours.fileno())
    ours.close()
    assert stage.served() == []


def test_who_is_forgotten_within_the_turn_is_not_called_in_it(stage: Stage) -> None:
    pairs = [stage.pair(), stage.pair()]
    called: list[int] = []

    def forget_the_other(one: int) -> None:
        called.append(one)
        other = pairs[1 - one][0]
        stage.readiness.forget(other.fileno())
        other.close()

    for number, (ours, theirs) in enumerate(pairs):
        stage.readiness.watch(ours.fileno(), lambda _events, number=number: forget_the_other(number))  # type: ignore[misc]  # mypy infers no default
        theirs.send(b"x")
    stage.readiness.serve()
    assert len(called) == 1


def test_a_descriptor_may_be_used_again(stage: Stage) -> None:
    ours, _ = stage.watched()
    descriptor = ours.fileno()
    stage.readiness.forget(descriptor)
    ours.close()
    again, theirs = stage.watched()
    assert again.fileno() == descriptor
    theirs.send(b"x")
    assert stage.served() == [(descriptor, READ)]


def test_the_turn_ends_once_after_all_were_called(stage: Stage) -> None:
    order: list[str] = []

    def on_ready(_events: int) -> None:
        order.append("called")
        if order.count("called") == 1:
            stage.turn.at_end(lambda: order.append("written"))

    for _ in range(3):
        ours, theirs = stage.pair()
        stage.readiness.watch(ours.fileno(), on_ready)
        theirs.send(b"x")
    stage.readiness.serve()
    assert order == ["called", "called", "called", "written"]


def test_the_turn_ends_also_when_nobody_was_called(stage: Stage) -> None:
    written: list[str] = []
    stage.turn.at_end(lambda: written.append("written"))
    assert stage.served() == []
    assert written == ["written"]


def test_who_is_called_is_called_at_the_time_at_which_the_turn_began(stage: Stage) -> None:
    ours, theirs = stage.pair()
    seen: list[float] = []
    stage.readiness.watch(ours.fileno(), lambda _events: seen.append(stage.turn.now))
    theirs.send(b"x")
    stage.now = 2.0
    stage.readiness.serve()
    assert seen == [2.0]


def test_a_loop_that_watches_the_descriptor_sees_all_sockets(stage: Stage) -> None:
    ours, theirs = stage.watched()
    loop = select.poll()
    loop.register(stage.readiness.fileno(), select.POLLIN)
    assert loop.poll(0) == []
    theirs.send(b"x")
    assert loop.poll(0) == [(stage.readiness.fileno(), select.POLLIN)]
    ours.recv(1)
    assert loop.poll(0) == []


def test_a_flood_is_served_over_several_turns_and_nobody_is_left_out(stage: Stage) -> None:
    called: set[int] = set()
    most = 0
    sockets = [stage.pair() for _ in range(AT_ONCE + 20)]

    def on_ready(ours: socket.socket) -> None:
        ours.recv(1)
        called.add(ours.fileno())

    for ours, theirs in sockets:
        stage.readiness.watch(ours.fileno(), lambda _events, ours=ours: on_ready(ours))  # type: ignore[misc]  # mypy infers no default
        theirs.send(b"x")
    for _ in range(3):
        before = len(called)
        stage.readiness.serve()
        most = max(most, len(called) - before)
    assert most == AT_ONCE
    assert len(called) == len(sockets)
