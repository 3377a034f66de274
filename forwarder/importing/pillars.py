"""The words that whoever installs a manifest replaces: `__PILLAR__CLUSTER__DNS__` and its like.

Always holds: what is read afterwards has none of them left outside of comments; those without a value are named, all at once,
each with the option that gives it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from forwarder.config_file.nodes import shown
from forwarder.errors import ConfigError, Problem
from forwarder.importing.sources import Source

MEANINGS = {
    "DNS__DOMAIN": ("cluster.local", "the cluster's domain"),
    "LOCAL__DNS": ("169.254.20.10", "where pods reach the node's cache"),
    "DNS__SERVER": ("10.96.0.10", "the service address of the cluster's DNS"),
    "CLUSTER__DNS": ("10.96.0.11", "whom to ask for the cluster's names: a service address that pods are not given"),
    "UPSTREAM__SERVERS": ("/etc/resolv.conf", "whom to ask for all other names; node-cache takes /etc/resolv.conf"),
}
"""Name -> an example, and what it stands for."""

_PILLAR = re.compile(r"__(?:PILLAR__)?([A-Z]+(?:_{1,2}[A-Z]+)*)__")
_NAME = re.compile(r"[A-Z]+(?:_{1,2}[A-Z]+)*")
_VALUE = re.compile(r"[A-Za-z0-9_.:/%\[\]@, -]*")


def values_of(options: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE of the command line; commas between addresses become blanks. Raises ConfigError."""
    values = {}
    for option in options:
        name, equals, value = option.partition("=")
        name = name.removeprefix("__PILLAR__").removesuffix("__")
        if not equals or _NAME.fullmatch(name) is None:
            known = ", ".join(MEANINGS)
            sentence = f"{shown(option)} is no NAME=VALUE: write such as CLUSTER__DNS=10.96.0.11; names are {known}"
            raise ConfigError((Problem("--pillar", sentence),))
        if _VALUE.fullmatch(value) is None:
            sentence = f"{shown(value)} is no address, name or path: write such as {name}=10.96.0.11"
            raise ConfigError((Problem("--pillar", sentence),))
        values[name] = " ".join(value.replace(",", " ").split())
    return values


def replaced(source: Source, values: Mapping[str, str]) -> Source:
    """The source with values in place of the words; raises ConfigError that names each option that is missing."""
    missing: dict[str, Problem] = {}
    for number, line in enumerate(source.text.split("\n"), 1):
        for found in _PILLAR.finditer(line.partition("#")[0]):
            if found[1] not in values and found[1] not in missing:
                example, meaning = MEANINGS.get(found[1], ("VALUE", "what stands in its place in your cluster"))
                sentence = f"{shown(found[0])} has no value: add --pillar {found[1]}={example} ({meaning})"
                missing[found[1]] = source.problem(number, sentence)
    if missing:
        raise ConfigError(tuple(missing.values()))
    return replace(source, text=_PILLAR.sub(lambda found: values.get(found[1], found[0]), source.text))
