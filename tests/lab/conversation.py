"""A daemon at a control socket, as far as one conversation goes: it says what the test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.clients import HANG


@contextmanager
def one_conversation(path: Path, converse: Callable[[socket.socket], None]) -> Iterator[None]:
    """Listens there, and has `converse` speak with the first who connects."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            converse(connection)

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(HANG)
