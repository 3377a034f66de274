"""`forwarder dump`, typed while the daemon runs: what it prints is what is answered, and nobody waits for it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dns.rrset
import dns.zonefile

from forwarder.inside import dumping
from tests.lab.behaviours import answer, nxdomain
from tests.lab.clients import HANG, Address, query, rdatas
from tests.lab.daemon import PROJECT, Daemon, run_to_end
from tests.lab.fast_upstream import FastUpstream
from tests.lab.instances import Instances
from tests.lab.patience import wait_for
from tests.lab.stage import Stage, staged
from tests.lab.steady import Steady, percentile

MANY = 10_000
BURST = 50
"""Queries at a time, so that no queue overflows."""
RATE = 1_000
"""Hits a second."""
SECONDS = 1.5
"""Of each round."""
DUMPS = 3
"""In a round: one that held the worker up while it writes would take more than a hundredth of it."""
SPREAD = 0.001
"""Seconds that p99 differs by from round to round, all else equal, where two cores have other work too."""


def dump(control: str, *words: str) -> subprocess.CompletedProcess[str]:
    ended = run_to_end("dump", *words, "--control", control)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended


def read(text: str) -> list[dns.rrset.RRset]:
    return dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=None)


def known(stage: Stage) -> None:
    """Something of each kind, in memory."""
    stage.upstream.default = answer("@ 300 IN A 192.0.2.1")
    for name in ("a.dump.test", "b.dump.test", "other.test"):
        assert rdatas(stage.ask(name)) == ["192.0.2.1"]
    stage.upstream.default = nxdomain("test.")
    stage.ask("none.dump.test")


def test_what_two_workers_remember_is_read_as_a_zone_file() -> None:
    with staged("listen: {workers: 2}\nhosts: {records: {pin.dump.test: ['192.0.2.7']}}") as stage:
        known(stage)
        whole = dump(stage.daemon.control).stdout
        assert "answers remembered: 4, workers: 2" in whole.splitlines()[0]
        found = {rrset.name.to_text(): rrset for rrset in read(whole)}
        assert set(found) == {"a.dump.test.", "b.dump.test.", "other.test.", "pin.dump.test.", "7.2.0.192.in-addr.arpa."}
        assert 290 <= found["a.dump.test."].ttl <= 300
        assert [rdata.to_text() for rdata in found["a.dump.test."]] == ["192.0.2.1"]
        assert any(line.startswith(";none.dump.test.\t") and "\tA\tNXDOMAIN ;" in line for line in whole.splitlines())
        below = dump(stage.daemon.control, "--suffix", "DUMP.test.").stdout
        assert {rrset.name.to_text() for rrset in read(below)} == {"a.dump.test.", "b.dump.test.", "pin.dump.test."}
        assert ended_by_its_reader(stage.daemon.control) == (1, "")
        assert rdatas(stage.ask("a.dump.test")) == ["192.0.2.1"]


def ended_by_its_reader(control: str) -> tuple[int, str]:
    """Status and complaints of a dump that nobody reads."""
    command = [sys.executable, "-m", "forwarder", "dump", "--control", control]
    unread, written = os.pipe()
    os.close(unread)
    ended = subprocess.run(command, cwd=PROJECT, stdout=written, stderr=subprocess.PIPE, text=True, check=False)
    os.close(written)
    return ended.returncode, ended.stderr


def test_while_it_reloads_saves_and_hands_over(tmp_path: Path) -> None:
    """Whatever else wants the workers' memory at that moment, a dump is whole or says why it is not."""
    settings = f"zones: [{{zone: ., upstreams: ['192.0.2.1']}}]\ncache: {{snapshot: {tmp_path}/snapshot}}\n"
    with Instances(settings + "hosts: {records: {pin.test: ['192.0.2.7']}}") as daemon:
        command = [sys.executable, "-m", "forwarder", "dump", "--control", daemon.control]
        dumps = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        daemon.process.send_signal(signal.SIGHUP)
        assert run_to_end("flush", "a.test", "--control", daemon.control).returncode == 0
        for one in dumps:
            out, _ = one.communicate(timeout=30)
            assert one.returncode == 0
            assert "pin.test.\t30\tIN\tA\t192.0.2.7 ; pinned" in out
        daemon.hand_over()
        assert "pin.test." in dump(daemon.control).stdout, "by the successor"


def fill(server: Address) -> None:
    """Have it know the addresses of so many names."""
    octets = query("pod-00000.good.example").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(server)
        client.settimeout(HANG)
        for first in range(0, MANY, BURST):
            for number in range(first, first + BURST):
                client.send(octets.replace(b"pod-00000", b"pod-%05d" % number))
            for _ in range(BURST):
                client.recv(512)


def wait_for_more_queries(daemon: Daemon) -> None:
    """Until the client has begun."""
    so_far = daemon.metric("forwarder_queries_total")
    wait_for(lambda: daemon.metric("forwarder_queries_total") > so_far, "queries")


def test_ten_thousand_answers_are_dumped_and_no_hit_waits() -> None:
    """p99 of hits in rounds with dumps is that of rounds without, within what rounds differ by.

    What is asked is what the command asks. That it then words ten thousand answers is work of another process, as any is.
    """
    with FastUpstream(ttl=3600) as upstream, Daemon(f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]") as daemon:
        fill(daemon.server)
        hits = [(f"pod-{number % 100:05d}.good.example", "A") for number in range(int(RATE * SECONDS))]
        quiet, dumped = [], []
        for _ in range(2):
            with Steady(daemon.server, hits, RATE) as client:
                quiet.append(percentile((one.charged for one in client.report()), 0.99))
            with Steady(daemon.server, hits, RATE) as client:
                wait_for_more_queries(daemon)
                for _ in range(DUMPS):
                    (memory,) = dumping.asked([daemon.control]).memories
                    assert memory.count == MANY
                dumped.append(percentile((one.charged for one in client.report()), 0.99))
        assert dump(daemon.control).stdout.count("\tIN\tA\t10.") == MANY
    assert min(dumped) <= max(quiet) + SPREAD, f"p99 of hits: {dumped} s while it is dumped, {quiet} s otherwise"
