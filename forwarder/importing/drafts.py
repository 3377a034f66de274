"""What every kind of source comes to: a configuration of ours, and notes on what is other in it.

Always holds: what is nowhere in the configuration is in a note, and a note names line and text of the source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from forwarder.config import Config, Zone, stale_timer_for
from forwarder.importing.sources import Place


@dataclass(frozen=True, slots=True)
class Note:
    """Something of the source that was not carried over, or means something else here."""

    place: Place
    sentence: str
    """What becomes of it, or what to do; no full stop."""
    zone: str = ""
    """The zone it is about; empty when it is about everything."""


class Notes:
    """Notes as they are made."""

    def __init__(self) -> None:
        self._notes: dict[Note, None] = {}

    def add(self, place: Place, sentence: str, zone: str = "") -> None:
        """One more, unless it was made already."""
        self._notes.setdefault(Note(place, sentence, zone))

    def all(self) -> tuple[Note, ...]:
        """In the order of the source's lines."""
        return tuple(sorted(self._notes, key=lambda note: note.place.line))


@dataclass(frozen=True, slots=True)
class ZoneDraft:
    """A zone as a source says it; None where it says nothing."""

    zone: str
    upstreams: tuple[str, ...]
    """As a Config holds them."""
    place: Place
    """What made it."""
    transport: str = "udp"
    ca_file: str | None = None
    policy: str = "ordered"
    drop_aaaa: bool = False
    max_ttl: float | None = None
    """Seconds, as the next two."""
    max_negative_ttl: float | None = None
    maximum_stale_timer: float | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What to write."""

    config: Config
    """As config_file reads the file that will be written."""
    notes: tuple[Note, ...]
    places: Mapping[str, Place] = field(default_factory=dict)
    """Zone -> what made it."""
    kind: str = "Corefile"
    """What the source is."""


def with_zones(config: Config, zones: tuple[ZoneDraft, ...]) -> Config:
    """The configuration with these zones, each limit that a draft leaves open being that of the cache."""
    return replace(config, zones=tuple(_zone(config, draft) for draft in zones))


def _zone(config: Config, draft: ZoneDraft) -> Zone:
    timer = stale_timer_for(draft.zone, config.cache, config.cluster_domain)
    return Zone(
        zone=draft.zone,
        upstreams=draft.upstreams,
        transport=draft.transport,  # type: ignore[arg-type]  # one of the three words, by who made the draft
        ca_file=draft.ca_file,
        max_ttl=config.cache.max_ttl if draft.max_ttl is None else draft.max_ttl,
        max_negative_ttl=config.cache.max_negative_ttl if draft.max_negative_ttl is None else draft.max_negative_ttl,
        maximum_stale_timer=timer if draft.maximum_stale_timer is None else draft.maximum_stale_timer,
        policy=draft.policy,  # type: ignore[arg-type]  # the same
        drop_aaaa=draft.drop_aaaa,
    )
