"""The rules for a host without nftables, as iptables-restore and ip6tables-restore read them (`--noflush`).

Decides and does nothing. Two chains of our own in the tables `raw` (not tracked) and `filter` (accepted, which is final here:
a host that drops by default lets these pass), and jumps to them in front of what is there. Always holds: a rule, chain or
policy of somebody else is neither in what is written nor in what is removed; each table changes in one step.
"""

import re
from dataclasses import dataclass

from forwarder.node.plan import Endpoint, Plan

TO_US, FROM_US = "FORWARDER-NODE-TO", "FORWARDER-NODE-FROM"
"""What is on its way to us, and our answers."""
MARK = "forwarder node up"
"""The comment of every rule of ours."""
TABLES = ("raw", "filter")
JUMPS = {
    "raw": (("PREROUTING", "", TO_US), ("OUTPUT", "", TO_US), ("OUTPUT", "", FROM_US)),
    "filter": (("INPUT", "", TO_US), ("INPUT", "-i lo ", FROM_US), ("OUTPUT", "-o lo ", TO_US), ("OUTPUT", "", FROM_US)),
}
"""Table -> (chain, condition, target). Answers come in over loopback alone: from elsewhere they would be forged."""
_TARGETS = {"raw": "CT --notrack", "filter": "ACCEPT"}
_COMMENT = f'-m comment --comment "{MARK}"'


@dataclass(frozen=True, slots=True)
class Found:
    """What iptables-save printed of ours, for one family."""

    jumps: dict[str, tuple[str, ...]]
    """Table -> our jumps, as printed behind `-A`."""
    chains: dict[str, frozenset[str]]
    """Table -> those of our two chains that are there."""
    rules: frozenset[str]
    """`table chain address protocol port` of each rule in them."""

    @property
    def is_any(self) -> bool:
        """Whether there is anything of ours."""
        return any(self.jumps.values()) or any(self.chains.values())


def found_in(saved: str) -> Found:
    """Read what iptables-save or ip6tables-save printed."""
    jumps: dict[str, list[str]] = {table: [] for table in TABLES}
    chains: dict[str, set[str]] = {table: set() for table in TABLES}
    rules = set()
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table not in TABLES:
            continue
        elif match := re.match(rf":({TO_US}|{FROM_US}) ", line):
            chains[table].add(match[1])
        elif match := re.match(rf"-A ({TO_US}|{FROM_US}) ", line):
            rules.add(_rule_in(table, match[1], line))
        elif re.search(rf" -j ({TO_US}|{FROM_US})$", line):
            jumps[table].append(line.removeprefix("-A "))
    frozen = {name: frozenset(found) for name, found in chains.items()}
    return Found({name: tuple(found) for name, found in jumps.items()}, frozen, frozenset(rules))


def is_complete(plan: Plan, version: int, found: Found) -> bool:
    """Whether exactly what there is to be is there."""
    wanted = {
        f"{table} {chain} {one.address} {protocol} {one.port}"
        for table in TABLES
        for chain in (TO_US, FROM_US)
        for one in plan.endpoints_of(version)
        for protocol in ("udp", "tcp")
    }
    jumps = all(
        sorted((chain, condition, target) for chain, condition, target in JUMPS[table])
        == sorted(map(_jump_in, found.jumps[table]))
        for table in TABLES
    )
    return found.rules == wanted and (jumps if wanted else not found.is_any)


def text_for(plan: Plan, version: int, found: Found) -> str:
    """What `iptables-restore --noflush` (or ip6tables-restore) is given; empty where there is nothing to be done."""
    endpoints = plan.endpoints_of(version)
    if not endpoints:
        return removal_text(found)
    lines = []
    for table in TABLES:
        lines += [f"*{table}", f":{TO_US} - [0:0]", f":{FROM_US} - [0:0]"]  # emptied, where they are there
        lines += [f"-D {jump}" for jump in found.jumps[table]]
        lines += [f"-I {chain} {condition}{_COMMENT} -j {target}" for chain, condition, target in JUMPS[table]]
        lines += [_rule(chain, one, protocol, table) for chain, one, protocol in _each(endpoints)]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def removal_text(found: Found) -> str:
    """What takes ours away and nothing else; empty where there is nothing of ours."""
    lines = []
    for table in TABLES:
        if not (found.jumps[table] or found.chains[table]):
            continue
        lines += [f"*{table}", *(f"-D {jump}" for jump in found.jumps[table])]
        chains = sorted(found.chains[table])
        lines += [*(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains), "COMMIT"]
    return "\n".join(lines) + "\n" if lines else ""


def _each(endpoints: tuple[Endpoint, ...]) -> list[tuple[str, Endpoint, str]]:
    return [(chain, one, protocol) for chain in (TO_US, FROM_US) for one in endpoints for protocol in ("udp", "tcp")]


def _rule(chain: str, one: Endpoint, protocol: str, table: str) -> str:
    host, port = ("-d", "--dport") if chain == TO_US else ("-s", "--sport")
    where = f"{host} {one.address} -p {protocol} -m {protocol} {port} {one.port}"
    return f"-A {chain} {where} {_COMMENT} -j {_TARGETS[table]}"


def _rule_in(table: str, chain: str, line: str) -> str:
    """As `is_complete` names it; a rule that does something else has a name that nobody wants."""
    pattern = rf"-A \S+ -([ds]) (\S+?)/(?:32|128) -p (udp|tcp) -m (?:udp|tcp) --[ds]port (\d+) .*-j ({_TARGETS[table]}|NOTRACK)"
    match = re.fullmatch(pattern, line)
    if match is None or (match[1] == "d") is not (chain == TO_US):
        return f"{table} {line}"
    return f"{table} {chain} {match[2]} {match[3]} {match[4]}"


def _jump_in(line: str) -> tuple[str, str, str]:
    """As in `JUMPS`."""
    chain, *_ = line.split()
    condition = re.search(r"-[io] lo ", line)
    return chain, condition[0] if condition else "", line.rsplit(" ", 1)[1]
