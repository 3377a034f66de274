"""What kind of file it is, by what is in it.

Never guesses between kinds: a text that shows none of them is not recognised. Always holds: the first words of a line decide,
comments and blank lines count for nothing.
"""

import re
from enum import Enum

from forwarder.importing.remarks import PLUGINS


class Kind(Enum):
    """What can be imported."""

    COREFILE = "corefile"
    CONFIGMAP = "configmap"
    DNSMASQ = "dnsmasq"


PLUGIN_NAMES = frozenset((*PLUGINS, "forward", "proxy", "cache", "bind", "hosts", "prometheus"))

_OBJECT = re.compile(r"^(apiVersion|kind|data|items)[ \t]*:|^\s*\{\s*\"", re.MULTILINE)
"""How a Kubernetes object begins, in YAML or JSON."""
_ASSIGNMENT = re.compile(r"^[ \t]*[a-z][a-z0-9-]*[ \t]*=", re.IGNORECASE)
_WORD = re.compile(r"^[ \t]*[a-z][a-z0-9-]*[ \t]*$", re.IGNORECASE)
_OPENING = re.compile(r"(^|\s)\{([ \t]*(#.*)?)?$")


def kind_of(text: str) -> Kind | None:
    """The kind of this text; None when it shows none."""
    if _OBJECT.search(text) is not None:
        return Kind.CONFIGMAP
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        return None
    if any(_OPENING.search(line.rstrip()) for line in lines):
        return Kind.COREFILE
    if any(_ASSIGNMENT.match(line) for line in lines):
        return Kind.DNSMASQ
    if any(line.split()[0] in PLUGIN_NAMES for line in lines[1:]):
        return Kind.COREFILE
    return Kind.DNSMASQ if all(_WORD.match(line) for line in lines) else None
