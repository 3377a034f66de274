"""What is to be done to the host's links and addresses: a plan against what the kernel shows.

Decides and does nothing. Always holds: what is changed or removed carries a mark of ours, which the kernel keeps from the
moment the thing is made, so that a crash at any moment leaves nothing of ours unmarked (decision 0020): an interface its link
layer address, an IP address its metric. What is added comes before what is removed: no address is missing in between.
"""

from dataclasses import dataclass

from forwarder.errors import NodeError
from forwarder.node.plan import Plan

MARK_OF_LINKS = "02:66:77:64:30:01"
"""The link layer address of an interface that we made: locally administered, `fwd0`. It is seen by nobody: the interface has no
neighbours."""
MARK_OF_ADDRESSES = 0x66776430
"""The metric (IFA_RT_PRIORITY, Linux 4.18) of an address that we added, `fwd0`. Of a /32 or /128 it decides nothing."""


@dataclass(frozen=True, slots=True)
class Link:
    """An interface, as the kernel shows it."""

    name: str
    kind: str
    """dummy, bridge ...; empty for hardware."""
    mac: str
    """Empty where it has none."""
    is_up: bool

    @property
    def is_ours(self) -> bool:
        """Whether we made it."""
        return self.mac == MARK_OF_LINKS


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address, as the kernel shows it."""

    text: str
    prefix: int
    interface: str
    metric: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether we added it."""
        return self.metric == MARK_OF_ADDRESSES


@dataclass(frozen=True, slots=True)
class Seen:
    """All of the host's."""

    links: tuple[Link, ...]
    addresses: tuple[Address, ...]

    def link(self, name: str) -> Link | None:
        """The one of this name."""
        return next((link for link in self.links if link.name == name), None)

    def holders(self, address: str) -> tuple[Address, ...]:
        """Where this address is."""
        return tuple(one for one in self.addresses if one.text == address)


@dataclass(frozen=True, slots=True)
class MakeLink:
    """An interface without neighbours; it is down."""

    name: str


@dataclass(frozen=True, slots=True)
class RaiseLink:
    """Set it up."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Remove it, and what is on it."""

    name: str


@dataclass(frozen=True, slots=True)
class AddAddress:
    """A /32 or /128."""

    text: str
    interface: str


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Remove it."""

    text: str
    prefix: int
    interface: str


Step = MakeLink | RaiseLink | RemoveLink | AddAddress | RemoveAddress


def is_carried(address: str, plan: Plan, seen: Seen) -> bool:
    """Whether the interface of the plan has this address from us."""
    link = seen.link(plan.interface)
    here = (one for one in seen.holders(address) if one.interface == plan.interface)
    return link is not None and any(one.is_ours or link.is_ours for one in here)


def others_with(address: str, seen: Seen) -> tuple[str, ...]:
    """Interfaces that have this address, and not from us."""
    theirs = [one for one in seen.holders(address) if not one.is_ours]
    links = {link.name: link for link in seen.links}
    return tuple(one.interface for one in theirs if not (one.interface in links and links[one.interface].is_ours))


def steps_up(plan: Plan, seen: Seen) -> tuple[Step, ...]:
    """From what is to what there is to be. Raises NodeError where the interface's name is taken."""
    if not plan.addresses:
        return steps_down(seen)
    return (*_link_steps(plan, seen), *_additions(plan, seen), *_removals(plan, seen))


def steps_down(seen: Seen) -> tuple[Step, ...]:
    """From what is to nothing of ours."""
    return _removals(None, seen)


def _link_steps(plan: Plan, seen: Seen) -> list[Step]:
    link = seen.link(plan.interface)
    if link is None:
        return [MakeLink(plan.interface), RaiseLink(plan.interface)]
    if link.is_ours:
        return [] if link.is_up else [RaiseLink(link.name)]
    if not plan.is_named:
        kind = f" ({link.kind})" if link.kind else ""
        raise NodeError(
            f"the interface {link.name}{kind} was made by somebody else, and is left alone: "
            f"remove it (ip link del {link.name}), or name another in node.interface"
        )
    return []


def _additions(plan: Plan, seen: Seen) -> list[Step]:
    return [
        AddAddress(address, plan.interface)
        for address in plan.addresses
        if not is_carried(address, plan, seen) and not others_with(address, seen)
    ]


def _removals(plan: Plan | None, seen: Seen) -> tuple[Step, ...]:
    interface = plan.interface if plan is not None else None
    wanted = plan.addresses if plan is not None else ()
    leaving = {link.name for link in seen.links if link.is_ours and link.name != interface}
    addresses = [
        RemoveAddress(one.text, one.prefix, one.interface)
        for one in seen.addresses
        if one.is_ours and one.interface not in leaving and not (one.text in wanted and one.interface == interface)
    ]
    return (*addresses, *(RemoveLink(link.name) for link in seen.links if link.name in leaving))


def sentence_for(step: Step) -> str:
    """What was done, in words."""
    match step:
        case AddAddress():
            return f"address {step.text} added to {step.interface}"
        case RemoveAddress():
            return f"address {step.text} removed from {step.interface}"
        case MakeLink():
            return f"interface {step.name} made"
        case RaiseLink():
            return f"interface {step.name} set up"
        case RemoveLink():
            return f"interface {step.name} removed"
