"""A command's side of the control socket: one request, one response.

Always holds: whatever keeps the daemon from answering is a ControlError, one sentence with what to do about it.
"""

import socket
from collections.abc import Sequence

from forwarder.control import protocol
from forwarder.errors import ControlError

PATIENCE_SECONDS = 10.0
"""Longer than the daemon takes for anything that it is asked for here."""


def ask(paths: Sequence[str], request: protocol.Request) -> protocol.Flushed:
    """What the daemon says that listens at the first of these places where one does. Raises ControlError."""
    with _connected(paths) as connection:
        try:
            connection.send(protocol.written(request))
            data = connection.recv(protocol.MAX_RESPONSE)
        except TimeoutError:
            raise ControlError(f"the daemon did not answer within {PATIENCE_SECONDS:.0f} s") from None
        except OSError as error:
            raise ControlError(f"the daemon went away before it answered ({error.strerror})") from error
    if not data:
        raise ControlError("the daemon went away before it answered")
    response = protocol.read_response(data)
    if isinstance(response, protocol.Refused):
        raise ControlError(response.reason)
    return response


def _connected(paths: Sequence[str]) -> socket.socket:
    """A connection; else what keeps us from it, permissions before absence."""
    problems = []
    for path in paths:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(PATIENCE_SECONDS)
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
