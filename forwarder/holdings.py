"""What the daemon holds as long as it lives: bound by itself, or taken over from an instance of ours that runs.

Always holds: what cannot be had is one sentence with what to do, and then nothing is held; an instance that was asked to hand
over serves on until it is released.
"""

import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from forwarder import config as settings
from forwarder import handover, link, sockets
from forwarder.adoption import Offered
from forwarder.control import listening, protocol
from forwarder.errors import ControlError, ListenError
from forwarder.generation import count_for
from forwarder.observe import counters
from forwarder.terminal import say


@dataclass(frozen=True, slots=True)
class Holdings:
    """Held by the supervisor, and by workers for the time after it."""

    doors: sockets.Doors
    """Those of the first generation, whose they are."""
    http: socket.socket
    past: int
    """Descriptor of the counters of workers that ended."""
    place: listening.Place | None
    """Where we are asked; None where no place can be had."""
    legacy: handover.Legacy | None
    """What an instance before us handed over that waits to be released."""

    def estate(self, doors: sockets.Doors, workers: int) -> link.Estate | None:
        """What one of so many workers can hand over without us; None where nobody could ask for it."""
        if self.place is None:
            return None
        return link.Estate(
            sockets=[*doors.descriptors, self.http.fileno()],
            past=self.past,
            control=self.place.listener.fileno(),
            control_path=str(self.place.path),
            made_directory=self.place.made_directory,
            workers=workers,
        )


def acquired(config: settings.Config, held: contextlib.ExitStack, *, takeover: bool) -> Holdings:
    """All of it, given back by `held`. Raises ListenError; and ControlError where it is to take over in vain."""
    paths = protocol.paths_for(config.observe.control, os.environ)
    legacy = _legacy(paths, held) if takeover else None
    try:
        doors = _doors(config, legacy)
    except ListenError:
        legacy = _legacy_of_ours(paths, held) if legacy is None else None
        if legacy is None:
            raise
        doors = _doors(config, legacy)
    held.callback(doors.close)
    http = held.enter_context(sockets.bind_http(config.observe.http, Offered() if legacy is None else legacy.offered))
    past = os.memfd_create("forwarder-counters")
    held.callback(os.close, past)
    os.ftruncate(past, counters.SIZE * 8)
    place = _place(paths, legacy)
    if place is not None:
        held.callback(place.leave)
    return Holdings(doors, http, past, place, legacy)


def _doors(config: settings.Config, legacy: handover.Legacy | None) -> sockets.Doors:
    listen = config.listen
    offered = Offered() if legacy is None else legacy.offered
    return sockets.bind_doors(listen.addresses, listen.receive_buffer, count_for(listen), offered)


def _legacy(paths: Sequence[str], held: contextlib.ExitStack) -> handover.Legacy:
    legacy = handover.taken_from(paths)
    held.callback(legacy.close)
    return legacy


def _legacy_of_ours(paths: Sequence[str], held: contextlib.ExitStack) -> handover.Legacy | None:
    """What is handed over where an address is taken; None when no instance of ours is there, or it hands nothing over."""
    try:
        return _legacy(paths, held)
    except ControlError as error:
        say(f"nobody hands the addresses over: {error}")
        return None


def _place(paths: Sequence[str], legacy: handover.Legacy | None) -> listening.Place | None:
    listener = None if legacy is None else legacy.take_control()
    if legacy is not None and listener is not None:
        place = listening.adopted_place(paths, listener, made_directory=legacy.made_directory)
        if place is not None:
            return place
        listener.close()
    try:
        return listening.taken_place(paths)
    except ControlError as error:
        say(f"there is no control socket, DNS goes on without: {error}")
        return None
