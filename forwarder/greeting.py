"""What a person reads who started the daemon: where it listens, whom it asks, where to watch it, what to try.

Pure. Always holds: what it says is what is done, files that the configuration names included.
"""

from collections.abc import Iterator

from forwarder import config as settings
from forwarder import link, watching

DNS_PORT = 53
PTR = 12
"""RFC 1035 section 3.2.2: these names nobody wrote, they follow from the addresses."""


def summary(config: settings.Config, upstreams: link.Upstreams, pinned: link.Pinned) -> Iterator[str]:
    """The lines for a person who started the daemon: where it listens, whom it asks, where to watch it, what to try."""
    yield "forwarder is serving"
    for address in config.listen.addresses:
        yield f"  listens on  {address} (UDP and TCP)"
    for address in config.node.intercept:
        yield f"  intercepts  {address} (UDP and TCP, while the daemon answers itself)"
    for zone, told in zip(config.zones, upstreams.zones, strict=True):
        named = watching.resolv_confs(zone)
        source = f" (from {', '.join(named)})" if named else ""
        asks = f"{', '.join(told.addresses)} over {zone.transport.upper()}" if told.addresses else "nobody"
        yield f"  {zone.zone} asks {asks}{source}"
    if names := len({record.name for record in pinned.records if record.qtype != PTR}):
        yield f"  pinned      {names} name{'s' if names > 1 else ''}"
    yield f"  watch it    http://{config.observe.http}/"
    yield f"  try         {dig_line(config)}"


def dig_line(config: settings.Config) -> str:
    """A command that asks this daemon for something it knows."""
    host, port = settings.own_door_of(config) or settings.split_address(config.listen.addresses[0])
    name = next(iter(config.hosts.records), "example.com")
    return f"dig @{host} -p {port} {name}" if port != DNS_PORT else f"dig @{host} {name}"
