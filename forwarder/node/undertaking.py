"""`up`, `down` and `status`: in which order the host is read and changed.

Always holds: up and down begin with what the kernel shows, not with what an earlier run remembers, so each may be repeated, and
either mends what the other left when it was killed. Rules are gone before addresses are: a service address is the cluster's
again before it stops being ours.
"""

import contextlib
from collections.abc import Callable

from forwarder.errors import NodeError
from forwarder.node import iptables, iptables_listing, links, nft_listing, programs, ruleset
from forwarder.node.blocking import Blocked, blocked, traffic_for
from forwarder.node.changes import Step, sentence_for, steps_down, steps_up
from forwarder.node.plan import Kind, Plan
from forwarder.node.status import Rules, Status, status_for

Tell = Callable[[str], object]
"""Is told each thing that was done."""


def up(plan: Plan, tell: Tell) -> None:
    """Make the host as the plan has it. Raises NodeError."""
    rules = _rules(plan.kind)
    _refuse_others(rules)
    _do(steps_up(plan, links.seen()), tell)
    if plan.kind is Kind.IPTABLES:
        _remove_nft(rules, tell)
        for version in (4, 6):
            found = rules.iptables.get(version) or iptables.found_in("")
            if plan.endpoints_of(version) and not iptables.is_complete(plan, version, found):
                programs.restore(version, iptables.text_for(plan, version, found))
                tell(f"rules of IPv{version} written by {programs.RESTORERS[version]}")
            elif not plan.endpoints_of(version):
                _remove_iptables(version, found, tell)
        return
    if not plan.endpoints and not plan.intercepted:
        _remove_nft(rules, tell)
    elif not _is_as_planned(plan, rules.nft):
        programs.load(ruleset.text_for(plan))
        tell(f"rules written: nftables table {ruleset.FAMILY} {ruleset.TABLE}")
    for version, found in rules.iptables.items():
        _remove_iptables(version, found, tell)


def down(tell: Tell) -> None:
    """Leave nothing of ours, whatever configuration it was made by. Raises NodeError."""
    rules = _rules(None)
    if rules.nft is not None and rules.nft.is_ours:
        _remove_nft(rules, tell)
    for version, found in rules.iptables.items():
        _remove_iptables(version, found, tell)
    _do(steps_down(links.seen()), tell)


def status(plan: Plan) -> Status:
    """How the host stands to the plan. Raises NodeError."""
    return status_for(plan, links.seen(), _rules(plan.kind), _blocked(plan))


def _do(steps: tuple[Step, ...], tell: Tell) -> None:
    for step in steps:
        remark = links.do(step)
        tell(f"{sentence_for(step)}{f': {remark}' if remark else ''}")


def _rules(kind: Kind | None) -> Rules:
    """What there is of ours, also of the sort that the plan does not use."""
    table = programs.table_listed() if kind is Kind.NFT or programs.found("nft") is not None else None
    saved = _saved(must_be_readable=kind is Kind.IPTABLES)
    return Rules(ruleset.found_in(table), {version: iptables.found_in(text) for version, text in saved.items()})


def _saved(*, must_be_readable: bool) -> dict[int, str]:
    """IPv4 and IPv6, where there are such programs, and a kernel for them."""
    found = {}
    for version, program in programs.SAVERS.items():
        if programs.found(program) is not None:
            with contextlib.nullcontext() if must_be_readable else contextlib.suppress(NodeError):
                found[version] = programs.saved(version)
    return found


def _refuse_others(rules: Rules) -> None:
    if rules.nft is not None and not rules.nft.is_ours:
        name = f"{ruleset.FAMILY} {ruleset.TABLE}"
        raise NodeError(f"the nftables table {name} was made by somebody else, and is left alone: nft delete table {name}")


def _is_as_planned(plan: Plan, found: ruleset.Found | None) -> bool:
    """Then it is not written again: the daemon's renewals, and the streams it has taken over, go on."""
    return found is not None and found.version == ruleset.version_for(plan) and ruleset.rules_for(plan) <= found.rules


def _remove_nft(rules: Rules, tell: Tell) -> None:
    if rules.nft is not None:
        programs.load(ruleset.removal_text())
        tell(f"rules removed: nftables table {ruleset.FAMILY} {ruleset.TABLE}")


def _remove_iptables(version: int, found: iptables.Found, tell: Tell) -> None:
    if found.is_any:
        programs.restore(version, iptables.removal_text(found))
        tell(f"rules of IPv{version} removed by {programs.RESTORERS[version]}")


def _blocked(plan: Plan) -> tuple[Blocked, ...]:
    """By any firewall that can be read here."""
    saved = _saved(must_be_readable=plan.kind is Kind.IPTABLES)
    tables = [table for version, text in saved.items() for table in iptables_listing.tables_in(text, version)]
    if programs.found("nft") is not None:
        shared = frozenset(place for version, text in saved.items() for place in iptables_listing.places_in(text, version))
        tables += nft_listing.tables_in(programs.ruleset_listed(), shared)
    return blocked(tuple(tables), tuple(traffic_for(plan)))
