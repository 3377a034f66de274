"""`forwarder import-corefile`, as the command line has it: reads the one file, and says what it means.

Always holds: nothing but that file is opened, no more of it is read than `MAX_FILE`; what is wrong with it is a ConfigError;
what comes back is read by config_file without a problem.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from forwarder import config_file
from forwarder.config_file.values import size_text
from forwarder.errors import ConfigError, Problem
from forwarder.importing import blocks, corefile, dnsmasq, kube_dns, pillars
from forwarder.importing.configmaps import COREFILE, KEYS, ConfigMap, config_maps_in
from forwarder.importing.drafts import Draft
from forwarder.importing.recognising import Kind, kind_of
from forwarder.importing.sources import Source, source_of
from forwarder.importing.writing import text_of

MAX_FILE = 1 << 20
"""Octets: what a ConfigMap holds at most."""
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    file: str
    """Its path, or `-`."""
    kind: Kind | None
    """None: by what is in it."""
    values: Mapping[str, str]
    """Of the `__PILLAR__` words."""
    environment: Mapping[str, str]
    """What `{$NAME}` stands for in a Corefile."""


def imported(request: Request) -> str:
    """The file in YAML of ours; raises ConfigError."""
    source = source_of(_read(request.file), "stdin" if request.file == STDIN else request.file)
    kind = request.kind or kind_of(source.text)
    if kind is None:
        sentence = "is neither a Corefile nor a ConfigMap nor a dnsmasq.conf: name another file, or say which it is with --kind"
        raise ConfigError((Problem(source.where, sentence),))
    draft = _draft(kind, source, request)
    text = text_of(draft, source.where)
    if len(text.encode()) > config_file.MAX_FILE_SIZE:
        sentence = (
            f"becomes more than a configuration may be, {size_text(config_file.MAX_FILE_SIZE)}: leave out what is not about DNS"
        )
        raise ConfigError((Problem(source.where, sentence),))
    try:
        config_file.parsed(text, source.where)
    except ConfigError as error:
        problems = (Problem(f"{problem.where} (as it would be written)", problem.what) for problem in error.problems)
        raise ConfigError(tuple(problems)) from None
    return text


def _read(file: str) -> str:
    where = "stdin" if file == STDIN else file
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(MAX_FILE + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no name a file can have"
        raise ConfigError((Problem(where, f"cannot be read: {why}"),)) from None
    if len(data) > MAX_FILE:
        raise ConfigError((Problem(where, f"is larger than {size_text(MAX_FILE)}: no such file is"),))
    line = data.count(b"\n", 0, data.find(b"\0")) + 1
    if b"\0" in data:
        raise ConfigError((Problem(f"{where}: line {line}", "holds a NUL: this is no text"),))
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError((Problem(f"{where}: line {line}", "is not UTF-8: save the file in that encoding"),)) from None


def _draft(kind: Kind, source: Source, request: Request) -> Draft:
    if kind is Kind.DNSMASQ:
        return dnsmasq.draft_of(source)
    if kind is Kind.CONFIGMAP:
        return _from_config_maps(source, request)
    parsed = blocks.parsed(pillars.replaced(source, request.values), request.environment)
    return corefile.draft_of(parsed, source.where, request.values)


def _from_config_maps(source: Source, request: Request) -> Draft:
    """A Corefile, kube-dns's ConfigMap, or both together, as node-cache reads them."""
    found = config_maps_in(source)
    with_corefile = [one for one in found if COREFILE in one.data]
    others = [one for one in found if COREFILE not in one.data]
    if not found or len(with_corefile) > 1 or len(others) > 1:
        names = ", ".join(one.name or "one without a name" for one in found) or f"none with {', '.join(KEYS)}"
        sentence = f"one ConfigMap with a Corefile, one of kube-dns, or both are read at one time, and here are: {names}"
        raise ConfigError((Problem(source.where, sentence),))
    resolving = kube_dns.kube_dns_of(others[0] if others else ConfigMap(), source)
    if not with_corefile:
        return kube_dns.draft_of(resolving, source, request.values)
    return _from_corefile_and(resolving, with_corefile[0], source, request)


def _from_corefile_and(resolving: kube_dns.KubeDns, one: ConfigMap, source: Source, request: Request) -> Draft:
    """A ConfigMap's Corefile with what kube-dns's ConfigMap adds to it."""
    values = dict(request.values)
    text = one.data[COREFILE]
    inner = source_of(text.value, source.where, text.line - 1)
    if not text.is_literal:
        inner = replace(inner, where=f"{source.where}: data.Corefile", offset=0)
    if resolving.upstreams and "UPSTREAM__SERVERS" not in values:
        values["UPSTREAM__SERVERS"] = " ".join(resolving.upstreams)
        inner = replace(inner, text=kube_dns.over_udp(inner.text))
    parsed = blocks.parsed(pillars.replaced(inner, values), request.environment)
    hosts = next((bind.args for block in parsed.blocks for bind in block.named("bind")), ())
    whole = replace(parsed, blocks=(*parsed.blocks, *kube_dns.stub_blocks(resolving, hosts=hosts)))
    return corefile.draft_of(whole, inner.where, values)
