"""Server blocks into a configuration of ours.

Never asks a server and never opens a file. Always holds: each directive is in the configuration, or in a note.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from msgspec.structs import replace as changed

from forwarder.config import (
    CacheSettings,
    Config,
    Endpoint,
    Hosts,
    Listen,
    NodeSettings,
    ObserveSettings,
    is_below,
    split_address,
)
from forwarder.config_file.values import duration_text, value_for
from forwarder.errors import ConfigError, Problem
from forwarder.importing import remarks
from forwarder.importing.addresses import NamelessError, ZoneKey, zone_key, zones_named
from forwarder.importing.blocks import Corefile, Directive, ServerBlock
from forwarder.importing.caching import Limits, limits_of
from forwarder.importing.drafts import Draft, Notes, ZoneDraft, with_zones
from forwarder.importing.forwarding import Route, route_of
from forwarder.importing.listening import Binding, listening_of
from forwarder.importing.pinning import Pins, pin
from forwarder.importing.routing import is_used, zones_of
from forwarder.importing.sources import Place, quoted

METRICS = "localhost:9153"
"""Where CoreDNS shows its metrics when `prometheus` names no address."""
CLUSTER_DOMAIN = "cluster.local"
MAX_ZONES = 1000
"""Of a configuration."""
LEAST_FAILURE_TTL, MOST_FAILURE_TTL = 1.0, 300.0
"""Bounds of cache.max_failure_ttl."""
UNCACHED = (
    "without `cache` nothing is kept there: here answers are kept as long as their TTL says, at most"
    f" {duration_text(CacheSettings().max_ttl)}, negative ones {duration_text(CacheSettings().max_negative_ttl)}"
)

Remark = Callable[[Directive, str], None]


@dataclass(slots=True)
class _Block:
    """One server block as it is read."""

    zones: tuple[str, ...]
    ports: tuple[int, ...]
    remark: Remark
    place: Place
    routes: list[Route]
    hosts: list[str]
    bind: Place | None = None
    limits: Limits | None = None
    drop_aaaa: bool = False


def draft_of(corefile: Corefile, where: str, values: Mapping[str, str]) -> Draft:
    """What these blocks mean. `values`: of the `__PILLAR__` words. Raises ConfigError when nobody is left to ask."""
    translation = _Translation(where, values)
    for directive in corefile.unread:
        translation.notes.add(directive.place, remarks.for_plugin("import"))
    keyed = [(block, translation.keys_of(block)) for block in corefile.blocks]
    translation.keyed = {zone for _, keys in keyed for key in keys for zone in key.zones}
    for block, keys in keyed:
        translation.add(block, keys)
    return translation.draft()


class _Translation:
    """All blocks as they are read."""

    def __init__(self, where: str, values: Mapping[str, str]) -> None:
        self.notes = Notes()
        self.keyed: set[str] = set()
        """The zones that stand before a block."""
        self._where = where
        self._values = values
        self._seen: set[str] = set()
        """The zones of the blocks that were read."""
        self._zones: dict[str, ZoneDraft] = {}
        self._bindings: list[Binding] = []
        self._pins = Pins()
        self._http: str | None = None
        self._size: int | None = None
        self._failure_ttl: float | None = None
        self._cluster: str | None = None

    def keys_of(self, block: ServerBlock) -> list[ZoneKey]:
        """The zones it is for, over plain DNS; none when the block cannot be carried over as a whole."""
        if block.named("view"):
            self.notes.add(block.place, f"{remarks.for_plugin('view')}: a block with a view was not carried over")
            return []
        keys = []
        for text in block.keys:
            try:
                key = zone_key(text)
            except ValueError as error:
                self.notes.add(block.place, f"{error}, and was not carried over")
                continue
            if key.scheme == "dns":
                keys.append(key)
            else:
                self.notes.add(block.place, f"clients are served over plain UDP and TCP: {quoted([text])} was not carried over")
        if not keys:
            self.notes.add(block.place, "nothing of this block was carried over")
        return keys

    def add(self, block: ServerBlock, keys: list[ZoneKey]) -> None:
        """Carry a block over, except for zones that an earlier one has."""
        named = tuple(dict.fromkeys(zone for key in keys for zone in key.zones))
        zones = tuple(zone for zone in named if zone not in self._seen)
        self._seen.update(zones)
        if len(zones) < len(named):
            left = quoted([zone for zone in named if zone not in zones])
            self.notes.add(block.place, f"{left} has a block already, and every listen address has the same zones: left out")
        if not zones:
            return
        remark = functools.partial(self._remark, zones[0])
        read = _Block(zones, tuple(dict.fromkeys(key.port for key in keys)), remark, block.place, [], [])
        for directive in block.directives:
            self._read(directive, read)
        self._bindings.append(Binding(tuple(read.hosts), read.ports, read.bind or replace(block.place, last=block.place.line)))
        self._route(read)

    def draft(self) -> Draft:
        """All of it; raises ConfigError when there is nobody to ask."""
        zones = tuple(self._zones.values())
        if not zones:
            sentence = "nobody to ask: no server block forwards to an upstream that can be asked, such as forward . 192.0.2.53"
            problems = [Problem(f"{self._where}: line {note.place.line}", note.sentence) for note in self.notes.all()]
            raise ConfigError((Problem(self._where, sentence), *problems[:20]))
        asked = {split_address(one)[0] for zone in zones for one in zone.upstreams if not one.startswith("/")}
        services = self._values.get("DNS__SERVER", "").split()
        listening = listening_of(self._bindings, asked, services, self.notes)
        config = Config(
            listen=Listen(addresses=listening.addresses) if listening.addresses else Listen(),
            cluster_domain=self._cluster_domain(),
            zones=(),
            hosts=Hosts(records=self._pins.mapping(), files=tuple(self._pins.files)),
            cache=CacheSettings() if self._failure_ttl is None else CacheSettings(max_failure_ttl=self._failure_ttl),
            observe=ObserveSettings() if self._http is None else ObserveSettings(http=self._http),
            node=NodeSettings(intercept=listening.intercept),
        )
        if self._size is not None:
            config = changed(config, listen=changed(config.listen, max_udp_size=self._size))
        return Draft(with_zones(config, zones), self.notes.all(), {zone.zone: zone.place for zone in zones})

    def _remark(self, zone: str, directive: Directive, sentence: str) -> None:
        self.notes.add(directive.place, sentence, "" if directive.name in remarks.SERVER_WIDE else zone)

    def _read(self, directive: Directive, block: _Block) -> None:
        match directive.name:
            case "forward" | "proxy":
                self._forward(directive, block)
            case "kubernetes":
                self._kubernetes(directive, block)
            case "cache" if block.limits is None:
                block.limits = limits_of(directive, block.zones, block.remark)
                self._remember_failures(directive, block)
            case "cache":
                block.remark(directive, "a block has one cache: the first one counts")
            case "bind":
                block.hosts += directive.args
                block.bind = block.bind or directive.place
                for option in directive.options:
                    block.remark(option, "addresses of interfaces are not known here: name those that remain")
            case "hosts":
                pin(directive, block.zones, self._pins, block.remark)
            case "prometheus":
                self._show(directive, block)
            case "template" if _drops_aaaa(directive, block.zones):
                block.drop_aaaa = True
            case "bufsize" if self._size is None and (size := _size(directive)):
                self._size = size
            case _:
                block.remark(directive, remarks.for_plugin(directive.name))

    def _forward(self, directive: Directive, block: _Block) -> None:
        try:
            route = route_of(directive, block.remark)
        except NamelessError as error:
            raise ConfigError((Problem(f"{self._where}: line {directive.place.line}", str(error)),)) from None
        if route is not None and route.upstreams:
            block.routes.append(route)
        elif route is not None:
            sentence = "none of its upstreams can be asked: its names are asked where the zone above them is asked"
            block.remark(directive, sentence)

    def _kubernetes(self, directive: Directive, block: _Block) -> None:
        """The names of the cluster, which the cluster's DNS is asked for."""
        servers = self._values.get("CLUSTER__DNS", "").split()
        if not servers:
            sentence = "its names come from the Kubernetes API, which is not asked here: add --pillar CLUSTER__DNS=ADDRESS"
            what = f"{sentence}, a service address of the cluster's DNS"
            raise ConfigError((Problem(f"{self._where}: line {directive.place.line}", what),))
        zones: list[str] = []
        for arg in directive.args or block.zones:
            try:
                zones += zones_named(arg)
            except ValueError as error:
                block.remark(directive, f"{error}, and was not carried over")
        self._cluster = self._cluster or next((zone for zone in zones if not zone.endswith(".arpa") and zone != "."), None)
        block.remark(directive, f"{remarks.for_plugin('kubernetes')} (CLUSTER__DNS), over TCP as NodeLocal DNSCache does")
        asking = Directive("forward", (".", *servers), directive.place, (Directive("force_tcp", (), directive.place),))
        route = route_of(asking, block.remark)
        if route is not None and route.upstreams:
            block.routes[:0] = [replace(route, zone=zone) for zone in zones]

    def _remember_failures(self, directive: Directive, block: _Block) -> None:
        """`servfail`, which is one setting for all zones here."""
        wanted = block.limits.servfail if block.limits is not None else None
        if wanted is None:
            return
        ttl = min(max(wanted, LEAST_FAILURE_TTL), MOST_FAILURE_TTL)
        option = next(option for option in directive.options if option.name == "servfail")
        if self._failure_ttl is None:
            self._failure_ttl = ttl
        if (self._failure_ttl, ttl) != (wanted, wanted):
            block.remark(option, "cache.max_failure_ttl is one for all zones, 1 s to 5 min: the first one counts")

    def _show(self, directive: Directive, block: _Block) -> None:
        """`prometheus [ADDRESS]`, which is one page here."""
        host, _, port = (directive.args[0] if directive.args else METRICS).rpartition(":")
        host = {"localhost": "127.0.0.1", "": "0.0.0.0"}.get(host, host)  # noqa: S104 - as the operator wrote it
        try:
            http = str(value_for(Endpoint(9253), f"{host}:{port}"))
        except ValueError as error:
            block.remark(directive, f"{error}: write observe.http")
            return
        self._http = self._http or http
        if http != self._http:
            block.remark(directive, f"there is one page with metrics, at {self._http}")
        elif host == "0.0.0.0":  # noqa: S104 - compared
            block.remark(directive, "is open to the network there, and so is observe.http: its pages name what clients ask")

    def _route(self, block: _Block) -> None:
        """The zones that follow from a block that was read."""

        def unasked(name: str) -> None:
            what = "nobody is asked there" if block.routes else "the block forwards nothing"
            self.notes.add(
                replace(block.place, last=block.place.line), f"{name}: {what}; here the zone above it is asked", name
            )

        inner = sum(1 + len(route.exceptions) for route in block.routes)
        if inner + len(block.zones) > MAX_ZONES:
            sentence = f"this block makes more than {MAX_ZONES} zones: that is more than a configuration has"
            raise ConfigError((Problem(f"{self._where}: line {block.place.line}", sentence),))
        chosen = zones_of(block.zones, block.routes, unasked)
        for route in block.routes:
            if not is_used(route, chosen):
                self.notes.add(
                    route.place, "no name comes here: what stands before it is asked first, or it is in another zone"
                )
        limits = block.limits or Limits()
        for name, route in chosen:
            if name not in block.zones and (name in self.keyed or name in self._zones):
                self.notes.add(route.place, f"{name} has a block of its own, which is asked")
                continue
            if block.limits is None:
                self.notes.add(replace(block.place, last=block.place.line), UNCACHED, name)
            self._zones[name] = ZoneDraft(
                name,
                route.upstreams,
                replace(block.place, last=block.place.line) if name in block.zones else route.place,
                transport=route.transport,
                ca_file=route.ca_file,
                policy=route.policy,
                drop_aaaa=block.drop_aaaa,
                max_ttl=limits.max_ttl,
                max_negative_ttl=limits.max_negative_ttl,
                maximum_stale_timer=limits.maximum_stale_timer,
            )

    def _cluster_domain(self) -> str | None:
        """Named by a value or a plugin, else by its usual name, else the one zone that is asked where reverse names are."""
        given = self._values.get("DNS__DOMAIN", "").lower().removesuffix(".")
        for name in (given, self._cluster, CLUSTER_DOMAIN):
            if name and name in self._zones:
                return name
        reverse = self._zones.get("in-addr.arpa")
        root = self._zones.get(".")
        if reverse is None or (root is not None and root.upstreams == reverse.upstreams):
            return None
        alike = [
            zone for zone in self._zones.values() if zone.upstreams == reverse.upstreams and not is_below(zone.zone, "arpa")
        ]
        if len(alike) != 1:
            return None
        sentence = f"{alike[0].zone} is taken for the cluster's domain (cluster_domain): it is asked where in-addr.arpa is"
        self.notes.add(alike[0].place, sentence, alike[0].zone)
        return alike[0].zone


def _drops_aaaa(directive: Directive, zones: tuple[str, ...]) -> bool:
    """Whether this template answers all AAAA of the block with NODATA, and nothing else: what drop_aaaa does."""
    match directive.args:
        case ("IN" | "ANY" | "in" | "any", "AAAA" | "aaaa", *names):
            try:
                covered = {zone for name in names for zone in zones_named(name)}
            except ValueError:
                return False
            is_all = not names or all(any(is_below(zone, name) for name in covered) for zone in zones)
            return is_all and [(option.name, option.args) for option in directive.options] == [("rcode", ("NOERROR",))]
    return False


def _size(directive: Directive) -> int | None:
    """`bufsize SIZE` as far as max_udp_size goes."""
    text = directive.args[0] if len(directive.args) == 1 else ""
    return int(text) if re.fullmatch(r"[0-9]{3,4}", text) and 512 <= int(text) <= 4096 else None  # noqa: PLR2004 - its bounds
