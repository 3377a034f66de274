"""S5: clients send EDNS, and somebody between does not know it.

A site has a DNS agent of its own making between its hosts and its servers. It was written for queries of 512 octets without
options, and nobody complained for years. Then hosts come whose resolver sends an OPT record (RFC 6891): `options edns0` in
resolv.conf, newer libraries, dig. The agent answers them FORMERR or NOTIMP, says nothing, or copies the OPT back as it came,
into the wrong section, twice, with a name, cut short. Some of those clients then find nothing, some wait for seconds, some
throw the answer away; the old ones beside them work, so that it is the new hosts that look broken.

The daemon speaks RFC 6891 to both sides: with each client as that client speaks, with an upstream that does not know EDNS
without it. Nothing of one side's OPT reaches the other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import pytest

from tests.lab.behaviours import addresses, answer, nodata, sized
from tests.lab.clients import Address, UdpClient, ask_tcp, dig, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.edns_agents import AGENTS
from tests.lab.faults import by_type
from tests.lab.libcs import Lookup, compiled_for_musl, glibc_lookup, musl_lookup
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_musl, needs_namespaces, needs_program
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

AGENT, DAEMON = ("10.0.0.53", 53), ("169.254.20.10", 53)
ONE, MANY = "192.0.2.1", 100
"""So many addresses take 1.6 KB: more than anybody takes over UDP here."""
OLD_BUFFER = 512
"""Octets that a client without EDNS has room for (RFC 1035 section 4.2.1)."""
COOKIE, SUBNET = (10, b"12345678"), (8, bytes.fromhex("00011800c00002"))
"""Options that are between a client and the server it asks (RFC 7873, RFC 7871)."""
IMPATIENT = "options edns0 timeout:2 attempts:1"
PATIENT = "options edns0"


@dataclass(frozen=True, slots=True)
class Town:
    """A host, its resolv.conf, and whom it can ask: the agent itself, or the daemon in front of it."""

    host: Namespace
    agent: ScriptedUpstream
    daemon: Daemon
    musl: Path

    def lookup(self, server: Address, libc: str, options: str = IMPATIENT) -> Lookup:
        """A getaddrinfo of a program on the host, whose resolv.conf names this server."""
        self.host.write_resolv_conf(f"nameserver {server[0]}\n{options}\n")
        name = "one.agent.test."
        return glibc_lookup(self.host, name) if libc == "glibc" else musl_lookup(self.host, self.musl, name)


@pytest.fixture(scope="module")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_musl()
    return compiled_for_musl(tmp_path_factory.mktemp("musl"))


@contextmanager
def town(kind: str, musl: Path) -> Iterator[Town]:
    """With an agent of this kind."""
    needs_namespaces()
    needs_program("dig", package="bind9-dnsutils")
    one = by_type(a=answer(f"@ 300 IN A {ONE}"), aaaa=nodata("agent.test."))
    many = by_type(a=answer(*addresses(MANY)), aaaa=nodata("agent.test."))
    with Network() as network:
        host = network.namespace("host")
        for address in (AGENT, DAEMON):
            host.add_address(f"{address[0]}/32")
        with host.inside():
            agent = ScriptedUpstream(*AGENT)
        agent.default = AGENTS[kind](one)
        agent.on("many.agent.test.", AGENTS[kind](sized(many)))
        config = f"zones: [{{zone: ., upstreams: ['{agent.address}']}}]"
        with agent, Daemon(config, hosts=(DAEMON[0],), namespace=host) as daemon:
            yield Town(host, agent, daemon, musl)


# Each client says what it has against an answer; nothing when it has the right one.

Client = Callable[[Town, Address], str]


def dig_says(server: Address, *options: str, status: str = "NOERROR", edns: bool = True) -> str:
    dug = dig(server, "one.agent.test.", "+time=3", *options)
    if dug.status != status:
        return dug.status or "silence"
    if "malformed" in dug.text or "(echoed)" in dug.text:
        return "it does not know what to make of the OPT"
    if dug.edns.startswith("version: 0") != edns:
        return f"EDNS is {dug.edns or 'not there'}"
    right = [ONE] if status == "NOERROR" else []
    return "" if [line.split()[-1] for line in dug.answers] == right else "no answer"


def strict_parser(server: Address, **options: object) -> str:
    asked = query("one.agent.test.", payload=1400, **options)  # type: ignore[arg-type]  # as `query` has them
    with UdpClient(server) as client:
        client.send(asked)
        try:
            response = client.receive(seconds=3.0)
        except dns.exception.DNSException as error:
            return type(error).__name__
    if response is None:
        return "silence"
    if rdatas(response) != [ONE]:
        return "no answer"
    if response.edns != 0 or (response.ednsflags ^ asked.ednsflags) & dns.flags.DO:
        return "an OPT that is not the server's own"
    return "options of the client's" if response.options else ""


def old_client(server: Address) -> str:
    """RFC 1035: no OPT, room for 512 octets; TC=1 sends it to TCP."""
    asked = query("many.agent.test.")
    with UdpClient(server) as client:
        client.send(asked)
        octets = client.receive_octets()
    try:
        response = dns.message.from_wire((octets or b"")[:OLD_BUFFER])
    except dns.exception.DNSException as error:
        return f"{len(octets or b'')} octets: {type(error).__name__}"
    if not response.flags & dns.flags.TC:
        return "not all, and no TC"
    return "" if len(rdatas(ask_tcp(server, asked))) == MANY and response.edns < 0 else "not all over TCP"


def libc_finds(town: Town, server: Address, libc: str) -> str:
    found = town.lookup(server, libc)
    return "" if set(found.addresses) == {ONE} else found.error


CLIENTS: dict[str, Client] = {
    "dig": lambda _, server: dig_says(server),
    "dig, cookie": lambda _, server: dig_says(server, "+cookie"),
    "dig, version 1": lambda _, server: dig_says(server, "+edns=1", "+noednsnegotiation", status="BADVERS"),
    "dig, no EDNS": lambda _, server: dig_says(server, "+noedns", edns=False),
    "strict parser": lambda _, server: strict_parser(server),
    "strict parser, DO": lambda _, server: strict_parser(server, dnssec=True),
    "strict parser, options": lambda _, server: strict_parser(server, options=(COOKIE, SUBNET)),
    "glibc, edns0": lambda town, server: libc_finds(town, server, "glibc"),
    "musl": lambda town, server: libc_finds(town, server, "musl"),
    "512 octets": lambda _, server: old_client(server),
}
ALL_WITH_EDNS = {"dig", "dig, cookie", "strict parser", "strict parser, DO", "strict parser, options"}
BROKEN = {
    "FORMERR to OPT": ALL_WITH_EDNS | {"glibc, edns0"},
    "NOTIMP to OPT": ALL_WITH_EDNS | {"glibc, edns0"},
    "silence to OPT": ALL_WITH_EDNS | {"glibc, edns0"},
    "OPT copied": {"dig, cookie", "strict parser, options"},
    "two OPT": ALL_WITH_EDNS,
    "OPT as an answer": ALL_WITH_EDNS,
    "OPT with a name": ALL_WITH_EDNS,
    "OPT cut short": {"dig, cookie", "strict parser, options"},
    "BADVERS without OPT": {"dig, version 1"},
    "any size": {"512 octets"},
}
"""Who at least is broken by each agent, asked directly."""
COUNTED = {"FORMERR to OPT": "formerr", "NOTIMP to OPT": "notimp", "silence to OPT": "timeout"}
"""What the daemon's figures call it."""


def complaints(town: Town, server: Address) -> dict[str, str]:
    """What each client has to say that has something to say."""
    with town.host.inside():
        said = {name: client(town, server) for name, client in CLIENTS.items()}
    return {name: complaint for name, complaint in said.items() if complaint}


@pytest.mark.parametrize("kind", AGENTS)
def test_each_client_gets_its_answer_whatever_the_agent_makes_of_edns(kind: str, musl: Path) -> None:
    with town(kind, musl) as here:
        directly = complaints(here, AGENT)
        here.agent.received.clear()
        behind = complaints(here, DAEMON)
        print(f"{kind}: directly {directly}, through the daemon {behind or 'all well'}")  # noqa: T201 - the figures of the story
        assert directly.keys() >= BROKEN[kind]
        assert "musl" not in directly, "who never heard of EDNS has noticed nothing"
        assert behind == {}
        assert here.agent.received, "somebody asked it"
        assert {code for received in here.agent.received for code in received.option_codes} == set()
        if kind in COUNTED:
            assert here.daemon.metric("forwarder_upstream_failures_total", reason=COUNTED[kind]) > 0
        assert {received.message.payload for received in here.agent.received if received.has_opt} <= {1232}


def test_a_lookup_that_took_ten_seconds_and_failed(musl: Path) -> None:
    """As resolv.conf has it by default: 5 s, two attempts, and no address. Through the daemon, the first lookup included."""
    with town("silence to OPT", musl) as here:
        directly = here.lookup(AGENT, "glibc", PATIENT)
        first, second = (here.lookup(DAEMON, "glibc", PATIENT) for _ in range(2))
        print(f"directly {directly}, through the daemon {first}, then {second}")  # noqa: T201 - the figures of the story
        assert directly.error
        assert directly.milliseconds > 9_900
        assert first.addresses == second.addresses == (ONE,)
        assert first.milliseconds < 1_800
        assert second.milliseconds < directly.milliseconds / 100


def test_what_a_client_takes_decides_what_it_gets(musl: Path) -> None:
    """Payload sizes from too small to absurd, from memory: whole, or TC=1 and whole records; the rest over TCP."""
    with town("any size", musl) as here, here.host.inside():
        for payload in (None, 0, 256, 512, 1232, 1400, 4096, 65535):
            asked = query("many.agent.test.", payload=payload)
            if payload is not None:
                asked.use_edns(0, payload=payload)
            with UdpClient(DAEMON) as client:
                client.send(asked)
                octets = client.receive_octets()
            assert octets is not None
            assert len(octets) <= min(max(payload or 0, 512), 1232)
            response = dns.message.from_wire(octets)
            assert response.flags & dns.flags.TC
            assert (response.edns, response.payload) == ((-1, 0) if payload is None else (0, 1232))
            assert len(rdatas(ask_tcp(DAEMON, asked))) == MANY
        assert len(here.agent.asked("many.agent.test.", "A")) <= 3
