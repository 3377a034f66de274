"""The lines of a dnsmasq.conf, and the upstreams in them.

`#` hides the rest of a line where white space stands before it; double quotes hide white space and `#`. Raises ValueError with
a sentence for a server that cannot be asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from forwarder.config import Word
from forwarder.config_file.nodes import shown
from forwarder.config_file.values import value_for
from forwarder.importing.sources import Place, Source

STANDARD = "#"
"""In place of an address: the servers for everything else."""
ROOT = "."


@dataclass(frozen=True, slots=True)
class Line:
    """One option."""

    name: str
    value: str
    """Empty where there is none."""
    place: Place


@dataclass(frozen=True, slots=True)
class Server:
    """`server=`, `local=` or `rev-server=`, read."""

    domains: tuple[str, ...]
    """What it is for; `.` is everything else, the empty text is names without a dot."""
    upstream: str
    """As a Config holds it; `#` for the standard servers, empty for nobody."""
    source: str = ""
    """The address or interface that queries leave from, when one is written."""


def lines_in(source: Source) -> Iterator[Line]:
    """Each line that says something."""
    for number, text in enumerate(source.text.split("\n"), 1):
        name, _, value = _without_comment(text).partition("=")
        if name.strip():
            yield Line(name.strip(), value.strip().replace('"', ""), source.place(number))


def _without_comment(text: str) -> str:
    """The line up to a `#` that is at its beginning or behind white space, outside of quotes."""
    is_quoted = False
    for at, character in enumerate(text):
        if character == '"':
            is_quoted = not is_quoted
        elif character == "#" and not is_quoted and (at == 0 or text[at - 1].isspace()):
            return text[:at]
    return text


def domains_and_rest(value: str) -> tuple[tuple[str, ...], str]:
    """`/a/b/rest` -> (`a`, `b`) and `rest`; without slashes, everything (`.`) and the value. Raises ValueError."""
    if not value.startswith("/"):
        return (ROOT,), value
    *domains, rest = value[1:].split("/")
    return tuple(_domain(domain) for domain in domains), rest


def server_of(value: str) -> Server:
    """What stands behind `server=`."""
    domains, rest = domains_and_rest(value)
    address, _, source = rest.partition("@")
    if address in {"", STANDARD}:
        return Server(domains, address, source)
    host, hash_, port = address.partition("#")
    bracketed = f"[{host}]" if ":" in host else host
    text = f"{bracketed}:{port}" if hash_ else bracketed
    return Server(domains, str(value_for(Word.UPSTREAM, text)), source)


def _domain(text: str) -> str:
    """A domain of a list; empty is names without a dot."""
    if text in {"", "#"}:
        return "" if not text else ROOT
    if text.startswith("*"):
        raise ValueError(f"{shown(text)}: wildcards are not available, a zone is everything at and below its name")
    return str(value_for(Word.ZONE, text.strip(".") or "."))
