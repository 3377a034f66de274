"""A new instance takes the place of one that runs: sockets, answers and counters come over the control socket.

First everything is given, and the former serves on; then the successor serves too, on the same sockets; then it says so, and
the former answers what is in progress and leaves. Always holds: whatever goes wrong before that, the former has lost nothing;
no socket is closed that somebody may still write to; nothing is read that another version of this understands otherwise.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence

from forwarder import link
from forwarder.control import asking, protocol
from forwarder.control.listening import Conversation
from forwarder.errors import ControlError
from forwarder.observe import counters

FURTHER_SECONDS = 1.0
"""Workers without a supervisor are asked one by one; one that has died meanwhile says nothing."""


class Legacy:
    """What an instance handed over, in the hands of its successor; blocks, for use before there is a loop."""

    def __init__(self) -> None:
        self.sockets: list[int] = []
        """Descriptors of all that it had bound."""
        self.made_directory = False
        self.memories: list[link.Part] = []
        """The answers."""
        self.counters: list[memoryview] = []
        """Some of them still counting, until its processes have ended."""
        self.rows: list[str] = []
        self.pids: list[int] = []
        self._control: socket.socket | None = None
        self._connections: list[socket.socket] = []

    def take(self, connection: socket.socket) -> int:
        """Take what one of them has; how many there are. Raises ControlError."""
        self._connections.append(connection)
        estate = asking.answer_to(connection, protocol.Takeover(protocol.VERSION, protocol.HANDOVER_VERSION))
        if not isinstance(estate, protocol.Estate):
            raise ControlError("what answers at the control socket hands nothing over")
        count = estate.sockets + int(estate.control) + len(estate.snapshots) + estate.counters
        descriptors = iter(asking.descriptors(connection, count))
        self.sockets += _next(descriptors, estate.sockets)
        for descriptor in _next(descriptors, int(estate.control)):
            self._keep_control(socket.socket(fileno=descriptor), estate)
        self.memories += map(link.Part, _next(descriptors, len(estate.snapshots)), estate.snapshots)
        for place, descriptor in enumerate(_next(descriptors, estate.counters)):
            is_past_again = place == 0 and bool(self.pids)  # each worker without a supervisor has it, and it is one
            if estate.layout == counters.LAYOUT and not is_past_again:
                self.counters.append(counters.mapped(descriptor))
            os.close(descriptor)
        self.rows = estate.rows if estate.layout == counters.LAYOUT else []
        self.pids.append(estate.pid)
        return estate.workers

    def release(self) -> Sequence[socket.socket]:
        """We serve: have the former leave. Connections that end when it has.

        Raises ControlError when nobody leaves; of several workers without a supervisor one may be gone already.
        """
        released, problems = [], []
        for connection in self._connections:
            try:
                asking.answer_to(connection, protocol.Release(protocol.VERSION))
            except ControlError as error:
                problems.append(error)
                continue
            connection.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
            released.append(connection)
        if not released:
            raise problems[0]
        return released

    def take_control(self) -> socket.socket | None:
        """The control socket, which listens: the caller's from now on."""
        control, self._control = self._control, None
        return control

    def forget_answers(self) -> None:
        """They are put back, or never will be."""
        while self.memories:
            os.close(self.memories.pop().memory)

    def close(self) -> None:
        """Leave the former alone: it serves on."""
        for connection in self._connections:
            connection.close()
        while self.sockets:
            os.close(self.sockets.pop())
        self.forget_answers()
        if self._control is not None:
            self._control.close()

    def _keep_control(self, listener: socket.socket, estate: protocol.Estate) -> None:
        if self._control is None:
            self._control, self.made_directory = listener, estate.made_directory
        else:
            listener.close()


def taken_from(paths: Sequence[str]) -> Legacy:
    """What the instance hands over whose control socket is at one of these paths. Raises ControlError."""
    legacy = Legacy()
    with contextlib.ExitStack() as undo:
        undo.callback(legacy.close)
        count = legacy.take(asking.connected(paths))
        while len(legacy.pids) < count:
            with contextlib.suppress(ControlError):
                legacy.take(asking.connected(paths, FURTHER_SECONDS))
                continue
            break
        undo.pop_all()
    return legacy


def given(
    conversation: Conversation, estate: link.Estate, parts: Sequence[link.Part], maps: Sequence[int], rows: Sequence[str]
) -> protocol.Estate:
    """The answer to `Takeover`, the descriptors that go with it set: all that is bound, the answers, maps of counters."""
    conversation.descriptors = (*estate.sockets, estate.control, *(part.memory for part in parts), estate.past, *maps)
    return protocol.Estate(
        pid=os.getpid(),
        sockets=len(estate.sockets),
        control=True,
        made_directory=estate.made_directory,
        snapshots=[part.size for part in parts],
        layout=counters.LAYOUT,
        counters=1 + len(maps),
        rows=list(rows),
        workers=estate.workers,
    )


def ensure_understood(request: protocol.Takeover) -> None:
    """Raises ControlError when the asker would understand what it is given otherwise than we do."""
    if request.handover != protocol.HANDOVER_VERSION:
        raise ControlError(
            f"this daemon hands over in version {protocol.HANDOVER_VERSION}, not {request.handover}: "
            "stop it, then start the other one"
        )


def _next(descriptors: Iterator[int], count: int) -> list[int]:
    return [next(descriptors) for _ in range(count)]
