"""dnsmasq.conf: its upstreams, names, limits and addresses; a note for all else.

dnsmasq asks the nameservers of /etc/resolv.conf besides those of its file unless told not to, prefers the one that answered
first, and reads /etc/hosts. Never opens a file it names. Always holds: each line is in the configuration, or in a note.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from forwarder.config import DAY, MIB, CacheSettings, Config, Endpoint, Hosts, Listen, Search, Word
from forwarder.config_file.values import value_for
from forwarder.errors import ConfigError, Problem
from forwarder.importing.addresses import is_address, listen_address, reverse_zones
from forwarder.importing.dnsmasq_lines import ROOT, STANDARD, Line, Server, domains_and_rest, lines_in, server_of
from forwarder.importing.drafts import Draft, Notes, ZoneDraft, with_zones
from forwarder.importing.listening import EVERYWHERE
from forwarder.importing.pinning import Pins
from forwarder.importing.sources import Place, Source, quoted

RESOLV_CONF = "/etc/resolv.conf"
HOSTS_FILE = "/etc/hosts"
ENTRIES = 30_000
"""Answers that the default of cache.memory holds."""
MAX_UPSTREAMS = 16
"""Of a zone."""

REMARKS = {
    "all-servers": "upstreams of a zone are spread over, and a slow one is not waited for alone (policy: equal)",
    "bind-dynamic": "addresses that no interface has yet are bound all the same",
    "bind-interfaces": "each listen address is bound by itself anyway",
    "bogus-nxdomain": "addresses of answers are not looked at: such an answer is passed on",
    "bogus-priv": "reverse names of private networks are asked of the upstreams like all others",
    "clear-on-reload": "answers are kept when the configuration changes: forwarder flush forgets them",
    "cname": "aliases cannot be pinned: pin the addresses under hosts.records",
    "conf-dir": "files that are named here were not read: import them too, and put them together",
    "conf-file": "files that are named here were not read: import them too, and put them together",
    "dns-forward-max": "how many questions are in progress at most is answering.max_in_progress",
    "dns-loop-detect": "loops are always looked for",
    "dnssec": "is not validated here: trust_ad: true passes on what a trusted upstream validated",
    "domain-needed": "names without a dot are asked of the upstreams like all others",
    "except-interface": "interfaces are not told apart: name the addresses under listen.addresses",
    "expand-hosts": "names in hosts files are answered as they stand there: write them with their domain",
    "filterwin2k": "no question is held back",
    "fast-dns-retry": "a question is asked again when its answer is late",
    "hostsdir": "a directory is not watched: name its files under hosts.files",
    "interface": "interfaces are not told apart: name the addresses under listen.addresses",
    "local-service": "who is answered is written under listen.allow",
    "local-ttl": "the TTL of pinned names is 30 s",
    "localise-queries": "pinned names are answered alike to all clients",
    "log-queries": "queries are counted at /metrics, not logged",
    "log-facility": "complaints go to stderr",
    "min-cache-ttl": "a short TTL is kept as it is: there is no least one",
    "neg-ttl": "a negative answer without SOA is kept for 1 s",
    "no-daemon": "it never goes into the background",
    "keep-in-foreground": "it never goes into the background",
    "no-poll": "files are always watched",
    "ptr-record": "PTR records follow from pinned addresses",
    "rebind-domain-ok": "addresses of answers are not looked at",
    "rebind-localhost-ok": "addresses of answers are not looked at",
    "servers-file": "files that are named here were not read: import them too, and put them together",
    "stop-dns-rebind": "addresses of answers are not looked at: private ones of the internet are passed on",
    "user": "who the daemon becomes is the setting user",
}
"""Option -> what holds here instead."""
NO_SETTING = "has no setting here, and was not carried over"
DHCP = "DHCP, TFTP and the like stay with dnsmasq (port=0 there leaves DNS to us)"
NOT_ASKED = "is asked nowhere there; here the zone above it is asked: whatever is below it leaves this host"


def draft_of(source: Source) -> Draft:
    """What the file means; raises ConfigError when nobody is left to ask."""
    translation = _Translation(source)
    for line in lines_in(source):
        translation.read(line)
    return translation.draft()


class _Translation:
    """The lines as they are read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._notes = Notes()
        self._flags: dict[str, Place] = {}
        """Options without a value."""
        self._servers: list[tuple[Server, Place]] = []
        self._listen: list[tuple[str, Place]] = []
        self._files: dict[str, None] = {}
        self._resolv: dict[str, Place] = {}
        self._pins = Pins()
        self._domains: dict[str, None] = {}
        self._numbers: dict[str, int] = {}
        self._readers: Mapping[str, Callable[[Line], None]] = {
            "server": self._server,
            "local": self._server,
            "rev-server": self._reverse_server,
            "address": self._address,
            "host-record": self._host_record,
            "txt-record": self._txt_record,
            "domain": self._domain,
            "listen-address": self._listen_address,
            "addn-hosts": lambda line: self._files.setdefault(str(value_for(Word.PATH, line.value))),
            "resolv-file": self._resolv_file,
            **dict.fromkeys(("no-resolv", "no-hosts", "strict-order", "all-servers", "no-negcache", "filter-AAAA"), self._flag),
            **dict.fromkeys(("port", "cache-size", "max-ttl", "max-cache-ttl", "edns-packet-max"), self._number),
        }

    def read(self, line: Line) -> None:
        """Take up one line."""
        reader = self._readers.get(line.name)
        try:
            if reader is not None:
                reader(line)
            else:
                is_dhcp = re.match(r"dhcp|tftp|enable-tftp|pxe|ra-param|enable-ra|bootp|log-dhcp|quiet", line.name) is not None
                self._notes.add(line.place, DHCP if is_dhcp else REMARKS.get(line.name, NO_SETTING))
        except ValueError as error:
            self._notes.add(line.place, f"{error}, and was not carried over")

    # ---------------------------------------------------------------------------------------------- a line of each kind

    def _flag(self, line: Line) -> None:
        self._flags.setdefault(line.name, line.place)
        if line.name in REMARKS:
            self._notes.add(line.place, REMARKS[line.name])

    def _number(self, line: Line) -> None:
        if re.fullmatch(r"[0-9]{1,9}", line.value) is None:
            raise ValueError(f"{quoted([line.value])} is no number")
        self._numbers[line.name] = int(line.value)
        if line.name == "cache-size" and int(line.value) <= ENTRIES:
            off = "everything is cached" if line.value == "0" else "the cache is not counted in names"
            self._notes.add(line.place, f"{off}: cache.memory is 32MiB, which holds some {ENTRIES:,} answers")
        if line.name == "max-ttl":
            self._notes.add(line.place, "an answer is asked for again when that is over, too (cache.max_ttl)")
        if line.name == "port" and line.value == "0":
            self._notes.add(line.place, "DNS is off there; here it is on")

    def _server(self, line: Line) -> None:
        server = server_of(line.value)
        if server.source:
            self._notes.add(line.place, "the kernel chooses the source address and the interface")
        self._servers.append((server, line.place))

    def _reverse_server(self, line: Line) -> None:
        network, _, rest = line.value.partition(",")
        server = server_of(rest)
        zones = reverse_zones(ipaddress.ip_network(network, strict=False))
        self._servers.append((Server(zones, server.upstream, server.source), line.place))

    def _address(self, line: Line) -> None:
        domains, address = domains_and_rest(line.value)
        if not is_address(address):
            sentence = "names are not denied here: they are asked of the upstreams like all others"
            self._notes.add(line.place, sentence)
            return
        for domain in domains:
            self._pins.add(domain, address)
        self._notes.add(line.place, "only the name itself is pinned: names below it are asked of the upstreams")

    def _host_record(self, line: Line) -> None:
        words = [word.strip() for word in line.value.split(",")]
        addresses = [word for word in words if is_address(word)]
        names = [word for word in words if word and not is_address(word) and not word.isdigit()]
        if not addresses or not names:
            raise ValueError("names no address")
        for name in names:
            for address in addresses:
                self._pins.add(name, address)
        if any(word.isdigit() for word in words):
            self._notes.add(line.place, REMARKS["local-ttl"])

    def _txt_record(self, line: Line) -> None:
        name, *texts = line.value.split(",")
        if len(texts) != 1:
            raise ValueError("a TXT record holds one text here")
        self._pins.add(name, f'"{texts[0]}"')

    def _domain(self, line: Line) -> None:
        name, comma, _ = line.value.partition(",")
        if comma:
            raise ValueError("a domain for some addresses alone has no setting here")
        self._domains.setdefault(str(value_for(Word.NAME, name)))

    def _listen_address(self, line: Line) -> None:
        for address in line.value.split(","):
            value_for(Endpoint(53), f"[{address.strip()}]" if ":" in address else address.strip())
            self._listen.append((address.strip(), line.place))

    def _resolv_file(self, line: Line) -> None:
        self._resolv.setdefault(str(value_for(Word.PATH, line.value)), line.place)

    # ------------------------------------------------------------------------------------------------ all of it together

    def draft(self) -> Draft:
        """All of it; raises ConfigError when nobody is left to ask."""
        zones = self._zones()
        if not zones:
            sentence = "nobody to ask: write server=192.0.2.53, or leave no-resolv out"
            raise ConfigError((Problem(self._source.where, sentence),))
        files = self._files if "no-hosts" in self._flags else {HOSTS_FILE: None} | self._files
        config = Config(
            listen=self._listening(),
            search=Search(domains=tuple(self._domains)),
            zones=(),
            hosts=Hosts(records=self._pins.mapping(), files=tuple(files)),
            cache=self._cache(),
        )
        places = {zone.zone: zone.place for zone in zones}
        return Draft(with_zones(config, zones), self._notes.all(), places, "dnsmasq.conf")

    def _zones(self) -> tuple[ZoneDraft, ...]:
        """A zone for each domain that has servers; everything else last."""
        servers: dict[str, dict[str, None]] = {}
        places: dict[str, Place] = {}
        for server, place in self._servers:
            for domain in server.domains:
                if not domain:
                    self._notes.add(place, REMARKS["domain-needed"])
                elif not server.upstream:
                    self._notes.add(place, f"{domain} {NOT_ASKED}")
                else:
                    servers.setdefault(domain, {})[server.upstream] = None
                    places.setdefault(domain, place)
        standard = servers.pop(ROOT, {})
        if "no-resolv" not in self._flags:
            files = self._resolv or {RESOLV_CONF: self._source.place(0)}
            standard |= dict.fromkeys(files)
            places.setdefault(ROOT, next(iter(files.values())))
        else:
            for place in self._resolv.values():
                self._notes.add(place, "is not read there either: no-resolv stands in the file")
        standard.pop(STANDARD, None)
        servers[ROOT] = standard
        drafts = (self._zone(domain, tuple(asked), tuple(standard), places.get(domain)) for domain, asked in servers.items())
        return tuple(draft for draft in drafts if draft is not None)

    def _zone(self, domain: str, asked: tuple[str, ...], standard: tuple[str, ...], place: Place | None) -> ZoneDraft | None:
        upstreams = tuple(dict.fromkeys(one for name in asked for one in (standard if name == STANDARD else (name,))))
        if not upstreams or place is None:
            return None
        if len(upstreams) > MAX_UPSTREAMS:
            self._notes.add(
                place, f"a zone has {MAX_UPSTREAMS} upstreams at most: {quoted(upstreams[MAX_UPSTREAMS:])} left out"
            )
            upstreams = upstreams[:MAX_UPSTREAMS]
        is_ordered = "strict-order" in self._flags or (len(upstreams) == 1 and "all-servers" not in self._flags)
        policy = "ordered" if is_ordered else "equal"
        return ZoneDraft(domain, upstreams, place, policy=policy, drop_aaaa="filter-AAAA" in self._flags)

    def _listening(self) -> Listen:
        port = self._numbers.get("port") or 53
        addresses = [address for address, _ in self._listen] or list(EVERYWHERE)
        listen = Listen(addresses=tuple(dict.fromkeys(listen_address(address, port) for address in addresses)))
        size = self._numbers.get("edns-packet-max")
        if size is not None:
            listen = replace(listen, max_udp_size=min(max(size, 512), 4096))
        return listen

    def _cache(self) -> CacheSettings:
        cache = CacheSettings()
        limits = [self._numbers[name] for name in ("max-ttl", "max-cache-ttl") if self._numbers.get(name)]
        if limits:
            cache = replace(
                cache, max_ttl=float(min(*limits, 7 * DAY)), max_negative_ttl=float(min(cache.max_negative_ttl, *limits))
            )
        if "no-negcache" in self._flags:
            cache = replace(cache, max_negative_ttl=0.0)
        entries = self._numbers.get("cache-size", 0)
        if entries > ENTRIES:
            cache = replace(cache, memory=-(-entries * 32 // ENTRIES) * MIB)
        return cache
