"""`forwarder lookup`, as the command line has it: reads the resolv.conf file, looks up, shows.

Always holds: what a person typed wrongly, or a file that cannot be read, is a ConfigError; the rest is told as a lookup.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forwarder.errors import ConfigError, Problem
from forwarder.lookup import telling
from forwarder.lookup.ledger import Entry
from forwarder.lookup.looking import look_up
from forwarder.lookup.questions import Wanted, wanted_for
from forwarder.lookup.settings import Libc, Settings, server_from_text, settings_for
from forwarder.lookup.steps import Await

MAX_FILE = 1 << 20
"""Octets of a resolv.conf file: as much as the daemon reads of one."""


@dataclass(frozen=True, slots=True)
class Request:
    """The command line."""

    name: str
    type: str | None
    libc: str
    file: str
    """The resolv.conf file."""
    server: str | None


def look_up_and_tell(request: Request, show: Callable[[str], bool], say: Callable[[str], None], *, in_json: bool) -> bool:
    """Do what was asked for; whether the name was resolved. `show` writes for the person, `say` what it waits for meanwhile."""
    wanted = _wanted(request)
    settings = _settings(request)
    lines = telling.Lines(wanted, settings)

    def tell(entry: Entry, begun: float) -> None:
        show(lines.line(entry, begun))

    def watch(waiting: Await, seconds: float) -> None:
        servers = tuple(dict.fromkeys(link.server for link in waiting.links))
        say(telling.waiting_text(waiting.queries, servers, seconds))

    if in_json:
        result = look_up(wanted, settings, lambda *_: None, watch)
        return show(telling.as_json(result, request.file)) and result.is_resolved and not result.is_interrupted
    show(telling.heading(wanted, settings, telling.ascii_only(request.file)))
    show(lines.title())
    result = look_up(wanted, settings, tell, watch)
    return show(telling.ending(result)) and result.is_resolved and not result.is_interrupted


def _wanted(request: Request) -> Wanted:
    try:
        return wanted_for(request.name, request.type)
    except ValueError as error:
        raise _wrong("lookup", str(error)) from None


def _settings(request: Request) -> Settings:
    try:
        server = None if request.server is None else server_from_text(request.server)
    except ValueError as error:
        raise _wrong("--server", str(error)) from None
    try:
        with Path(request.file).open("rb") as file:
            text = file.read(MAX_FILE).decode(errors="replace")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _wrong(telling.ascii_only(request.file), f"cannot be read: {why}") from None
    return settings_for(text, Libc(request.libc), host_name=socket.gethostname(), server=server)


def _wrong(where: str, what: str) -> ConfigError:
    return ConfigError((Problem(where, what),))
