"""`forwarder lookup` beside the real thing: getaddrinfo of glibc and of musl against the same scripted nameservers.

What is compared is what the nameservers saw, the queries name by name and type by type, each nameserver for itself; whether the
name was resolved; and, within a second, how long it took. One network namespace, so that each case has a resolv.conf of its
own and nameservers on port 53.
"""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.behaviours import Behaviour, answer, by_transport, in_turn, nodata, nxdomain, refusal, silent, truncate
from tests.lab.daemon import PROJECT, Daemon
from tests.lab.libcs import Lookup, compiled_for_musl, glibc_lookup, musl_lookup
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_musl, needs_namespaces
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

NAMESERVERS = ("127.0.0.1", "127.0.0.2")
SEARCH = "nameserver 127.0.0.1\nsearch a.test b.test c.test\n"
TWO = f"{SEARCH}nameserver 127.0.0.2\noptions timeout:1 attempts:1\n"
A = answer("@ 60 IN A 192.0.2.1")
AAAA = answer("@ 60 IN AAAA 2001:db8::1")
NXDOMAIN = nxdomain("test.")
NODATA = nodata("test.")
SERVFAIL = refusal("SERVFAIL")
LAME = answer(flags=())
NEAR = 1.0
"""Seconds by which the two may differ: waits are multiples of one second here, and the machine may be busy."""
SETTLED = 0.05
"""Seconds for the last query of a program that ended to be written down."""

Seen = list[tuple[str, str, str]]
"""Transport, name and type of each query."""
Script = Mapping[str, Behaviour]
"""`host.a.test. A` or `host.a.test.` -> what is answered; all else is NXDOMAIN."""


@dataclass(frozen=True, slots=True)
class Pod:
    """Where programs run, and the musl program."""

    namespace: Namespace
    musl_client: Path

    @contextmanager
    def nameservers(self, *scripts: Script) -> Iterator[list[ScriptedUpstream]]:
        """Nameservers that play these scripts."""
        with ExitStack() as stack:
            started = []
            for address, script in zip(NAMESERVERS, scripts, strict=False):
                with self.namespace.inside():
                    upstream = ScriptedUpstream(address, 53)
                upstream.default = NXDOMAIN
                for question, behaviour in script.items():
                    name, _, qtype = question.partition(" ")
                    upstream.on(name, behaviour, qtype=qtype or None)
                started.append(stack.enter_context(upstream))
            yield started

    def really(self, libc: str, name: str) -> Lookup:
        """The libc's own getaddrinfo."""
        if libc == "glibc":
            return glibc_lookup(self.namespace, name)
        return musl_lookup(self.namespace, self.musl_client, name)

    def played(self, libc: str, name: str, *more: str) -> dict[str, Any]:
        """The JSON of `forwarder lookup`."""
        words = ("lookup", name, "--libc", libc, "--json", *more)
        done = self.namespace.run(sys.executable, "-m", "forwarder", *words, timeout=60)
        told: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if told["resolved"] else 1)
        return told


def taken(nameservers: list[ScriptedUpstream], *, edns: bool) -> list[Seen]:
    """What each nameserver was asked since the last time; without what is asked with EDNS afterwards, for the reasons."""
    time.sleep(SETTLED)
    seen = []
    for upstream in nameservers:
        seen.append([(one.transport, one.name.lower(), one.qtype) for one in upstream.received if edns or not one.has_opt])
        upstream.received.clear()
    return seen


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    needs_namespaces()
    needs_musl()
    client = compiled_for_musl(tmp_path_factory.mktemp("musl"))
    with Network() as network:
        yield Pod(network.namespace("pod"), client)


@dataclass(frozen=True, slots=True)
class Case:
    """One resolv.conf, one name, and what the nameservers do."""

    name: str
    resolv_conf: str
    script: Script
    second: Script | None = None
    libcs: tuple[str, ...] = ("glibc", "musl")


HERE = {"host.b.test. A": A, "host.b.test. AAAA": AAAA}
QUICK = "options timeout:1\n"
CASES = {
    "as it is last: fewer dots than ndots": Case("host.x", f"{SEARCH}options ndots:5 timeout:1\n", {}),
    "as it is first, or alone: enough dots": Case("host.x", SEARCH, {}),
    "no dots": Case("host", SEARCH, {}),
    "a final dot": Case("host.x.", f"{SEARCH}options ndots:5\n", {}),
    "found in the second domain": Case("host", SEARCH, HERE),
    "NODATA in the first": Case("host", SEARCH, {"host.a.test.": NODATA, **HERE}),
    "SERVFAIL in the first": Case("host", SEARCH + QUICK, {"host.a.test.": SERVFAIL, **HERE}),
    "REFUSED in the first": Case("host", SEARCH + QUICK, {"host.a.test.": refusal("REFUSED"), **HERE}),
    "FORMERR in the first": Case("host", SEARCH + QUICK, {"host.a.test.": refusal("FORMERR"), **HERE}),
    "a lame server": Case("host", SEARCH + QUICK, {"host.a.test.": LAME, **HERE}),
    "SERVFAIL of the name as it is": Case("host.x", SEARCH + QUICK, {"host.x.": SERVFAIL}),
    "A answered, AAAA SERVFAIL": Case("host", SEARCH + QUICK, {"host.a.test. A": A, "host.a.test. AAAA": SERVFAIL}),
    "A SERVFAIL, AAAA NODATA": Case("host", SEARCH + QUICK, {"host.a.test. A": SERVFAIL, "host.a.test. AAAA": NODATA}),
    "A answered, AAAA NXDOMAIN": Case("host", SEARCH, {"host.a.test. A": A}),
    "A answered, AAAA silent: the latch": Case("host", SEARCH + QUICK, {"host.a.test. A": NODATA, "host.a.test. AAAA": silent}),
    "silence": Case("host", f"{SEARCH}options timeout:1 attempts:1\n", {"host.a.test.": silent}),
    "SERVFAIL, then silence, from the second of two": Case(
        "host", f"nameserver 127.0.0.2\n{SEARCH}{QUICK}", {"host.a.test.": SERVFAIL, "host.b.test.": silent}, {}, ("glibc",)
    ),
    "silence from the first of two": Case("host", TWO, {"host.a.test.": silent}, {}),
    "nobody at the nameserver": Case("host.x", "nameserver 127.0.0.3\nsearch a.test\noptions timeout:1\n", {}),
    "single-request": Case("host", f"{SEARCH}options single-request\n", {"host.a.test. A": SERVFAIL}, libcs=("glibc",)),
    "single-request-reopen": Case("host", f"{SEARCH}options single-request-reopen\n", HERE, libcs=("glibc",)),
    "use-vc": Case("host", f"{SEARCH}options use-vc\n", {"host.a.test. A": SERVFAIL}, libcs=("glibc",)),
    "no-aaaa": Case("host", f"{SEARCH}options no-aaaa\n", {}),
    "edns0": Case("host", f"{SEARCH}options edns0\n", {}, libcs=("glibc",)),
    "the root in the search list": Case("host", "nameserver 127.0.0.1\nsearch a.test . b.test\n", {}, libcs=("glibc",)),
    "truncated": Case("host", SEARCH, {"host.b.test. A": by_transport(udp=truncate(A), tcp=A)}, libcs=("glibc",)),
    "a search line longer than musl reads": Case(
        "host", f"nameserver 127.0.0.1\nsearch {'.'.join(['x' * 60] * 4)} b.test\n", {}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("title", "libc"), [(title, libc) for title, case in CASES.items() for libc in case.libcs])
def test_asks_what_the_libc_asks(pod: Pod, title: str, libc: str) -> None:
    """The same queries in the same order, the same outcome, in about the same time."""
    case = CASES[title]
    pod.namespace.write_resolv_conf(case.resolv_conf)
    edns = "edns0" in case.resolv_conf
    with pod.nameservers(case.script, case.second or {}) as nameservers:
        real = pod.really(libc, case.name)
        wanted = taken(nameservers, edns=edns)
        played = pod.played(libc, case.name)
        given = taken(nameservers, edns=edns)
    if libc == "musl" and "SERVFAIL" in title:
        # A query that SERVFAIL answers is sent again at once, whichever of the two it is first.
        assert [Counter(name for _, name, _ in seen) for seen in given] == [
            Counter(name for _, name, _ in seen) for seen in wanted
        ]
    else:
        assert given == wanted
    assert played["resolved"] is bool(real.addresses), played
    assert abs(played["seconds"] - real.milliseconds / 1000) < NEAR, (played, real)


def test_the_latched_half_is_named(pod: Pod) -> None:
    """What an operator asks: why did this take so long, and which query was it."""
    pod.namespace.write_resolv_conf("nameserver 127.0.0.1\noptions timeout:2\n")
    with pod.nameservers({"web.test. A": A, "web.test. AAAA": in_turn(silent, AAAA)}):
        done = pod.namespace.run(sys.executable, "-m", "forwarder", "lookup", "web.test")
    assert done.returncode == 0
    last = done.stdout.splitlines()[-1]
    assert "waiting for AAAA web.test. from 127.0.0.1:53" in last
    assert "single-request-reopen" in last
    assert done.stdout.count("WAITED in vain for AAAA web.test.") == 1
    assert "waiting for AAAA web.test. from 127.0.0.1" in done.stderr


def test_ctrl_c_tells_what_is_known(pod: Pod) -> None:
    """The wait is cut short; the exit status says that it did not come to an end."""
    pod.namespace.write_resolv_conf("nameserver 127.0.0.1\n")
    with pod.nameservers({"web.test.": silent}) as nameservers:
        command = pod.namespace.command(sys.executable, "-m", "forwarder", "lookup", "web.test")
        running = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 20
        while len(nameservers[0].received) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 1
    assert "Interrupted after" in out.splitlines()[-1]
    assert "AAAA" in out
    assert "Traceback" not in err


def test_reasons_of_the_daemon(tmp_path: Path) -> None:
    """A libc sends no OPT, so nobody tells it why; asked once more with one, the daemon does (RFC 8914)."""
    file = tmp_path / "resolv.conf"
    file.write_text("search a.test\noptions timeout:2\n")
    with ScriptedUpstream() as upstream, Daemon(f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]") as daemon:
        upstream.default = SERVFAIL
        server = f"127.0.0.1:{daemon.server[1]}"
        command = [sys.executable, "-m", "forwarder", "lookup", "web.test", "A", "--server", server, "--resolv-conf", str(file)]
        done = subprocess.run([*command, "--json"], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
        told = json.loads(done.stdout)
        shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, told["resolved"]) == (1, False)
    assert all(step["outcome"] == "SERVFAIL" and step["reasons"] == [] for step in told["steps"] if step["kind"] == "query")
    assert {reason["code"] for again in told["asked_again"] for reason in again["reasons"]} == {13}
    assert "EDE 13 (cached error" in told["sentence"]
    assert "not part of the lookup" in shown.stdout
    assert "EDE 13 (cached error" in shown.stdout
