"""The rules in nftables' language: one table of our own, `inet forwarder`, written and replaced whole.

Decides and does nothing. What the table does (docs/node.md tells why): queries to us and our answers are not tracked, at the
priority of raw, before tracking begins; for intercepted addresses only while their element lives, which a rule renews when the
daemon says, by a datagram, that it answered itself. Always holds: nothing here accepts what another table drops, for it could
not; a table of this name that lacks our mark is somebody else's.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from forwarder.node.plan import PORT, Endpoint, Plan

FAMILY, TABLE = "inet", "forwarder"
MARK = "forwarder node up"
"""How the comment begins of the one rule in the chain `made`, which nothing jumps to; behind it is what `version_for` gives."""
ALIVE_MILLISECONDS = 2_800
"""An element lives this long after the last renewal; the daemon sends one a second. Less than the 3 s after which the cluster
is to answer again, by more than a query takes."""
RENEWAL_PORT = 9
"""discard: datagrams that nobody answers. They are dropped on their way out, which is how the daemon sees that they count."""
MAX_STREAMS = 65_536
"""Intercepted TCP streams at one time; those beyond go to the cluster's own servers, as all did before."""
JUMP = 'jump queries comment "queries, from elsewhere and from this host"'
GIVE_BACK_PORT = 10
"""Datagrams that end a takeover at once, for a daemon that is ending; dropped likewise."""
_SYN = "tcp flags & (fin | syn | rst | ack) == syn"


@dataclass(frozen=True, slots=True)
class Found:
    """What the kernel's listing says of the table."""

    is_ours: bool
    """False where the table is there without our mark."""
    version: str
    """Of the text it was made from."""
    rules: frozenset[tuple[str, str]]
    """(chain, comment) of every rule that has one."""
    seconds: dict[str, float]
    """Intercepted address -> how long it stays ours if nobody renews it."""


def text_for(plan: Plan) -> str:
    """What `nft -f -` is given: in one transaction, whatever of ours was there is replaced."""
    return f"{removal_text()}table {FAMILY} {TABLE} {{\n{_made(plan)}{_body(plan)}}}\n"


def removal_text() -> str:
    """The table goes, if it is there: added first, for deleting what is not there would fail."""
    return f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n"


def version_for(plan: Plan) -> str:
    """A short name of the rules as they are to be."""
    return hashlib.sha256(_body(plan).encode()).hexdigest()[:16]


def rules_for(plan: Plan) -> frozenset[tuple[str, str]]:
    """(chain, comment) of every rule there is to be."""
    found = set()
    chain = ""
    for line in (_made(plan) + _body(plan)).splitlines():
        if match := re.match(r"\tchain (\w+)", line):
            chain = match[1]
        elif match := re.search(r'comment "([^"]*)"$', line):
            found.add((chain, match[1]))
    return frozenset(found)


def found_in(listing: dict[str, Any] | None) -> Found | None:
    """The table in what `nft -j list` printed, or None where there is none."""
    objects = [one for one in (listing or {}).get("nftables", []) if isinstance(one, dict)]
    ours = [(kind, value) for one in objects for kind, value in one.items() if _is_here(kind, value)]
    if not ours:
        return None
    rules = frozenset((rule["chain"], rule["comment"]) for kind, rule in ours if kind == "rule" and "comment" in rule)
    marks = [comment for chain, comment in rules if chain == "made" and comment.startswith(f"{MARK} ")]
    sets = [value for kind, value in ours if kind == "set" and value["name"].startswith("alive")]
    elements = [element["elem"] for one in sets for element in one.get("elem", []) if "elem" in element]
    return Found(
        is_ours=len(marks) == 1,
        version=marks[0].removeprefix(f"{MARK} ") if marks else "",
        rules=rules,
        seconds={str(element["val"]): float(element.get("expires", 0)) for element in elements},
    )


def _is_here(kind: str, value: dict[str, Any]) -> bool:
    name = value.get("name") if kind == "table" else value.get("table")
    return value.get("family") == FAMILY and name == TABLE


def _made(plan: Plan) -> str:
    return _chain("made", [f'return comment "{MARK} {version_for(plan)}"'])


def _body(plan: Plan) -> str:
    versions = [version for version in (4, 6) if plan.intercepted_of(version)]
    return "".join(
        (
            *(_sets(version, plan.stream_seconds) for version in versions),
            *(_streams(version, plan.stream_seconds) for version in versions),
            _chain("queries", [rule for version in (4, 6) for rule in _query_rules(plan, version)]),
            _chain("prerouting", [_base("filter", "prerouting", "-300"), JUMP]),
            _chain("output", [_base("filter", "output", "-300"), *_output_rules(plan)]),
            _chain("postrouting", [_base("nat", "postrouting", "110"), *_source_rules(plan)]) if versions else "",
        )
    )


def _base(kind: str, hook: str, priority: str) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


def _chain(name: str, lines: list[str]) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _sets(version: int, stream_seconds: int) -> str:
    kind = f"ipv{version}_addr"
    return (
        f"\tset alive{version} {{\n\t\ttype {kind}\n\t\tsize 64\n\t\tflags dynamic,timeout\n\t}}\n"
        f"\tset streams{version} {{\n\t\ttype {kind} . inet_service . {kind}\n\t\tsize {MAX_STREAMS}\n"
        f"\t\tflags dynamic,timeout\n\t\ttimeout {stream_seconds}s\n\t}}\n"
    )


def _streams(version: int, stream_seconds: int) -> str:
    """A stream belongs to whoever was asked to begin it, until it ends."""
    ip = _ip(version)
    stream = f"{ip} saddr . tcp sport . {ip} daddr"
    renewed = f"update @streams{version} {{ {stream} timeout {stream_seconds}s }}"
    return _chain(
        f"takeover{version}",
        [
            f'{_SYN} {ip} daddr @alive{version} {renewed} notrack accept comment "begins with us"',
            f'{_SYN} delete @streams{version} {{ {stream} }} accept comment "begins with the cluster"',
            f'{stream} @streams{version} {renewed} notrack comment "goes on with us"',
        ],
    )


def _query_rules(plan: Plan, version: int) -> list[str]:
    """Of the chain for what is on its way to us, from elsewhere and from this host."""
    ip = _ip(version)
    rules = [
        f'{ip} daddr . {protocol} dport {_pairs(endpoints)} notrack comment "IPv{version} queries over {protocol.upper()}"'
        for protocol in ("udp", "tcp")
        if (endpoints := plan.endpoints_of(version))
    ]
    if addresses := plan.intercepted_of(version):
        what = f"intercepted IPv{version} queries over"
        rules += [
            f'{ip} daddr @alive{version} udp dport {PORT} notrack comment "{what} UDP"',
            f'{ip} daddr {_any(addresses)} tcp dport {PORT} goto takeover{version} comment "{what} TCP"',
        ]
    return rules


def _output_rules(plan: Plan) -> list[str]:
    """Answers, renewals, and queries of this host's own programs."""
    rules = []
    for version in (4, 6):
        ip = _ip(version)
        intercepted = plan.intercepted_of(version)
        rules += [rule for address in intercepted for rule in _takeover_rules(plan.uid, version, address)]
        own = (*plan.endpoints_of(version), *(Endpoint(address, PORT) for address in intercepted))
        rules += [
            f'{ip} saddr . {protocol} sport {_pairs(own)} notrack comment "IPv{version} answers over {protocol.upper()}"'
            for protocol in ("udp", "tcp")
            if own
        ]
    return [*rules, JUMP]


def _takeover_rules(uid: int, version: int, address: str) -> list[str]:
    """What the daemon's datagrams to the address do. By their drop it knows that they count."""
    ip = _ip(version)
    renewal = f"update @alive{version} {{ {ip} daddr timeout {ALIVE_MILLISECONDS}ms }}"
    theirs = f"meta skuid {uid} {ip} daddr {address} udp dport"
    return [
        f'{theirs} {RENEWAL_PORT} {renewal} drop comment "{address} is renewed"',
        f'{theirs} {GIVE_BACK_PORT} delete @alive{version} {{ {ip} daddr }} drop comment "{address} is given back"',
    ]


def _source_rules(plan: Plan) -> list[str]:
    """Where this host's programs speak to elsewhere from a service address, which is local to them, nobody could answer."""
    return [
        f'{_ip(version)} saddr {_any(addresses)} oifname != "lo" masquerade comment "IPv{version} source of this host"'
        for version in (4, 6)
        if (addresses := plan.intercepted_of(version))
    ]


def _ip(version: int) -> str:
    return "ip6" if version == 6 else "ip"  # noqa: PLR2004 - it is 4 or 6


def _pairs(endpoints: tuple[Endpoint, ...]) -> str:
    return "{ " + ", ".join(f"{one.address} . {one.port}" for one in endpoints) + " }"


def _any(addresses: tuple[str, ...]) -> str:
    return "{ " + ", ".join(addresses) + " }"
