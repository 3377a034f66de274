"""What the daemon holds as long as it lives: bound by itself, passed by systemd, or taken over from an instance that runs.

Always holds: what cannot be had is one sentence with what to do, and then nothing is held; an instance that was asked to hand
over serves on until it is released; what was passed and is of no use is closed, and said.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forwarder import config as settings
from forwarder import handover, link, privileges, sockets, systemd
from forwarder.adoption import Offered
from forwarder.control import protocol
from forwarder.control.place import Place, adopted_place, ensure_directory, taken_place
from forwarder.errors import ControlError, ListenError
from forwarder.generation import count_for
from forwarder.observe import counters
from forwarder.terminal import say


@dataclass(frozen=True, slots=True)
class Holdings:
    """Held by the supervisor, and by workers for the time after it."""

    service: systemd.Service
    doors: sockets.Doors
    """Those of the first generation, whose they are."""
    http: socket.socket
    past: int
    """Descriptor of the counters of workers that ended."""
    place: Place | None
    """Where we are asked; None where no place can be had."""
    legacy: handover.Legacy | None
    """What an instance before us handed over that waits to be released."""
    complaints: tuple[str, ...]
    """A sentence for each socket that systemd passed and that no setting names."""

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


def become(config: settings.Config) -> None:
    """The configured user from here on, its place for the control socket included. Raises ConfigError, PrivilegeError."""
    user = privileges.user_for(config.user)
    if user is not None:
        ensure_directory(protocol.paths_for(config.observe.control, os.environ)[0], user.uid, user.gid)
    privileges.become(user)


def acquired(config: settings.Config, held: contextlib.ExitStack, *, takeover: bool) -> Holdings:
    """All of it, given back by `held`. Raises ListenError; and ControlError where it is to take over in vain."""
    service = systemd.Service.from_environment(os.environ)
    held.callback(service.close)
    paths = protocol.paths_for(config.observe.control, os.environ)
    legacy = _legacy(paths, held) if takeover else _legacy_of_readers(service, paths, held)
    bidding = _Bidding(service, legacy)
    try:
        doors = _doors(config, bidding)
    except ListenError:
        legacy = _legacy_of_ours(paths, held) if legacy is None else None
        if legacy is None:
            raise
        bidding = _Bidding(service, legacy)
        doors = _doors(config, bidding)
    held.callback(doors.close)
    http = held.enter_context(sockets.bind_http(config.observe.http, bidding.offered))
    complaints = tuple(bidding.rest(settings.doors_of(config)))
    past = os.memfd_create("forwarder-counters")
    held.callback(os.close, past)
    os.ftruncate(past, counters.SIZE * 8)
    place = _place(paths, legacy)
    if place is not None:
        held.callback(place.leave)
    return Holdings(service, doors, http, past, place, legacy, complaints)


class _Bidding:
    """Sockets that somebody bound before us, for whoever names their addresses; those it was made of stay open."""

    def __init__(self, service: systemd.Service, legacy: handover.Legacy | None) -> None:
        self._service = service
        self._passed = {os.dup(one.descriptor): one for one in service.passed if one.is_socket}
        handed_over = [] if legacy is None else [os.dup(descriptor) for descriptor in legacy.sockets]
        self.offered = Offered([*self._passed, *handed_over])

    def rest(self, addresses: Sequence[str]) -> Iterator[str]:
        """Close what systemd passed; have it forget what it kept for us in vain, and complain of the rest."""
        for passed in self._service.passed:
            if not passed.is_socket:
                self._service.forget(passed.name)
            os.close(passed.descriptor)
        for descriptor, what in self.offered.close().items():
            one = self._passed.get(descriptor)
            if one is None:
                continue  # an instance before us listened there, and we do not
            if one.is_kept:
                self._service.forget(one.name)
            elif what.partition(" ")[0] in addresses:
                yield f"{one.name} passed {what} too often, and what reaches that socket is lost: TCP takes one for all workers"
            else:
                yield f"{one.name} passed {what}, where nothing answers: name it in listen.addresses, or leave it out there"


def _doors(config: settings.Config, bidding: _Bidding) -> sockets.Doors:
    listen = config.listen
    try:
        return sockets.bind_doors(settings.doors_of(config), listen.receive_buffer, count_for(listen), bidding.offered)
    except ListenError:
        bidding.offered.close()
        raise


def _legacy(paths: Sequence[str], held: contextlib.ExitStack) -> handover.Legacy:
    legacy = handover.taken_from(paths)
    held.callback(legacy.close)
    return legacy


def _legacy_of_ours(paths: Sequence[str], held: contextlib.ExitStack) -> handover.Legacy | None:
    """What is handed over where an address is taken; None when no instance of ours is there, or it hands nothing over."""
    if not any(map(_is_socket, paths)):
        return None
    try:
        return _legacy(paths, held)
    except ControlError as error:
        say(f"nobody hands the addresses over: {error}")
        return None


def _is_socket(path: str) -> bool:
    with contextlib.suppress(PermissionError):  # the system's daemon is there, and nothing is handed over to us
        return Path(path).is_socket()
    return False


def _legacy_of_readers(service: systemd.Service, paths: Sequence[str], held: contextlib.ExitStack) -> handover.Legacy | None:
    """What is handed over by those who read sockets that systemd passed: workers go on for a while when we are killed."""
    passed = {os.fstat(one.descriptor).st_ino for one in service.passed if one.is_socket}
    legacy = _legacy_of_ours(paths, held) if passed else None
    if legacy is not None and passed.isdisjoint(os.fstat(descriptor).st_ino for descriptor in legacy.sockets):
        legacy.close()  # another daemon, which stays
        return None
    return legacy


def _place(paths: Sequence[str], legacy: handover.Legacy | None) -> Place | None:
    listener = None if legacy is None else legacy.take_control()
    if legacy is not None and listener is not None:
        place = adopted_place(paths, listener, made_directory=legacy.made_directory)
        if place is not None:
            return place
        listener.close()
    try:
        return taken_place(paths)
    except ControlError as error:
        say(f"there is no control socket, DNS goes on without: {error}")
        return None
