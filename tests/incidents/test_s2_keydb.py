"""S2: KeyDB stops answering, because a name cannot be resolved.

A thread of the database looks up `keydb-0.keydb` again and again and holds a lock meanwhile. Once a response to A or AAAA is
lost on its way, glibc waits 5 s for it, and asks A and AAAA of everything one after the other from then on: the thread is
latched, until its process ends. When the name then fails, a glibc without the mend of bug 30081 waits 5 s on each SERVFAIL, and
again, for the response to an AAAA query that it never sent; and the database answers nobody.

Two pods on a node, on the far side of it the DNS server, whose responses get lost where they arrive at the node. One pod asks
the server itself, the other the daemon on the node: same clients, same names, same losses.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event
from types import TracebackType
from typing import Self

import pytest

from tests.lab.behaviours import answer, late, refusal, silent
from tests.lab.daemon import Daemon
from tests.lab.faults import by_type, in_rotation, told_by
from tests.lab.libcs import Lookup, ResolvingProcess, compiled_for_glibc, compiled_for_musl
from tests.lab.lossy import Lossy
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.old_glibc import OldGlibc, Told
from tests.lab.scripted import ScriptedUpstream
from tests.lab.sites import pods_of_a_node

SERVER, LISTEN, NODE, DIRECT = "10.42.0.16", "169.254.20.10", "10.42.0.1", "10.42.3.87"
FIRST_SEARCHED = "default.svc.cluster.local"
RESOLV_CONF = f"nameserver {{}}\nsearch {FIRST_SEARCHED} svc.cluster.local cluster.local\noptions ndots:5\n"
NAME = "keydb-0.keydb"
LIBC_WAITS = 5.0
"""Seconds that either libc waits for what does not come; a lookup of less did not."""
SOON = 0.005
"""Seconds of a lookup that waits for nobody, busy machine or not: the median of many."""
TIMES = 41
"""How many."""


@dataclass(frozen=True, slots=True)
class Site:
    """The node, its pods, and programs that look up names."""

    pod: Namespace
    """Asks the daemon."""
    direct: Namespace
    """Asks the server itself."""
    node: Namespace
    servers: Namespace
    glibc: Path
    musl: Path

    @contextmanager
    def server(self) -> Iterator[ScriptedUpstream]:
        """The DNS server: what is not in its script does not exist."""
        with self.servers.inside():
            server = ScriptedUpstream(SERVER, 53)
        server.default = answer(authority=[". 60 IN SOA ns. host. 1 3600 600 86400 60"], rcode="NXDOMAIN")
        with server:
            yield server

    def daemon(self, zones: str = "{zone: .}", more: str = "") -> Daemon:
        """The daemon on the node; the server is the upstream of all zones."""
        listed = zones.replace("}", f", upstreams: ['{SERVER}']}}")
        return Daemon(f"zones: [{listed}]\n{more}", hosts=(LISTEN,), namespace=self.node)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Built once; each test brings its server and its daemon."""
    needs_namespaces()
    needs_program("nft", package="nftables")
    needs_program("sysctl", package="procps")
    directory = tmp_path_factory.mktemp("clients")
    glibc, musl = compiled_for_glibc(directory), compiled_for_musl(directory)
    with Network() as network:
        pod, direct, node, servers = pods_of_a_node(network, SERVER, LISTEN)
        pod.write_resolv_conf(RESOLV_CONF.format(LISTEN))
        direct.write_resolv_conf(RESOLV_CONF.format(SERVER))
        yield Site(pod, direct, node, servers, glibc, musl)


def seconds_of(lookups: Sequence[Lookup]) -> list[float]:
    """From the fastest to the slowest."""
    return sorted(lookup.milliseconds / 1000 for lookup in lookups)


def tell(what: str, seconds: Iterable[float]) -> None:
    """Figures for whoever looks: each, or the middle and the last of many."""
    found = sorted(seconds)
    figures = [f"{one * 1000:.1f}" for one in found]
    if len(found) >= TIMES:
        figures = [f"median {median(found) * 1000:.1f}, longest {figures[-1]}, of {len(found)} lookups"]
    sys.stdout.write(f"\n{what}, ms: {', '.join(figures)}")


# ------------------------------------------------------------------------------------------ the glibc of this machine

PODS, DIRECTS = 30, 10
"""Threads of each pod."""
EVERY = 0.1
"""Seconds from one lookup of a thread to the next."""
PERCENT = 8
"""Of a hundred responses on either way, so many get lost."""
LOST = 1000
"""Responses to the daemon that get lost."""
SLOWLY = 0.3
"""Seconds that an answer takes which shows the latch: AAAA comes that much later than A, or with it."""
TOGETHER = 0.15


class Threads:
    """Each looks up a name of its own every tenth of a second, in a process that lives on."""

    def __init__(self, namespace: Namespace, client: Path, count: int) -> None:
        self._processes = [ResolvingProcess(namespace, client) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count)
        self._asking: list[Future[list[Lookup]]] = []
        self._is_over = Event()

    def __enter__(self) -> Self:
        for process in self._processes:
            process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._is_over.set()
        self._pool.shutdown()
        for process in self._processes:
            process.__exit__(kind, error, traceback)

    def begin(self, names: Sequence[str]) -> None:
        """From now on, each its name."""
        self._asking = [
            self._pool.submit(self._again_and_again, *both) for both in zip(self._processes, names, strict=True)
        ]  # fmt: skip

    def end(self) -> list[Lookup]:
        """What came of them all."""
        self._is_over.set()
        return [lookup for asking in self._asking for lookup in asking.result()]

    def look_up(self, names: Sequence[str]) -> list[Lookup]:
        """Once more, each its name."""
        return list(self._pool.map(lambda process, name: process.look_up([name])[0], self._processes, names))

    def _again_and_again(self, process: ResolvingProcess, name: str) -> list[Lookup]:
        found = []
        while not self._is_over.wait(EVERY):
            found += process.look_up([name])
        return found


def latched(server: ScriptedUpstream, names: Sequence[str]) -> list[str]:
    """Those of which AAAA was not asked together with A."""
    gaps = {}
    for name in names:
        first = {qtype: server.asked(f"{name}.{FIRST_SEARCHED}.", qtype)[0].at for qtype in ("A", "AAAA")}
        gaps[name] = abs(first["AAAA"] - first["A"])
    tell("AAAA comes after A by", gaps.values())
    return [name for name, gap in gaps.items() if gap > TOGETHER]


def test_a_thousand_lost_replies_latch_nobody(site: Site) -> None:
    """Asked directly, every thread is latched within seconds; through the daemon, of more threads, none is."""
    names = [f"keydb-{number}.keydb" for number in range(PODS)]
    slow = {way: [f"{way}-{name}" for name in names[:count]] for way, count in (("pod", PODS), ("direct", DIRECTS))}
    with site.server() as server, site.daemon() as daemon:
        for name in names:
            server.on(f"{name}.{FIRST_SEARCHED}.", told_by(1, ttl=0))
        for name in slow["pod"] + slow["direct"]:
            server.on(f"{name}.{FIRST_SEARCHED}.", late(SLOWLY, told_by(1, ttl=0)))
        with Threads(site.pod, site.glibc, PODS) as pods, Threads(site.direct, site.glibc, DIRECTS) as directs:
            with Lossy(site.node, SERVER, NODE, PERCENT) as to_daemon, Lossy(site.node, SERVER, DIRECT, PERCENT) as to_direct:
                pods.begin(names)
                directs.begin(names[:DIRECTS])
                until = time.monotonic() + 60
                while to_daemon.lost() < LOST and time.monotonic() < until:
                    time.sleep(0.1)
                for name in names:
                    server.on(f"{name}.{FIRST_SEARCHED}.", refusal("SERVFAIL"))
                time.sleep(2.0)
                lost = to_daemon.lost()
                sys.stdout.write(f"\nlost: {lost} on the way to the daemon, {to_direct.lost()} on the way to the other pod")
            through, directly = seconds_of(pods.end()), seconds_of(directs.end())
            pods.look_up(slow["pod"])
            directs.look_up(slow["direct"])
        tell("through the daemon", through)
        tell("directly", directly)
        assert lost >= LOST
        assert directly[-1] > LIBC_WAITS
        assert len(latched(server, slow["direct"])) >= DIRECTS - 1, "asked directly, they are latched"
        assert latched(server, slow["pod"]) == [], "through the daemon, none is"
        assert through[-1] < LIBC_WAITS - 1
        assert daemon.metric("forwarder_deadline_missed_total") == 0
        assert daemon.metric("forwarder_client_repeats_total", after="failure") == 0
        assert daemon.metric("forwarder_client_repeats_total", after="lost_reply") == 0


# --------------------------------------------------------------------------------------------------------- an old glibc


class OldThread:
    """A thread of an old glibc in a pod, latched or not yet."""

    def __init__(self, namespace: Namespace, nameserver: str, *, is_latched: bool = False) -> None:
        self.glibc = OldGlibc((nameserver, 53))
        self.glibc.is_latched = is_latched
        self._namespace = namespace

    def look_up(self, name: str) -> Told:
        """In its pod."""
        with self._namespace.inside():
            return self.glibc.look_up(name)


def test_an_old_glibc_waits_for_what_it_did_not_ask(site: Site) -> None:
    """One response lost, and each failure takes 10 s; through the daemon it is made good, and failures are told at once.

    Not to a thread that was latched before: it waits while names fail, and is seen to.
    """
    names = {"direct": "keydb-0.direct.", "through": "keydb-0.through."}
    failures = ("keydb-0.failing.", "keydb-0.lame.")
    with site.server() as server, site.daemon() as daemon, ThreadPoolExecutor(4) as pool:
        server.on("*.failing.", refusal("SERVFAIL"))
        server.on("*.lame.", answer(flags=()))
        for name in names.values():
            server.on(name, by_type(a=told_by(1), aaaa=in_rotation(silent, *[told_by(1)] * 5)))
        direct, through = OldThread(site.direct, SERVER), OldThread(site.pod, LISTEN)
        waiting = pool.submit(OldThread(site.pod, LISTEN, is_latched=True).look_up, failures[0])
        at_first = pool.submit(direct.look_up, names["direct"])
        mended = through.look_up(names["through"])
        tell("one response lost: directly", [at_first.result().seconds])
        tell("one response lost: through the daemon", [mended.seconds])
        assert at_first.result().seconds > LIBC_WAITS
        assert direct.glibc.is_latched
        assert mended.seconds < LIBC_WAITS - 1
        assert mended.rcodes == ("NOERROR", "NOERROR")
        waits = pool.map(direct.look_up, failures)
        told = [through.look_up(name).seconds for name in failures for _ in range(TIMES)]
        directly = list(waits)
        tell("failures: directly", [one.seconds for one in directly])
        tell("failures: through the daemon", told)
        tell("failures: through the daemon, latched before", [waiting.result().seconds])
        assert all(one.has_failed and one.seconds > 2 * LIBC_WAITS - 0.5 for one in directly)
        assert max(told) < LIBC_WAITS - 1
        assert not through.glibc.is_latched
        assert waiting.result().seconds > 2 * LIBC_WAITS - 0.5
        assert daemon.metric("forwarder_client_repeats_total", after="failure") == 1
        assert daemon.metric("forwarder_client_repeats_total") == 1, "who is well does not look ill"


def test_a_thread_that_was_latched_before_is_freed(site: Site) -> None:
    """By a pinned name, and where the zone has a failing name said not to exist."""
    zones, pinned = "{zone: .}, {zone: lenient, on_failure: nxdomain}", f"hosts: {{records: {{'{NAME}': [192.0.2.10]}}}}"
    with site.server() as server, site.daemon(zones, pinned) as daemon:
        server.default = refusal("SERVFAIL")
        thread = OldThread(site.pod, LISTEN, is_latched=True)
        for what, name, rcode in (("pinned", f"{NAME}.", "NOERROR"), ("on_failure", "keydb-0.lenient.", "NXDOMAIN")):
            told = [thread.look_up(name) for _ in range(TIMES)]
            tell(f"latched before: {what}", [one.seconds for one in told])
            assert {one.rcodes for one in told} == {(rcode, rcode)}
            assert max(one.seconds for one in told) < LIBC_WAITS - 1
        assert daemon.metric("forwarder_client_repeats_total") == 0


# ------------------------------------------------------------------------------------------ the search path, and musl

STALE_NAME = "keydb-9.keydb"


def again_and_again(process: ResolvingProcess, name: str) -> list[float]:
    """Seconds of many lookups, from the fastest to the slowest."""
    found = []
    for _ in range(TIMES):
        found += process.look_up([name])
        time.sleep(0.05)
    return seconds_of(found)


def test_the_search_path_while_the_server_is_silent(site: Site) -> None:
    """Four names, A and AAAA, one server for all zones: 20 s directly. musl waits on any failure, told at once or not."""
    with (
        site.server() as server,
        ResolvingProcess(site.direct, site.glibc) as direct,
        ResolvingProcess(site.pod, site.glibc) as glibc,
        ResolvingProcess(site.pod, site.musl) as musl,
        ThreadPoolExecutor(2) as pool,
        site.daemon() as daemon,
    ):
        server.on(f"{STALE_NAME}.{FIRST_SEARCHED}.", told_by(1, ttl=1))
        assert musl.look_up([STALE_NAME])[0].addresses
        assert glibc.look_up(["keydb-7.keydb"])[0].milliseconds < 1000, "it answered until now"
        server.default = silent
        server.on(f"{STALE_NAME}.{FIRST_SEARCHED}.", silent)
        directly = pool.submit(direct.look_up, [NAME])
        first = seconds_of(glibc.look_up([NAME]))[0]
        stale = again_and_again(musl, STALE_NAME)
        waiting = pool.submit(musl.look_up, [NAME])
        cached = again_and_again(glibc, NAME)
        new = seconds_of(glibc.look_up(["keydb-1.keydb"]))[0]
        musl_waits, asked_directly = seconds_of(waiting.result())[0], seconds_of(directly.result())[0]
        tell("glibc: just gone silent", [first])
        tell("glibc: a new name", [new])
        tell("glibc: directly", [asked_directly])
        tell("glibc: failure cached", cached)
        tell("musl: failure cached", [musl_waits])
        tell("musl: stale", stale)
        assert first <= 3.5
        assert median(cached) < SOON
        assert new < 2.0
        assert cached[-1] < 2.0
        assert asked_directly >= 20.0
        assert median(stale) < SOON
        assert musl_waits > LIBC_WAITS - 0.5, "musl takes a failure for no response"
        assert daemon.metric("forwarder_client_repeats_total", after="failure") == 0
        assert daemon.metric("forwarder_client_repeats_total", after="failure_musl") >= 1


def test_what_musl_does_not_wait_for(site: Site) -> None:
    """A pinned name, and `on_failure: nxdomain` for the zones of its search path; the server is silent all the time."""
    zones = "{zone: .}, {zone: cluster.local, on_failure: nxdomain}, {zone: keydb, on_failure: nxdomain}"
    pinned = f"hosts: {{records: {{keydb-8.keydb.{FIRST_SEARCHED}: [192.0.2.10]}}}}"
    with site.server() as server, site.daemon(zones, pinned) as daemon, ResolvingProcess(site.pod, site.musl) as musl:
        server.default = silent
        first = seconds_of(musl.look_up([NAME]))[0]
        told = {"pinned": again_and_again(musl, "keydb-8.keydb"), "on_failure": again_and_again(musl, NAME)}
        tell("musl: on_failure: nxdomain, just gone silent", [first])
        for what, found in told.items():
            tell(f"musl: {what}", found)
        assert first < LIBC_WAITS - 1
        assert all(median(found) < SOON for found in told.values())
        assert musl.look_up(["keydb-8.keydb"])[0].addresses == ("192.0.2.10",)
        assert "does not" in musl.look_up([NAME])[0].error
        assert daemon.metric("forwarder_client_repeats_total") == 0
