"""Facts of a place as the doctor gathers them: all well, and changed by each test where it wants something wrong."""

from typing import Any

from msgspec.structs import replace

from forwarder import config_file
from forwarder.config import Config
from forwarder.doctor.facts import Connection, Connections, Facts, Interface, Pairs, Reply, Rules, Server
from forwarder.doctor.findings import Finding
from forwarder.doctor.judging import judged

AT = 1_800_000_000.0
"""When: January 2027."""
OURS, UPSTREAM = "169.254.20.10:53", "192.0.2.53:53"
FILE = "/etc/resolv.conf"
CONFIG = """
listen: {addresses: ["169.254.20.10:53"]}
zones: [{zone: ., upstreams: ["192.0.2.53"]}]
"""


def config_of(text: str = CONFIG) -> Config:
    """A configuration, from YAML."""
    return config_file.parsed(text, "test")


def reply(question: str = "A example.com.", **changes: Any) -> Reply:  # noqa: ANN401 - whatever a Reply has
    """An answer after a millisecond."""
    return replace(Reply(question=question, seconds=0.001, octets=100, addresses=("192.0.2.80",), ttl=60), **changes)


def silence(question: str = "A example.com.", error: str = "") -> Reply:
    """None."""
    return Reply(question=question, error=error)


def pairs(**changes: int) -> Pairs:
    """All answered."""
    return replace(Pairs(sent=24, halves=0, lost_a=0, lost_aaaa=0, slowest=0.002), **changes)


def server(address: str = UPSTREAM, *roles: str, **changes: Any) -> Server:  # noqa: ANN401 - whatever a Server has
    """One without a flaw; a nameserver unless `roles` are given."""
    opt: dict[str, Any] = {"opts": 1, "options": ()}
    good = Server(
        address=address,
        roles=roles or ("nameserver",),  # type: ignore[arg-type]  # words of Role
        plain=(reply("SOA .", addresses=()), reply()),
        edns=reply(**opt),
        option=reply(**opt),
        version=reply(rcode=16, addresses=(), **opt),
        tcp=reply(),
        large=reply("NS .", octets=1097, signed=(AT - 100, AT + 100), **opt),
        large_tcp=reply("NS .", octets=1097),
        together=pairs(),
        apart=pairs(),
    )
    return replace(good, **changes)


def ours(*roles: str, **changes: Any) -> Server:  # noqa: ANN401 - whatever a Server has
    """The daemon, as clients and configuration know it."""
    return server(OURS, *(roles or ("nameserver", "listen")), is_ours=True, **changes)


def upstream(**changes: Any) -> Server:  # noqa: ANN401 - whatever a Server has
    """Whom the daemon asks."""
    return server(UPSTREAM, "upstream", zones=(".",), **changes)


def silent(address: str = UPSTREAM, *roles: str, **changes: Any) -> Server:  # noqa: ANN401 - whatever a Server has
    """One that says nothing."""
    nothing = pairs(lost_a=24, lost_aaaa=24)
    said = {"plain": (silence(), silence()), "together": nothing, "apart": nothing}
    said |= dict.fromkeys(("edns", "option", "version", "tcp", "large", "large_tcp"), silence())
    return server(address, *roles, **said | changes)


def bare(*servers: Server, resolv_conf: str | None = None, **changes: Any) -> Facts:  # noqa: ANN401 - whatever Facts have
    """A pod or a VM without a daemon: these are asked, of the host nothing is known."""
    asked = [one.address for one in servers if "nameserver" in one.roles]
    text = "".join(f"nameserver {address.removesuffix(':53').strip('[]')}\n" for address in asked)
    facts = Facts(
        version=1, at=AT, kernel="6.1.0-30-amd64", resolv_conf=FILE, texts={FILE: resolv_conf or text}, servers=servers
    )
    return replace(facts, **changes)


def node(*servers: Server, **changes: Any) -> Facts:  # noqa: ANN401 - whatever Facts have
    """A node with the daemon, whose resolv.conf names it; all is well unless `servers` or `changes` say otherwise."""
    host: dict[str, Any] = {
        "config": config_of(),
        "connections": Connections(count=0, some=()),
        "rules": Rules(
            source="nft",
            untracked_to=("169.254.20.10",),
            untracked_from=("169.254.20.10",),
            has_our_table=True,
            alive={"alive": ()},
        ),
        "interfaces": (Interface(name="eth0", kind="", mtu=1500, is_up=True),),
        "addresses": ("127.0.0.1", "169.254.20.10", "192.0.2.1"),
        "holders": (),
    }
    return bare(*(servers or (ours(), upstream())), **host | changes)


def connection(source: str, destination: str, **changes: Any) -> Connection:  # noqa: ANN401 - whatever a Connection has
    """A tracked one."""
    one = Connection(protocol="udp", source=source, destination=destination, port=53, replies_from=destination)
    return replace(one, **changes)


def found(facts: Facts) -> dict[str, str]:
    """Identifier -> severity, the worse of several."""
    return {one.identifier: str(one.severity) for one in reversed(judged(facts))}


def finding(facts: Facts, identifier: str) -> Finding:
    """The first with this identifier."""
    return next(one for one in judged(facts) if one.identifier == identifier)
