"""Plans for a host, by the settings that matter to them."""

from forwarder.config import Config, Listen, NodeSettings, Zone
from forwarder.node.plan import Kind, Plan, plan_for

DAEMON = 65532


def config_with(*addresses: str, intercept: tuple[str, ...] = (), interface: str = "forwarder0") -> Config:
    """A configuration that listens there."""
    return Config(
        listen=Listen(addresses=addresses),
        zones=(Zone(zone=".", upstreams=("192.0.2.53:53",)),),
        node=NodeSettings(interface=interface, intercept=intercept),
    )


def planned(*addresses: str, intercept: tuple[str, ...] = (), interface: str = "forwarder0", kind: Kind = Kind.NFT) -> Plan:
    """The plan for that, with the daemon as user 65532."""
    return plan_for(config_with(*addresses, intercept=intercept, interface=interface), DAEMON, kind)
