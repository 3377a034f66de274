"""S6: Docker's resolver knows an alias that has moved, asks whom nobody named, and holds up what starts.

Three things that operators of container hosts meet one after the other. A container moved, and its alias is remembered with
the address it had, for ten minutes: programs connect to whoever has that address now. The host's resolv.conf was empty for a
moment, or names a server on loopback, and containers are told to ask 8.8.8.8 instead; in a closed network nobody answers there,
nothing says so, and every lookup takes twenty seconds. The servers are not up yet when the host boots, and each program that
looks up a name while it starts waits for them, one after the other.

The daemon forgets what `forwarder flush` names, at once and by whatever name it was found; it asks whom its configuration
names and nobody else, though that be nobody at all; and it serves what it knows, pinned names and the snapshot of its cache,
before any upstream was ever reached.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab.behaviours import answer, silent
from tests.lab.clients import Address, ask, ask_tcp, query, rdatas
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.dnsmasq import Dnsmasq
from tests.lab.docker import PUBLIC, EmbeddedServer, container_resolv_conf
from tests.lab.libcs import Lookup, compiled_for_musl, glibc_lookup, musl_lookup
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_musl, needs_namespaces, needs_program
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

UPSTREAM, DAEMON, PEER, LOOPBACK = "10.0.0.53", "169.254.20.10", "127.0.0.54", "127.0.0.53"
FAILS_WITHIN = 2_000
"""Milliseconds: the deadline, and a little for the client."""
RESOLVERS = (*PUBLIC, "1.1.1.1", "9.9.9.9")
"""Public ones that somebody's code may have built in."""
OLD, NEW = "172.18.0.5", "172.18.0.9"
NAMES = ("db.shop.test.", "primary.shop.test.", "store.shop.test.")
"""The container, its alias, and an alias of that."""


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A container host, with an address for whoever is asked."""
    needs_namespaces()
    with Network() as network:
        namespace = network.namespace("host")
        for address in (UPSTREAM, DAEMON, *RESOLVERS):
            namespace.add_address(f"{address}/32")
        yield namespace


def server_at(host: Namespace, address: str) -> ScriptedUpstream:
    """A server of the host's network that says nothing until it is told to."""
    with host.inside():
        server = ScriptedUpstream(address, 53)
    server.default = silent
    return server


def lookup(host: Namespace, resolv_conf: str, name: str, musl: Path | None = None) -> Lookup:
    """What a program finds whose resolv.conf says so; with the C library's own time-outs."""
    host.write_resolv_conf(resolv_conf)
    return glibc_lookup(host, name) if musl is None else musl_lookup(host, musl, name)


def found(host: Namespace, server: str, musl: Path) -> dict[str, str]:
    """The address of each name, as each kind of client has it from this server."""
    resolv_conf = f"nameserver {server}\n"
    at: Address = (server, 53)
    said = {}
    for name in NAMES:
        for libc, client in (("glibc", None), ("musl", musl)):
            said[f"{name} {libc}"] = " ".join(dict.fromkeys(lookup(host, resolv_conf, name, client).addresses))
        with host.inside():
            for way, asking in (("udp", ask), ("again", ask), ("tcp", ask_tcp)):
                said[f"{name} {way}"] = rdatas(asking(at, query(name)))[-1]
    return said


def test_an_alias_that_moved_is_forgotten_when_told_to(host: Namespace, tmp_path: Path) -> None:
    needs_musl()
    musl = compiled_for_musl(tmp_path)
    docker = EmbeddedServer("shop.test.")
    docker.run("db", OLD)
    docker.alias("primary", "db")
    docker.alias("store", "primary")
    upstream = server_at(host, UPSTREAM)
    upstream.default = docker.behaviour()
    with (
        upstream,
        Dnsmasq(host, PEER, UPSTREAM) as peer,
        Daemon(f"zones: [{{zone: ., upstreams: ['{UPSTREAM}']}}]", hosts=(DAEMON,), namespace=host) as daemon,
    ):
        for server in (peer.server[0], DAEMON):
            assert set(found(host, server, musl).values()) == {OLD}
        docker.run("db", NEW)
        directly, before = found(host, peer.server[0], musl), found(host, DAEMON, musl)
        assert set(directly.values()) == {OLD}, "for ten minutes, whatever anybody does"
        assert set(before.values()) == {OLD}, "TTLs are honoured"
        ended = run_to_end("flush", "db.shop.test", "--control", daemon.control)
        assert (ended.returncode, ended.stderr) == (0, "")
        after = found(host, DAEMON, musl)
        told = f"through dnsmasq {set(directly.values())}, through the daemon {set(after.values())}, {ended.stdout}"
        print(told)  # noqa: T201 - the figures of the story
        assert set(after.values()) == {NEW}, "by each of its names, over UDP and TCP, from memory too"
        assert int(ended.stdout.split()[-1]) >= len(NAMES)


@contextmanager
def public_resolvers(host: Namespace) -> Iterator[list[ScriptedUpstream]]:
    """Those of the wide world, as a closed network has them: what is sent there is never answered."""
    with ExitStack() as open_until_end:
        yield [open_until_end.enter_context(server_at(host, address)) for address in RESOLVERS]


def watch(host: Namespace, *allowed: str) -> None:
    """Count what is sent to port 53 or 853 of anybody but these."""
    nft = needs_program("nft", package="nftables")
    rules = f"""table inet watch {{
        chain out {{
            type filter hook output priority 0
            ip daddr {{ {", ".join(allowed)} }} accept
            meta l4proto {{ tcp, udp }} th dport {{ 53, 853 }} counter
        }}
    }}"""
    file = Path(f"/etc/netns/{host.name}/watch.nft")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(rules)
    done = host.run(nft, "-f", str(file))
    assert done.returncode == 0, done.stderr


def strays(host: Namespace) -> int:
    """How many packets went elsewhere."""
    listed = host.run(needs_program("nft", package="nftables"), "list", "table", "inet", "watch").stdout
    return int(listed.partition("counter packets ")[2].split()[0])


HOST_FILES = {
    "empty": "",
    "loopback only": f"nameserver {LOOPBACK}\noptions edns0\n",
    "the daemon only": f"nameserver {DAEMON}\n",
    "dead servers": f"nameserver {UPSTREAM}\n",
}
"""What the host's resolv.conf may say in a bad hour."""


def test_nobody_is_asked_whom_nobody_named(host: Namespace, tmp_path: Path) -> None:
    watch(host, DAEMON, UPSTREAM, LOOPBACK)
    with public_resolvers(host) as resolvers, server_at(host, UPSTREAM):
        directly = lookup(host, container_resolv_conf(HOST_FILES["loopback only"]), "app.shop.test.")
        asked = [server.host for server in resolvers if server.received]
        print(f"directly: {directly}, and these were asked: {asked}")  # noqa: T201 - the figures of the story
        assert directly.error
        assert directly.milliseconds > 19_000
        assert asked == list(PUBLIC)
        assert strays(host) > 0
        for server in resolvers:
            server.received.clear()
        before = strays(host)
        for kind, text in HOST_FILES.items():
            file = tmp_path / "resolv.conf"
            file.write_text(text)
            config = f"zones: [{{zone: ., upstreams: [{file}]}}]\nhosts: {{records: {{pinned.test: ['192.0.2.7']}}}}"
            with Daemon(config, hosts=(DAEMON,), namespace=host) as daemon:
                assert daemon.page("/ready").status == 200
                through = f"nameserver {DAEMON}\n"
                looked_up = [lookup(host, through, name) for name in ("app.shop.test.", "www.example.com.")]
                file.write_text("# written by a script that failed\n")
                wait_for(lambda: "names no nameserver" in daemon.stderr, "a look at the file")
                looked_up.append(lookup(host, through, "later.shop.test."))
                print(f"{kind}: {[round(one.milliseconds) for one in looked_up]} ms, {looked_up[0].error}")  # noqa: T201 - as above
                assert all(one.error and one.milliseconds < FAILS_WITHIN for one in looked_up)
                assert lookup(host, through, "pinned.test.").addresses == ("192.0.2.7",)
        assert [server.host for server in resolvers if server.received or server.connections] == []
        assert strays(host) == before, "nor was anybody else"


def test_what_starts_does_not_wait_for_dead_servers(host: Namespace, tmp_path: Path) -> None:
    config = f"""
zones: [{{zone: ., upstreams: ['{UPSTREAM}']}}]
hosts: {{records: {{pinned.shop.test: ['192.0.2.7']}}}}
cache: {{snapshot: {tmp_path}/cache.snapshot}}
"""
    with server_at(host, UPSTREAM) as upstream:
        upstream.on("known.shop.test.", answer("@ 600 IN A 192.0.2.8"), qtype="A")
        upstream.on("known.shop.test.", answer(authority=["shop.test. 600 IN SOA ns.shop.test. host.shop.test. 1 2 3 4 600"]))
        with Daemon(config, hosts=(DAEMON,), namespace=host):
            assert lookup(host, f"nameserver {DAEMON}\n", "known.shop.test.").addresses == ("192.0.2.8",)
    with server_at(host, UPSTREAM) as dead:  # the host has booted again, its servers have not
        directly = lookup(host, f"nameserver {UPSTREAM}\n", "pinned.shop.test.")
        with Daemon(config, hosts=(DAEMON,), namespace=host) as daemon:
            assert daemon.page("/ready").status == 200
            pinned, known, new = (
                lookup(host, f"nameserver {DAEMON}\n", f"{name}.shop.test.") for name in ("pinned", "known", "new")
            )
        print(f"directly {directly}, through the daemon pinned {pinned}, in the snapshot {known}, new {new}")  # noqa: T201 - as above
        assert directly.error
        assert directly.milliseconds > 9_900
        assert (pinned.addresses, known.addresses) == (("192.0.2.7",), ("192.0.2.8",))
        assert max(pinned.milliseconds, known.milliseconds) < directly.milliseconds / 20
        assert new.error
        assert new.milliseconds < FAILS_WITHIN
        assert all(received.answered_at is None for received in dead.received), "no upstream was ever reached"
