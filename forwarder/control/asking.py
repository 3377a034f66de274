"""A command's side of the control socket: a request, a response, and what comes with it.

Always holds: whatever keeps the daemon from answering is a ControlError, one sentence with what to do about it.
"""

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import TypeVar

from forwarder.control import protocol
from forwarder.errors import ControlError

Kind = TypeVar("Kind", protocol.Flushed, protocol.Reloaded, protocol.Shown, protocol.Dumped)

PATIENCE_SECONDS = 10.0
"""Longer than the daemon takes for anything that it is asked for here."""


def ask(paths: Sequence[str], request: protocol.Request) -> protocol.Answer:
    """What the daemon says that listens at the first of these places where one does. Raises ControlError."""
    with connected(paths) as connection:
        return answer_to(connection, request)


def answer_to(connection: socket.socket, request: protocol.Request) -> protocol.Answer:
    """What the daemon says at the other end. Raises ControlError, with its reason where it refuses."""
    try:
        connection.send(protocol.written(request))
        data = connection.recv(protocol.MAX_RESPONSE)
    except TimeoutError:
        raise ControlError(f"the daemon did not answer within {connection.gettimeout():.0f} s") from None
    except OSError as error:
        raise ControlError(f"the daemon went away before it answered ({error.strerror})") from error
    if not data:
        raise ControlError("the daemon went away before it answered")
    response = protocol.read_response(data)
    if isinstance(response, protocol.Refused):
        raise ControlError(response.reason)
    return response


def of_kind(kind: type[Kind], answer: protocol.Answer) -> Kind:
    """The answer, where it is of the kind that the request has; else ControlError."""
    if not isinstance(answer, kind):
        raise ControlError("what answers is no forwarder of this version")
    return answer


def descriptors(connection: socket.socket, count: int) -> list[int]:
    """So many descriptors that follow a response; they are ours, and no program that we start inherits them.

    Raises ControlError when there are fewer.
    """
    found: list[int] = []
    with contextlib.ExitStack() as undo:
        while len(found) < count:
            try:
                data, more, _, _ = socket.recv_fds(connection, 64, protocol.DESCRIPTORS)
            except OSError as error:
                why = error.strerror or error
                raise ControlError(f"the daemon went away before it had handed everything over ({why})") from error
            found += more
            for descriptor in more:
                undo.callback(os.close, descriptor)
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - recv_fds of Python 3.11 drops MSG_CMSG_CLOEXEC
            if not data or not more:
                raise ControlError(
                    f"the daemon handed {len(found)} of {count} descriptors over: is their limit (ulimit -n) too low?"
                )
        undo.pop_all()
    return found


def connected(paths: Sequence[str], patience: float = PATIENCE_SECONDS) -> socket.socket:
    """A connection that waits so many seconds; else ControlError with what keeps us from it, permissions before absence."""
    problems = []
    for path in paths:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(patience)
        try:
            connection.connect(path)
        except PermissionError:
            problems.append(f"not permitted to ask the daemon at {path}: only root and the user it runs as may")
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            pass  # nobody is there
        except OSError as error:
            problems.append(f"the daemon at {path} cannot be asked: {error.strerror or error}")
        else:
            return connection
        connection.close()
    places = " or ".join(paths)
    absent = f"no daemon listens at {places}: is it running? --config FILE or --control PATH names another place"
    raise ControlError(problems[0] if problems else absent)
