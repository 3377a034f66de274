"""CoreDNS's hosts: names that are answered without asking.

Always holds: a line that pins nothing here goes to `remark`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from forwarder.config import Word
from forwarder.config_file.values import value_for
from forwarder.importing.addresses import is_address
from forwarder.importing.blocks import Directive

Remark = Callable[[Directive, str], None]
"""Says of a directive what becomes of it."""

DEFAULT_FILE = "/etc/hosts"
"""What the plugin reads when no file is named."""
MAX_ADDRESSES = 64
"""Of one name."""


@dataclass(slots=True)
class Pins:
    """What is pinned so far, over all blocks."""

    records: dict[str, list[str]] = field(default_factory=dict)
    """Name -> addresses and texts, as a Config holds them."""
    files: dict[str, None] = field(default_factory=dict)
    """In order."""

    def add(self, name: str, value: str) -> None:
        """One more address or text of a name; raises ValueError when either is none."""
        known = self.records.setdefault(str(value_for(Word.NAME, name)), [])
        pinned = str(value_for(Word.PINNED, value))
        if pinned not in known:
            if len(known) == MAX_ADDRESSES:
                raise ValueError(f"a name has {MAX_ADDRESSES} addresses at most")
            known.append(pinned)

    def mapping(self) -> dict[str, tuple[str, ...]]:
        """As `hosts.records` has it; names for which nothing could be pinned left out."""
        return {name: tuple(values) for name, values in self.records.items() if values}


def pin(directive: Directive, zones: tuple[str, ...], pins: Pins, remark: Remark) -> None:
    """Add what this `hosts` of a block of these zones says."""
    file = directive.args[0] if directive.args else DEFAULT_FILE
    if len(directive.args) > 1:
        remark(directive, "pinned names are answered whatever zone they are in")
    if file.startswith("/"):
        pins.files.setdefault(file)
    else:
        remark(directive, "the file needs its whole path: write it under hosts.files")
    if not any(option.name == "fallthrough" for option in directive.options):
        remark(
            directive,
            "names of the zone that are not pinned are asked of its upstreams: there, without fallthrough, none exist",
        )
    for option in directive.options:
        _read(option, zones, pins, remark)


def zones_above(name: str) -> set[str]:
    """All zones that a name is in: its own, those above it, and the root."""
    labels = name.split(".")
    return {".", *(".".join(labels[at:]) for at in range(len(labels)))}


def _read(option: Directive, zones: tuple[str, ...], pins: Pins, remark: Remark) -> None:
    if is_address(option.name):
        for sentence in _unpinned(option, zones, pins):
            remark(option, sentence)
    elif option.name == "fallthrough":
        if option.args:
            remark(option, "what is not pinned is always asked upstream")
    elif option.name == "ttl":
        remark(option, "the TTL of pinned names is 30 s")
    elif option.name == "no_reverse":
        remark(option, "PTR records follow from pinned addresses")
    elif option.name == "reload":
        remark(option, "the files are watched all the time")
    else:
        remark(option, "an option of hosts that is not known here, and was not carried over")


def _unpinned(option: Directive, zones: tuple[str, ...], pins: Pins) -> Iterator[str]:
    """`ADDRESS NAME...`: pin the names; why some are not."""
    if not option.args:
        yield "names nothing, and was not carried over"
    for name in option.args:
        lower = name.lower().removesuffix(".")
        if zones_above(lower).isdisjoint(zones):
            yield "is not in the zone, and was never answered there: left out"
            continue
        try:
            pins.add(name, option.name)
        except ValueError as error:
            yield f"{error}, and was not carried over"
