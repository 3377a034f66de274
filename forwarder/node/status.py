"""How a host stands to a plan: each piece present, missing or foreign.

Decides and does nothing. Always holds: it is complete when clients can reach each address, nothing of theirs is tracked that
need not be, and nobody drops it; whether the daemon lives is told, and no part of that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from forwarder.node import iptables, ruleset
from forwarder.node.blocking import Blocked
from forwarder.node.changes import Seen, is_carried, others_with
from forwarder.node.plan import Kind, Plan

IPVS = "kube-ipvs0"
"""Where kube-proxy in IPVS mode keeps every service address; IPVS takes their packets before any program sees them."""


class State(StrEnum):
    """Of a piece."""

    PRESENT = "present"
    MISSING = "missing"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing there is to be."""

    name: str
    state: State
    remark: str
    """More about it, or empty."""
    is_well: bool
    """Whether it does what it is there for: a foreign address does, foreign rules do not."""


@dataclass(frozen=True, slots=True)
class Intercepted:
    """A service address."""

    address: str
    seconds: float | None
    """How long it stays ours if nobody renews it; None: the cluster's own servers answer it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What was found of the rules."""

    nft: ruleset.Found | None
    """Our table; None where there is none."""
    iptables: Mapping[int, iptables.Found]
    """IPv4 and IPv6, where such programs are."""


@dataclass(frozen=True, slots=True)
class Status:
    """All of it."""

    pieces: tuple[Piece, ...]
    intercepted: tuple[Intercepted, ...]
    blocked: tuple[Blocked, ...]

    @property
    def is_complete(self) -> bool:
        """Whether it does what it is there for."""
        return all(piece.is_well for piece in self.pieces) and not self.blocked


def status_for(plan: Plan, seen: Seen, rules: Rules, blocked: tuple[Blocked, ...]) -> Status:
    """Compare."""
    if not plan.addresses and not plan.endpoints:
        return Status((), (), ())
    pieces = [_interface(plan, seen)] if plan.addresses else []
    pieces += [_address(address, plan, seen) for address in plan.addresses]
    pieces += _rules(plan, rules)
    seconds = rules.nft.seconds if rules.nft is not None and rules.nft.is_ours else {}
    intercepted = tuple(Intercepted(address, seconds.get(address)) for address in plan.intercepted)
    return Status(tuple(pieces), intercepted, blocked)


def _interface(plan: Plan, seen: Seen) -> Piece:
    name = f"interface {plan.interface}"
    link = seen.link(plan.interface)
    if link is None:
        needed = any(not others_with(address, seen) for address in plan.addresses)
        return Piece(name, State.MISSING, "", is_well=not needed)
    if not link.is_up:
        return Piece(name, State.MISSING, "it is there, and down", is_well=False)
    if link.is_ours:
        return Piece(name, State.PRESENT, link.kind, is_well=True)
    return Piece(
        name, State.FOREIGN, "it was there before, and stays" if plan.is_named else "not made by us", is_well=plan.is_named
    )


def _address(address: str, plan: Plan, seen: Seen) -> Piece:
    name = f"address {address}"
    if is_carried(address, plan, seen):
        return Piece(name, State.PRESENT, f"on {plan.interface}", is_well=True)
    others = others_with(address, seen)
    if IPVS in others and address in plan.intercepted:
        remark = f"on {IPVS}: IPVS answers before we could, so intercept has no effect; let pods ask a listen address"
        return Piece(name, State.FOREIGN, remark, is_well=False)
    if others:
        return Piece(name, State.FOREIGN, f"on {', '.join(others)}, left alone", is_well=True)
    return Piece(name, State.MISSING, "", is_well=False)


def _rules(plan: Plan, rules: Rules) -> list[Piece]:
    if plan.kind is Kind.IPTABLES:
        return [_iptables(plan, version, rules) for version in (4, 6) if plan.endpoints_of(version)]
    name = f"rules, nftables table {ruleset.FAMILY} {ruleset.TABLE}"
    found = rules.nft
    if found is None:
        return [Piece(name, State.MISSING, "", is_well=False)]
    if not found.is_ours:
        return [Piece(name, State.FOREIGN, "somebody else's table of that name", is_well=False)]
    missing = sorted(ruleset.rules_for(plan) - found.rules)
    if found.version != ruleset.version_for(plan):
        return [Piece(name, State.MISSING, "those there are of another configuration: forwarder node up", is_well=False)]
    if missing:
        lost = "; ".join(f"{comment} (chain {chain})" for chain, comment in missing)
        return [Piece(name, State.MISSING, f"partly: {lost}", is_well=False)]
    return [Piece(name, State.PRESENT, "", is_well=True)]


def _iptables(plan: Plan, version: int, rules: Rules) -> Piece:
    name = f"rules, {'ip6tables' if version == 6 else 'iptables'}"  # noqa: PLR2004 - it is 4 or 6
    found = rules.iptables.get(version)
    if found is not None and iptables.is_complete(plan, version, found):
        return Piece(name, State.PRESENT, "", is_well=True)
    remark = "partly, or of another configuration: forwarder node up" if found is not None and found.is_any else ""
    return Piece(name, State.MISSING, remark, is_well=False)
