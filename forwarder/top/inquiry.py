"""The conversation with the daemon: one question after the other, begun anew with whoever answers at its place.

Always holds: a daemon that went away, or handed over to another, is looked for again at the next question.
"""

import socket
from collections.abc import Sequence

from forwarder.control import asking
from forwarder.errors import ControlError
from forwarder.inside import seen
from forwarder.observe.overview import Moment

PATIENCE_SECONDS = 2.0
"""A daemon that takes longer is shown as one that does not answer."""


class Inquiry:
    """Asks, and asks again."""

    def __init__(self, paths: Sequence[str]) -> None:
        """`paths`: where the control socket may be."""
        self._paths = paths
        self._connection: socket.socket | None = None

    def ask(self) -> Moment:
        """How it is. Raises ControlError with why nobody says it."""
        if self._connection is not None:
            try:
                return self._asked(self._connection)
            except ControlError:
                self.close()  # another instance may be there by now
        self._connection = asking.connected(self._paths, PATIENCE_SECONDS)
        try:
            return self._asked(self._connection)
        except ControlError:
            self.close()
            raise

    def close(self) -> None:
        """Ask no more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self, connection: socket.socket) -> Moment:
        return seen.moment_in(asking.answer_to(connection, seen.REQUEST))
