"""What iptables-save or ip6tables-save printed, read as chains and rules that `blocking` can walk.

Decides and does nothing, and never fails on what it does not know: such an option is a condition that may hold. Always holds:
chains of nat are left out, for they filter nothing.
"""

import shlex

from forwarder.node.blocking import Chain, Condition, Rule, Table, Verdict

_FAMILIES = {4: "ip", 6: "ip6"}
TABLES = ("raw", "mangle", "filter")
_KEYS = {
    **dict.fromkeys(("-s", "--source"), "saddr"),
    **dict.fromkeys(("-d", "--destination"), "daddr"),
    **dict.fromkeys(("-i", "--in-interface"), "iif"),
    **dict.fromkeys(("-o", "--out-interface"), "oif"),
    **dict.fromkeys(("-p", "--protocol"), "protocol"),
    **dict.fromkeys(("--dport", "--dports", "--destination-port"), "dport"),
    **dict.fromkeys(("--sport", "--sports", "--source-port"), "sport"),
    **dict.fromkeys(("--ctstate", "--state"), "state"),
}
"""Option -> what it is a condition on."""
_VERDICTS = {
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.DROP,
    "REJECT": Verdict.DROP,
    "RETURN": Verdict.RETURN,
    "NFQUEUE": Verdict.ACCEPT,
}
_CALM = frozenset(("-m", "--match", "--comment", "-c"))
"""Options that ask nothing by themselves; each has a value."""


def tables_in(saved: str, version: int) -> tuple[Table, ...]:
    """The tables of IPv4 or IPv6."""
    found: dict[str, dict[str, tuple[str, list[Rule]]]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table not in TABLES or not line.startswith((":", "-A ")):
            continue
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            found.setdefault(table, {})[chain] = (policy, [])
        else:
            chain, rule = _rule(line, table, version)
            if rule is not None and chain in found.get(table, {}):
                found[table][chain][1].append(rule)
    return tuple(
        Table((version,), {name: _chain(table, name, *one, version) for name, one in chains.items()})
        for table, chains in found.items()
    )


def places_in(saved: str, version: int) -> frozenset[tuple[str, str]]:
    """(family, name) of the nftables tables that these are, where the program is the one that translates to nftables."""
    if "(nf_tables)" not in saved:
        return frozenset()
    return frozenset((_FAMILIES[version], line[1:].strip()) for line in saved.splitlines() if line.startswith("*"))


def _program(version: int) -> str:
    return "ip6tables" if version == 6 else "iptables"  # noqa: PLR2004 - it is 4 or 6


def _chain(table: str, name: str, policy: str, rules: list[Rule], version: int) -> Chain:
    hook = name.lower() if policy != "-" else ""
    return Chain(tuple(rules), hook, policy == "DROP", f"{_program(version)} table {table}, chain {name}")


def _rule(line: str, table: str, version: int) -> tuple[str, Rule | None]:
    """The chain it stands in, and the rule where it decides something."""
    words = shlex.split(line)[1:]
    chain, conditions = words.pop(0), []
    verdict, target, is_negated = "", "", False
    while words and not verdict:
        word = words.pop(0)
        if word == "!":
            is_negated = True
        elif word in {"-j", "-g"}:
            verdict, target = word, words.pop(0)
        elif word in _CALM:
            words.pop(0)
        elif word in _KEYS and words:
            conditions.append(Condition(_KEYS[word], _values(_KEYS[word], words.pop(0)), is_negated))
            is_negated = False
        elif word.startswith("-"):
            conditions.append(Condition("unknown"))
            is_negated = False
    # A target of an extension (LOG, MARK ...) is a jump to a chain that is not there, behind which it goes on.
    text = f"{_program(version)} -t {table} {line}"
    if target in _VERDICTS:
        return chain, Rule(tuple(conditions), _VERDICTS[target], "", text)
    if not verdict:
        return chain, None
    return chain, Rule(tuple(conditions), Verdict.GOTO if verdict == "-g" else Verdict.JUMP, target, text)


def _values(key: str, text: str) -> tuple[str, ...]:
    parts = text.split(",")
    if key in {"dport", "sport"}:
        return tuple(part.replace(":", "-") for part in parts)
    if key == "state":
        return tuple(part.lower() for part in parts)
    return tuple(parts)
