"""The firewall's rules, read: which addresses are not tracked, and which are intercepted at this moment.

Pure. Of nft's JSON (libnftables-json(5)), where sets are resolved, or of what iptables-save prints. Never fails: what is not
understood says nothing. A rule counts wherever in a table it stands: whether it takes effect, the connections show.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from forwarder.doctor.facts import Rules

OUR_TABLE = ("inet", "forwarder")
ANY = "*"
"""A rule that names no address."""
KUBE_PROXY = "KUBE-SERVICES"
"""The chain of its iptables mode; in its nftables mode there is a table `kube-proxy`."""
_FIELDS = {"daddr": "to", "saddr": "from"}
_WORDS = {"-d": "to", "--destination": "to", "-s": "from", "--source": "from"}


def rules_in_nft(text: str) -> Rules | None:
    """Of `nft --json list ruleset`; None for what is no such listing."""
    try:
        listed = json.loads(text)["nftables"]
        entries = [entry for entry in listed if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    sets = {_key(one): tuple(_elements(one.get("elem"))) for one in _of_kind("set", entries)}
    untracked: dict[str, list[str]] = {"to": [], "from": []}
    for rule in _of_kind("rule", entries):
        for side, addresses in _untracked_by(rule, sets).items():
            untracked[side] += addresses
    alive = {
        str(one.get("name")): sets[_key(one)]
        for one in _of_kind("set", entries)
        if (one.get("family"), one.get("table")) == OUR_TABLE and _has_timeout(one)
    }
    tables = [(one.get("family"), one.get("name")) for one in _of_kind("table", entries)]
    chains = [one.get("name") for one in _of_kind("chain", entries)]
    return Rules(
        source="nft",
        has_kube_proxy=KUBE_PROXY in chains or any(name == "kube-proxy" for _, name in tables),
        untracked_to=tuple(dict.fromkeys(untracked["to"])),
        untracked_from=tuple(dict.fromkeys(untracked["from"])),
        has_our_table=OUR_TABLE in tables,
        alive=alive,
    )


def _of_kind(kind: str, entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (entry[kind] for entry in entries if isinstance(entry.get(kind), dict))


def _key(one: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(one.get(part)) for part in ("family", "table", "name"))


def _has_timeout(one: dict[str, Any]) -> bool:
    flags = one.get("flags")
    return "timeout" in flags if isinstance(flags, list | str) else False


def _elements(value: object) -> Iterator[str]:
    """The addresses in a right-hand side, an element or a list of them; a prefix only where it is one address."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _elements(one)
    elif isinstance(value, dict):
        for inner in ("set", "elem", "val", "concat"):
            if inner in value:
                yield from _elements(value[inner])
        prefix = value.get("prefix")
        if isinstance(prefix, dict) and prefix.get("len") in {32, 128}:
            yield from _elements(prefix.get("addr"))


def _untracked_by(rule: dict[str, Any], sets: dict[tuple[str, ...], tuple[str, ...]]) -> dict[str, list[str]]:
    """Side -> addresses that this rule keeps out of conntrack."""
    expressions = rule.get("expr")
    parts = [part for part in expressions if isinstance(part, dict)] if isinstance(expressions, list) else []
    if not any("notrack" in part for part in parts):
        return {}
    found: dict[str, list[str]] = {}
    for match in (part["match"] for part in parts if isinstance(part.get("match"), dict)):
        left = match.get("left")
        payload = left.get("payload") if isinstance(left, dict) else None
        side = _FIELDS.get(str(payload.get("field"))) if isinstance(payload, dict) else None
        if side is not None:
            right = match.get("right")
            named = isinstance(right, str) and right.startswith("@")
            known = sets.get(_key(rule | {"name": str(right)[1:]}), ()) if named else tuple(_elements(right))
            found.setdefault(side, []).extend(known)
    return found or {"to": [ANY], "from": [ANY]}


def rules_in_iptables(text: str) -> Rules:
    """Of `iptables-save` and `ip6tables-save`, one behind the other."""
    untracked: dict[str, list[str]] = {"to": [], "from": []}
    for line in text.splitlines():
        if not re.search(r"-j (NOTRACK|CT\b.*--notrack)", line):
            continue
        words = line.split()
        sides = [(_WORDS[word], value) for word, value in pairwise(words) if word in _WORDS]
        for side, value in sides or [("to", ANY), ("from", ANY)]:
            address, slash, length = value.partition("/")
            if not slash or length in {"32", "128"}:
                untracked[side].append(address)
    return Rules(
        source="iptables",
        has_kube_proxy=f":{KUBE_PROXY} " in text,
        untracked_to=tuple(dict.fromkeys(untracked["to"])),
        untracked_from=tuple(dict.fromkeys(untracked["from"])),
        has_our_table=False,
        alive={},
    )


def both(nft: Rules, iptables: Rules) -> Rules:
    """What either says: rules made by iptables show in nft's listing as something it cannot read."""
    return Rules(
        source=f"{nft.source}, {iptables.source}",
        untracked_to=tuple(dict.fromkeys((*nft.untracked_to, *iptables.untracked_to))),
        untracked_from=tuple(dict.fromkeys((*nft.untracked_from, *iptables.untracked_from))),
        has_our_table=nft.has_our_table,
        has_kube_proxy=nft.has_kube_proxy or iptables.has_kube_proxy,
        alive=nft.alive,
    )
