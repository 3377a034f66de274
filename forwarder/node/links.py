"""Links and addresses of this host, over netlink: read as they are, changed a step at a time.

The only module that imports pyroute2. Always holds: each step is one message, which the kernel obeys whole or not at all; what
somebody else did meanwhile in the same sense (the address is there already, the link is gone) is no error.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from pyroute2 import IPRoute
from pyroute2.netlink import nlmsg
from pyroute2.netlink.exceptions import NetlinkError

from forwarder.errors import NodeError
from forwarder.node.changes import (
    MARK_OF_ADDRESSES,
    MARK_OF_LINKS,
    AddAddress,
    Address,
    Link,
    MakeLink,
    RaiseLink,
    RemoveAddress,
    RemoveLink,
    Seen,
    Step,
)
from forwarder.node.plan import version_of

KINDS = ("dummy", "bridge")
"""What is made, the second where the kernel has no first: a bridge without ports is as good, and seldom missing."""
_IFF_UP = 1
_IFA_F_NODAD = 2
"""if_addr.h: without it an IPv6 address is of no use for a second, and for ever on an interface without carrier."""
_SCOPE_HOST = 254
_FOREVER = 0xFFFFFFFF
_ATTRIBUTES = {
    4: {"prefixlen": 32, "scope": _SCOPE_HOST},
    6: {"prefixlen": 128, "flags": _IFA_F_NODAD, "preferred_lft": 0, "valid_lft": _FOREVER},
}
"""Of an address. It is nobody's choice as the source of what this host sends elsewhere: IPv4 by its scope, IPv6 because it is
deprecated (RFC 6724 rule 3). Clients and servers that name it are served all the same."""
_FORBIDDEN = "not permitted: it takes root, or CAP_NET_ADMIN"


def seen() -> Seen:
    """The host as it is. Raises NodeError."""
    with _netlink("the interfaces cannot be read") as route:
        links = {message["index"]: message for message in route.get_links()}
        names = {index: str(message.get("ifname")) for index, message in links.items()}
        found = [_address(message, names) for message in route.get_addr()]
        return Seen(tuple(map(_link, links.values())), tuple(one for one in found if one is not None))


def do(step: Step) -> str:
    """Do it; what is worth adding to the sentence about it. Raises NodeError."""
    if isinstance(step, MakeLink):
        return _make(step.name)
    with _netlink(_subject(step)) as route, _settled_already(step):
        name = step.interface if isinstance(step, AddAddress | RemoveAddress) else step.name
        index = _index(route, name)
        if isinstance(step, RaiseLink):
            route.link("set", index=index, state="up")
        elif isinstance(step, RemoveLink):
            route.link("del", index=index)
        elif isinstance(step, RemoveAddress):
            route.addr("del", index=index, address=step.text, prefixlen=step.prefix)
        else:
            attributes = _ATTRIBUTES[version_of(step.text)]
            route.addr("add", index=index, address=step.text, rt_priority=MARK_OF_ADDRESSES, **attributes)
    return ""


def _make(name: str) -> str:
    """An interface of the first kind that this kernel has."""
    with _netlink(f"interface {name} cannot be made") as route:
        for kind in KINDS:
            try:
                route.link("add", ifname=name, kind=kind, address=MARK_OF_LINKS)
            except NetlinkError as error:
                if error.code == errno.EEXIST:
                    return ""
                if error.code != errno.EOPNOTSUPP:
                    raise
            else:
                return "" if kind == KINDS[0] else f"a {kind} without ports, for this kernel has no {KINDS[0]} interfaces"
    raise NodeError(
        f"interface {name} cannot be made: this kernel has neither {' nor '.join(KINDS)}; modprobe {KINDS[0]}, "
        "or name an existing one in node.interface"
    )


def _index(route: IPRoute, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise NetlinkError(errno.ENODEV, os.strerror(errno.ENODEV))
    return int(found[0])


def _link(message: nlmsg) -> Link:
    return Link(
        name=str(message.get("ifname")),
        kind=message.get(("linkinfo", "kind")) or "",
        mac=message.get("address") or "",
        is_up=bool(message["flags"] & _IFF_UP),
    )


def _address(message: nlmsg, names: dict[int, str]) -> Address | None:
    """None for one that is gone with its link, or another family's."""
    text = message.get("local") or message.get("address")
    if text is None or message["index"] not in names:
        return None
    return Address(str(text), message["prefixlen"], names[message["index"]], message.get("rt_priority") or 0)


def _subject(step: Step) -> str:
    """What cannot be done when it cannot."""
    if isinstance(step, AddAddress | RemoveAddress):
        verb = "added to" if isinstance(step, AddAddress) else "removed from"
        return f"address {step.text} cannot be {verb} {step.interface}"
    verbs = {MakeLink: "made", RaiseLink: "set up", RemoveLink: "removed"}
    return f"interface {step.name} cannot be {verbs[type(step)]}"


@contextlib.contextmanager
def _settled_already(step: Step) -> Iterator[None]:
    """Somebody else was quicker: it is as it should be."""
    gone = {errno.ENODEV, errno.EADDRNOTAVAIL}
    fine = {AddAddress: {errno.EEXIST}, RemoveAddress: gone, RemoveLink: gone}.get(type(step), set())
    try:
        yield
    except NetlinkError as error:
        if error.code not in fine:
            raise


@contextlib.contextmanager
def _netlink(subject: str) -> Iterator[IPRoute]:
    """A conversation with the kernel, whose refusals become one sentence each."""
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise NodeError(f"{subject}: {_why(error.code, subject)}") from error
    except OSError as error:
        raise NodeError(f"{subject}: netlink refuses ({error.strerror}); a sandbox must allow AF_NETLINK") from error


def _why(code: int, subject: str) -> str:
    if code == errno.EPERM:
        return _FORBIDDEN
    is_ipv6 = subject.startswith("address ") and ":" in subject
    if code == errno.EACCES and is_ipv6:
        return "IPv6 is off there: sysctl net.ipv6.conf.all.disable_ipv6=0, or leave the address out of the configuration"
    if code == errno.EOPNOTSUPP and is_ipv6:
        return "this kernel has no IPv6: leave the address out of the configuration"
    return os.strerror(code)
