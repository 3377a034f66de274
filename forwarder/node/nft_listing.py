"""What `nft -j list ruleset` printed, read as chains and rules that `blocking` can walk.

Decides and does nothing, and never fails on what it does not know: such a condition is one that may hold. Always holds: tables
that the iptables programs write are left out (`iptables_listing` reads them), for nft shows their conditions as names only.
"""

from typing import Any

from forwarder.node.blocking import HOOKS, Chain, Condition, Rule, Table, Verdict

VERSIONS = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
UNKNOWN = Condition("unknown")
_ENDS = {
    "accept": Verdict.ACCEPT,
    "drop": Verdict.DROP,
    "reject": Verdict.DROP,
    "return": Verdict.RETURN,
    "queue": Verdict.ACCEPT,
}
"""Expression -> verdict. What a program in user space does with a packet is its own affair: it may pass."""
_METAS = {"iif": "iif", "iifname": "iif", "oif": "oif", "oifname": "oif", "l4proto": "protocol", "nfproto": "version"}
_NFPROTOS = {"ipv4": "4", "ipv6": "6"}
_SILENT = frozenset(("counter", "log", "notrack", "mangle", "set", "map", "comment", "ct helper", "flow"))
"""Statements that let every packet go on to the next."""


def tables_in(listing: dict[str, Any], theirs: frozenset[tuple[str, str]]) -> tuple[Table, ...]:
    """The tables, but those (family, name) that are read elsewhere."""
    objects = [one for one in listing.get("nftables", []) if isinstance(one, dict)]
    chains = [one["chain"] for one in objects if "chain" in one]
    rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in objects:
        if "rule" in one:
            rule = one["rule"]
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
    tables: dict[tuple[str, str], dict[str, Chain]] = {}
    for chain in chains:
        place = (chain["family"], chain["table"])
        if place[0] in VERSIONS and place not in theirs:
            tables.setdefault(place, {})[chain["name"]] = _chain(chain, rules.get((*place, chain["name"]), []))
    return tuple(Table(VERSIONS[family], named) for (family, _), named in tables.items())


def _chain(chain: dict[str, Any], rules: list[dict[str, Any]]) -> Chain:
    place = f"table {chain['family']} {chain['table']}, chain {chain['name']}"
    filters = chain.get("type") == "filter" and chain.get("hook") in HOOKS
    found = [read for rule in rules for read in _rules(rule, f"{place}, rule with handle {rule.get('handle')}")]
    return Chain(tuple(found), chain["hook"] if filters else "", chain.get("policy") == "drop", place)


def _rules(rule: dict[str, Any], text: str) -> list[Rule]:
    """What decides in it: one rule, or one for each element of a verdict map."""
    conditions: list[Condition] = []
    comment = f" ({rule['comment']})" if rule.get("comment") else ""
    for part in rule["expr"]:
        name, value = _named(part)
        if name == "match":
            conditions.append(_condition(value))
        elif name in _ENDS:
            return [Rule(tuple(conditions), _ENDS[name], "", text + comment)]
        elif name in {"jump", "goto"}:
            return [Rule(tuple(conditions), Verdict(name), value["target"], text + comment)]
        elif name == "vmap":
            return _mapped(value, tuple(conditions), text + comment)
        elif name not in _SILENT:
            conditions.append(UNKNOWN)
    return []


def _named(part: Any) -> tuple[str, Any]:  # noqa: ANN401 - whatever stands in JSON
    """The one member of an expression."""
    return next(iter(part.items())) if isinstance(part, dict) and part else ("unknown", None)


def _mapped(vmap: dict[str, Any], conditions: tuple[Condition, ...], text: str) -> list[Rule]:
    """The rules that a verdict map stands for, in order; one in a named map cannot be known, and may accept."""
    data = vmap["data"]
    if not isinstance(data, dict) or "set" not in data:
        return []
    found = []
    for key, verdict in data["set"]:
        condition = _condition({"op": "==", "left": vmap["key"], "right": key})
        name, value = next(iter(verdict.items()))
        if name in _ENDS:
            found.append(Rule((*conditions, condition), _ENDS[name], "", text))
        elif name in {"jump", "goto"}:
            found.append(Rule((*conditions, condition), Verdict(name), value["target"], text))
    return found


def _condition(match: dict[str, Any]) -> Condition:
    left, operator = match.get("left"), match.get("op")
    values = _values(match.get("right"))
    if not isinstance(left, dict) or values is None or operator not in {"==", "!=", "in"}:
        return UNKNOWN
    kind, what = next(iter(left.items()))
    negated = operator == "!="
    if kind == "meta":
        key = _METAS.get(what.get("key"), "unknown")
        if key == "version":
            values = tuple(_NFPROTOS.get(value, value) for value in values)
        return Condition(key, values, negated)
    if kind == "payload":
        return _of_payload(what, values, is_negated=negated)
    if kind == "ct":
        # Of what is not tracked there is a state and nothing else: conditions on the rest fit nothing, negated or not.
        return Condition("state", values, negated) if what.get("key") == "state" else Condition("state", ())
    return UNKNOWN


def _of_payload(what: dict[str, Any], values: tuple[str, ...], *, is_negated: bool) -> Condition:
    protocol, field = what.get("protocol"), what.get("field")
    if protocol in {"ip", "ip6"} and field in {"saddr", "daddr"}:
        return Condition(str(field), values, is_negated)
    if protocol in {"ip", "ip6"} and field in {"protocol", "nexthdr"}:
        return Condition("protocol", values, is_negated)
    if protocol in {"udp", "tcp", "th"} and field in {"sport", "dport"}:
        return Condition(str(field) if protocol == "th" else f"{protocol} {field}", values, is_negated)
    if protocol in {"udp", "tcp"}:
        return Condition(f"{protocol} header")
    return Condition("protocol", (str(protocol),)) if protocol not in {"ip", "ip6", None} else UNKNOWN


def _values(right: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - whatever stands in JSON
    """What it is compared with, or None where that cannot be told."""
    if isinstance(right, str | int):
        return None if isinstance(right, str) and right.startswith("@") else (str(right),)
    if isinstance(right, list):
        parts = [_values(one) for one in right]
    elif isinstance(right, dict) and "set" in right:
        parts = [_values(one) for one in (right["set"] if isinstance(right["set"], list) else [right["set"]])]
    elif isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        return (f"{low}-{high}",)
    elif isinstance(right, dict) and "prefix" in right:
        return (f"{right['prefix']['addr']}/{right['prefix']['len']}",)
    elif isinstance(right, dict) and "elem" in right:
        return _values(right["elem"].get("val"))
    else:
        return None
    found = [value for part in parts for value in part or ()]
    return None if None in parts else tuple(found)
