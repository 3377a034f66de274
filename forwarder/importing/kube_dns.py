"""kube-dns's ConfigMap, and what node-cache of NodeLocal DNSCache makes of it beside its own Corefile.

`stubDomains` and `upstreamNameservers` hold JSON. node-cache adds a block for each stub domain (30 s in the cache, UDP), and
puts the nameservers, or /etc/resolv.conf, in place of `__PILLAR__UPSTREAM__SERVERS__`, asked over UDP. Pure. Always holds: a
text that is not what it should be is a ConfigError that names its line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from forwarder.config import Config
from forwarder.errors import ConfigError, Problem
from forwarder.importing.addresses import NamelessError, zones_named
from forwarder.importing.blocks import Directive, ServerBlock
from forwarder.importing.configmaps import FEDERATIONS, STUB_DOMAINS, UPSTREAMS, ConfigMap, Text
from forwarder.importing.drafts import Draft, Notes, ZoneDraft, with_zones
from forwarder.importing.forwarding import route_of
from forwarder.importing.sources import Place, Source

RESOLV_CONF = "/etc/resolv.conf"
STUB_TTL = "30"
"""What node-cache caches answers of stub domains for."""

CLUSTER_DOMAIN = "cluster.local"
"""Where DNS__DOMAIN is not given."""
NO_CLUSTER = "the cluster's own names are not in this ConfigMap: add --pillar CLUSTER__DNS=ADDRESS, whom to ask for them"

Kind = TypeVar("Kind")

_TCP_BLOCK = re.compile(r"(\n    forward \. __PILLAR__UPSTREAM__SERVERS__ \{\n) {12}force_tcp(\n    \}\n)")
"""What node-cache replaces by a forward over UDP when it knows nameservers."""


@dataclass(frozen=True, slots=True)
class KubeDns:
    """What the ConfigMap says."""

    stub_domains: Mapping[str, tuple[str, ...]]
    upstreams: tuple[str, ...]
    places: Mapping[str, Place]
    """Key of the ConfigMap -> where it stands."""


def kube_dns_of(config_map: ConfigMap, source: Source) -> KubeDns:
    """Read it; raises ConfigError."""
    data = config_map.data
    stubs = _json(source, data.get(STUB_DOMAINS), dict[str, tuple[str, ...]], '{"example.org": ["192.0.2.53"]}')
    upstreams = _json(source, data.get(UPSTREAMS), tuple[str, ...], '["192.0.2.53"]')
    return KubeDns(stubs or {}, upstreams or (), {key: source.place(text.line) for key, text in data.items()})


def _json(source: Source, text: Text | None, kind: type[Kind], example: str) -> Kind | None:
    if text is None or not text.value.strip():
        return None
    try:
        return msgspec.json.decode(text.value, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise source.wrong(text.line, f"is not the JSON that belongs here, such as {example}") from None


def over_udp(text: str) -> str:
    """A Corefile of node-cache as it reads it when kube-dns names upstreamNameservers: they are asked over UDP."""
    return _TCP_BLOCK.sub(r"\1\2", text)


def stub_blocks(kube_dns: KubeDns, *, hosts: tuple[str, ...]) -> tuple[ServerBlock, ...]:
    """The blocks that node-cache adds to its Corefile; `hosts`: what it binds there."""
    place = kube_dns.places.get(STUB_DOMAINS)
    if place is None:
        return ()
    cache = Directive("cache", (STUB_TTL,), place)
    bind = (Directive("bind", hosts, place),) if hosts else ()
    return tuple(
        ServerBlock((f"{domain}:53",), (cache, *bind, Directive("forward", (".", *servers), place)), place)
        for domain, servers in kube_dns.stub_domains.items()
    )


def draft_of(kube_dns: KubeDns, source: Source, values: Mapping[str, str]) -> Draft:
    """The ConfigMap by itself, without node-cache: stub domains, everything else, and the cluster when it is known."""
    notes = Notes()
    beginning = source.place(0)
    asked = {name: (tuple(servers), kube_dns.places[STUB_DOMAINS]) for name, servers in kube_dns.stub_domains.items()}
    domain = None
    if cluster := tuple(values.get("CLUSTER__DNS", "").split()):
        domain = values.get("DNS__DOMAIN", CLUSTER_DOMAIN)
        asked |= {zone: (cluster, beginning) for zone in (domain, "in-addr.arpa", "ip6.arpa") if zone not in asked}
    else:
        notes.add(beginning, NO_CLUSTER)
    asked["."] = (kube_dns.upstreams or (RESOLV_CONF,), kube_dns.places.get(UPSTREAMS, beginning))
    if FEDERATIONS in kube_dns.places:
        notes.add(kube_dns.places[FEDERATIONS], "federations are not available")
    zones: list[ZoneDraft] = []
    for name, (servers, place) in asked.items():
        zones += _zones(name, servers, place, source, notes)
    config = with_zones(Config(zones=(), cluster_domain=domain), tuple(zones))
    return Draft(config, notes.all(), {zone.zone: zone.place for zone in zones}, "kube-dns")


def _zones(name: str, servers: tuple[str, ...], place: Place, source: Source, notes: Notes) -> list[ZoneDraft]:
    """The zone of this name; none when nobody can be asked for it."""
    asking = Directive("forward", (name, *servers), place)
    try:
        route = route_of(asking, lambda directive, sentence: notes.add(directive.place, sentence, name))
        zone = zones_named(name)[0]
    except NamelessError as error:
        raise ConfigError((Problem(f"{source.where}: line {place.line}", str(error)),)) from None
    except ValueError:
        return []
    if route is None or not route.upstreams:
        notes.add(place, "nobody is left to ask: the zone above is asked", name)
        return []
    return [ZoneDraft(zone, route.upstreams, place, transport=route.transport, policy=route.policy)]
