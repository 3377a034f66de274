"""The daemon's side of the control socket: hears requests at its place, has them answered.

Never does what is asked for itself: that is whoever was given to answer. Always holds: DNS depends on nothing here; only root
and our own user are answered; a request, the number of conversations and the silence within one are bounded.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

from forwarder.control import protocol
from forwarder.control.place import MAX_CONVERSATIONS, Place
from forwarder.errors import ControlError
from forwarder.levels import Err

SILENCE_SECONDS = 10.0
"""A conversation in which nothing is asked, or nothing read, for as long is over."""
ACCEPT_AGAIN_SECONDS = 1.0
"""When there is no descriptor left for a conversation, others need it more."""
SEND_AGAIN_SECONDS = 0.01
"""While descriptors wait for whoever is to read them."""

_credentials = struct.Struct("=iII")
"""What SO_PEERCRED gives: pid, uid, gid (unix(7))."""


class Conversation:
    """One connection, as whoever answers sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pid, self.uid, _ = _credentials.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _credentials.size)
        )
        """Process and user at the other end, as they were when the connection was made."""
        self.descriptors: Sequence[int] = ()
        """What goes out behind the next response, to be set by whoever answers."""
        self.on_sent: Callable[[], None] | None = None
        """Called once when they are out, or never will be: whoever set them may close them."""
        self.on_end: Callable[[], None] | None = None
        """Called when it is over, however it came to it."""

    def let_go(self) -> None:
        """The descriptors are out, or never will be."""
        on_sent, self.on_sent, self.descriptors = self.on_sent, None, ()
        if on_sent is not None:
            on_sent()


class Listening:
    """The conversations at one place; lives in a running asyncio loop."""

    def __init__(
        self,
        place: Place,
        answer: Callable[[protocol.Request, Conversation], Awaitable[protocol.Response]],
        say: Callable[[str], None],
        conversations: int = MAX_CONVERSATIONS,
    ) -> None:
        """`answer` may raise ControlError with why it will not; `say` takes a line about a defect.

        More than so many `conversations` wait for one to end, or for somebody else who listens at the same place.
        """
        self._place = place
        self._answer = answer
        self._say = say
        self._may_begin = asyncio.Semaphore(conversations)
        self._conversations: set[asyncio.Task[None]] = set()

    async def serve(self, ending: asyncio.Event) -> None:
        """Answer until the end comes; then leave the place."""
        accepting = asyncio.create_task(self._accept())
        waiting = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait((accepting, waiting), return_when=asyncio.FIRST_COMPLETED)
            if accepting.done():
                accepting.result()
        finally:
            for task in (accepting, waiting, *self._conversations):
                task.cancel()
            self._place.leave()

    async def _accept(self) -> None:
        while True:
            await self._may_begin.acquire()
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(self._place.listener)
            except OSError:
                self._may_begin.release()
                await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                continue
            conversation = asyncio.create_task(self._converse(connection))
            self._conversations.add(conversation)
            conversation.add_done_callback(self._end)

    def _end(self, conversation: asyncio.Task[None]) -> None:
        self._conversations.discard(conversation)
        self._may_begin.release()
        if not conversation.cancelled() and (defect := conversation.exception()) is not None:
            self._say(Err(f"a request at the control socket failed, please report this: {defect!r}"))

    async def _converse(self, connection: socket.socket) -> None:
        conversation = Conversation(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, protocol.MAX_RESPONSE)  # the kernel doubles it
        try:
            with connection, contextlib.suppress(TimeoutError, ConnectionError):
                await self._answer_all(connection, conversation)
        finally:
            conversation.let_go()
            if conversation.on_end is not None:
                conversation.on_end()

    async def _answer_all(self, connection: socket.socket, conversation: Conversation) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                data = await loop.sock_recv(connection, protocol.MAX_REQUEST + 1)
            if not data:
                return
            response = protocol.written(await self._response_to(data, conversation))
            async with asyncio.timeout(SILENCE_SECONDS):
                await loop.sock_sendall(connection, response)
                await _send_descriptors(connection, conversation.descriptors)
            conversation.let_go()

    async def _response_to(self, data: bytes, conversation: Conversation) -> protocol.Response:
        own = os.geteuid()
        if conversation.uid not in {0, own}:
            return protocol.Refused(
                f"only root and the user this daemon runs as (uid {own}) may ask, not uid {conversation.uid}"
            )
        if len(data) > protocol.MAX_REQUEST:
            return protocol.Refused(f"a request has {protocol.MAX_REQUEST} octets at most")
        try:
            return await self._answer(protocol.read_request(data), conversation)
        except ControlError as error:
            return protocol.Refused(str(error))


async def _send_descriptors(connection: socket.socket, descriptors: Sequence[int]) -> None:
    """As many in one message as the kernel takes, and again until all are sent."""
    for first in range(0, len(descriptors), protocol.DESCRIPTORS):
        while True:
            try:
                socket.send_fds(connection, [b"descriptors"], list(descriptors[first : first + protocol.DESCRIPTORS]))
                break
            except BlockingIOError:
                await asyncio.sleep(SEND_AGAIN_SECONDS)
