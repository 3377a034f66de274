"""What does not fit together in a configuration whose settings are right one by one.

Pure. Always holds: a problem is found once, at the setting that is to be changed; blank text, left where a problem was found
already, is passed over.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from forwarder.config import Config, Zone, allowed_networks, doors_of, is_own_address, own_door_of, server_name

CIRCLE = "queries would run in a circle"


def contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """What is wrong: (path, sentence)."""
    yield from _repeated("listen.addresses", config.listen.addresses)
    yield from _repeated("zones", tuple(zone.zone for zone in config.zones), key=".zone")
    for number, zone in enumerate(config.zones):
        yield from _wrong_in_zone(config, number, zone)
    if config.observe.http and any(address == config.observe.http for address in doors_of(config)):
        yield "observe.http", f"{config.observe.http} is a listen address for DNS over TCP already: choose another port"
    if config.answering.client_response_timer >= config.answering.deadline:
        yield "answering.client_response_timer", "must be shorter than answering.deadline, or no stale answer is ever in time"
    if config.cache.failure_ttl > config.cache.max_failure_ttl:
        yield "cache.max_failure_ttl", "must not be shorter than cache.failure_ttl, from which it doubles"
    if config.observe.query_log_file is not None and config.observe.query_log == "off":
        sentence = "nothing is written there while observe.query_log is off: leave it out, or set query_log to errors"
        yield "observe.query_log_file", sentence
    if config.node.intercept:
        yield from _wrong_with_intercept(config)


def _wrong_in_zone(config: Config, number: int, zone: Zone) -> Iterator[tuple[str, str]]:
    yield from _repeated(f"zones[{number}].upstreams", zone.upstreams)
    for place, upstream in enumerate(zone.upstreams):
        if upstream and (sentence := _circle(config, upstream) or _unfit(zone, upstream)):
            yield f"zones[{number}].upstreams[{place}]", sentence
    if zone.on_failure == "nxdomain" and zone.zone == ".":
        sentence = "would deny every name there is while its upstreams are away: write it for the zones that need it"
        yield f"zones[{number}].on_failure", sentence
    if zone.ca_file is not None and zone.transport != "tls":
        sentence = f"certificates vouch for TLS upstreams, and these are asked over {zone.transport}: leave it out"
        yield f"zones[{number}].ca_file", f"{sentence}, or write transport: tls"


def _circle(config: Config, upstream: str) -> str:
    """Why a query to this upstream would come back; empty when it would not, as far as one can tell from here."""
    if upstream.startswith("/"):
        return ""
    if is_own_address(config.listen.addresses, upstream):
        return f"{upstream} is where this daemon listens, {CIRCLE}: name another server"
    if is_own_address(doors_of(config), upstream):
        mend = "name a second service address of the cluster's DNS, one that is not in node.intercept"
        return f"{upstream} is intercepted and leads to this daemon, {CIRCLE}: {mend}"
    return ""


def _unfit(zone: Zone, upstream: str) -> str:
    """Why this upstream cannot be asked over the transport of its zone; empty when it can."""
    name = server_name(upstream)
    if zone.transport != "tls":
        mend = f"leave @{name} out, or write transport: tls"
        return f"{upstream} names a certificate, and this zone is asked over {zone.transport}: {mend}" if name else ""
    if upstream.startswith("/"):
        return f"{upstream} names no certificates, which transport: tls needs: write each address as ADDRESS@NAME"
    if not name:
        host = upstream.rpartition(":")[0]
        return f"{upstream} has no name, which transport: tls checks the certificate against: write {host}@NAME"
    return ""


def _wrong_with_intercept(config: Config) -> Iterator[tuple[str, str]]:
    """What keeps the daemon from asking itself, without which it intercepts nothing."""
    yield from _repeated("node.intercept", config.node.intercept)
    for number, address in enumerate(config.node.intercept):
        if address and not _may_be_service(address):
            sentence = f"{address} is no service address: write that of the cluster's DNS, or name it in listen.addresses"
            yield f"node.intercept[{number}]", sentence
    if config.node.rules == "iptables":
        yield "node.rules", "node.intercept needs nftables, whose sets forget what is not renewed: write nft or auto"
    if not all(config.listen.addresses):
        return
    door = own_door_of(config)
    if door is None:
        sentence = "has intercepted addresses only, and the daemon asks itself at one of its own before it takes those over"
        yield "listen.addresses", f"{sentence}: add one, 169.254.20.10:53 for instance"
    elif not any(ip_address(door[0]) in ip_network(network) for network in allowed_networks(config)):
        sentence = f"leaves out {door[0]}, from which the daemon asks itself before it takes over node.intercept"
        yield "listen.allow", f"{sentence}: add {door[0]}"


def _may_be_service(address: str) -> bool:
    """Whether a cluster may have given this address to a service."""
    ip = ip_address(address)
    return not (ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_multicast)


def _repeated(path: str, values: tuple[str, ...], key: str = "") -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = {}
    for number, value in enumerate(values):
        if value and seen.setdefault(value, number) != number:
            place = seen[value]
            yield f"{path}[{number}]{key}", f"{value} stands in {path}[{place}]{key} already: leave one out"
