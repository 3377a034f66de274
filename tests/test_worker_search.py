"""A worker and its search path: which domains are searched, what ends a cut, what a snapshot says of it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dns.rcode
import pytest

from forwarder import config, link
from tests.lab.behaviours import answer
from tests.lab.clients import ask, query, rdatas
from tests.lab.scripted import ScriptedUpstream
from tests.test_worker import Bench, bench, pinned, until, zone_for

SOON = 0.5
"""Seconds in which a candidate is asked that is asked at all: after the second denial, at once."""
DENIED = answer(authority=[". 60 IN SOA ns. host. 1 3600 600 86400 60"], rcode="NXDOMAIN")
CLUSTER = {"cluster_domain": "cluster.local"}


@contextmanager
def searching(
    sections: Mapping[str, Any], *zones: str, search: tuple[str, ...] = ()
) -> Iterator[tuple[Bench, ScriptedUpstream]]:
    """A worker whose upstream denies everything, with this configuration; `search` is what resolv.conf files name."""
    with ScriptedUpstream() as upstream, bench() as at:
        upstream.default = DENIED
        begin = at.begin([zone_for(upstream, zone=zone) for zone in (*zones, ".")], sections=sections)
        upstreams = link.Upstreams(begin.upstreams.zones, begin.upstreams.rows, list(search))
        at.serve(link.Begin(begin.config, begin.udp, begin.tcp, begin.counters, begin.pinned, upstreams))
        yield at, upstream


def is_cut(at: Bench, upstream: ScriptedUpstream, candidate: str) -> bool:
    """Whether names below this one are denied without asking, after two of them were."""
    for number in range(2):
        assert ask(at.server, query(f"n{number}.{candidate}")).rcode() == dns.rcode.NXDOMAIN
    end = time.monotonic() + SOON
    while not upstream.asked(candidate):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    until(lambda: {one.qtype for one in upstream.asked(candidate)} == {"A", "AAAA"})
    asked: list[str] = []

    def is_denied_unasked() -> bool:
        name = f"new{len(asked)}.{candidate}"
        asked.append(name)
        assert ask(at.server, query(name)).rcode() == dns.rcode.NXDOMAIN
        return not upstream.asked(name)

    until(is_denied_unasked)
    return True


@pytest.mark.parametrize(
    ("sections", "search", "candidate", "expected"),
    [
        (CLUSTER, (), "com.svc.cluster.local.", True),
        (CLUSTER, (), "com.corp.example.", False),
        (CLUSTER | {"search": config.Search(domains=("corp.example",))}, (), "com.corp.example.", True),
        (CLUSTER | {"search": config.Search(nxdomain_cut=False)}, (), "com.svc.cluster.local.", False),
        (CLUSTER, ("corp.example",), "com.corp.example.", False),
        ({}, ("corp.example",), "com.corp.example.", True),
        ({}, (), "com.svc.cluster.local.", False),
    ],
    ids=[
        "cluster domain", "nowhere else", "search.domains", "turned off", "a cluster domain is stronger than resolv.conf",
        "resolv.conf", "nothing",
    ],
)  # fmt: skip
def test_where(sections: dict[str, Any], search: tuple[str, ...], candidate: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    with searching(sections, search=search) as (at, upstream):
        assert is_cut(at, upstream, candidate) is expected


def test_the_apex_of_a_zone_is_not_cut() -> None:
    with searching(CLUSTER, "stub.com.svc.cluster.local") as (at, upstream):
        assert not is_cut(at, upstream, "com.svc.cluster.local.")
        assert is_cut(at, upstream, "net.svc.cluster.local.")


def test_a_name_that_is_pinned_ends_the_cut_above_it() -> None:
    with searching(CLUSTER) as (at, upstream):
        assert is_cut(at, upstream, "com.svc.cluster.local.")
        at.tell(pinned(b"\2db\3com\3svc\7cluster\5local\0"))
        until(lambda: rdatas(ask(at.server, query("db.com.svc.cluster.local."))) == ["198.51.100.7"])
        before = len(upstream.asked("com.svc.cluster.local."))
        for number in range(3):
            ask(at.server, query(f"m{number}.com.svc.cluster.local."))
            assert len(upstream.asked(f"m{number}.com.svc.cluster.local.")) == 1
        assert len(upstream.asked("com.svc.cluster.local.")) == before


def test_search_domains_that_change() -> None:
    with searching({}, search=("one.example",)) as (at, upstream):
        assert is_cut(at, upstream, "com.one.example.")
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [upstream.address])], search=["two.example"]))
        until(lambda: is_cut(at, upstream, "com.two.example."))
        ask(at.server, query("later.com.one.example."))
        assert len(upstream.asked("later.com.one.example.")) == 1


def test_what_is_cached_as_existing_prevents_a_cut_though_files_changed_since() -> None:
    """A server that denies a name above one that exists: it is believed in neither then."""
    with searching(CLUSTER) as (at, upstream):
        upstream.on("web.odd.svc.cluster.local.", answer("@ 60 IN A 192.0.2.1"))
        assert rdatas(ask(at.server, query("web.odd.svc.cluster.local."))) == ["192.0.2.1"]
        at.tell(pinned(b"\1x\4test\0"))
        until(lambda: rdatas(ask(at.server, query("x.test."))))
        assert not is_cut(at, upstream, "odd.svc.cluster.local.")
