"""Properties of the configuration file: what is printed loads again, and any text is a Config or a list of problems."""

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from forwarder import config as settings
from forwarder.config import Config, Zone, from_json, to_json
from forwarder.config_file import effective_text, parsed
from forwarder.config_file.contradictions import contradictions
from forwarder.config_file.reading import NOTHING
from forwarder.errors import ConfigError, Problem

COMPLETE = effective_text(Config(zones=(Zone(zone="cluster.local", upstreams=("10.96.0.10:53", "/etc/resolv.conf")),)))
SMALLEST = "zones:\n  - zone: .\n    upstreams: [/etc/resolv.conf]\n"

Kind = Any
"""A type of config.py, a shape in it, or a value."""

names = st.from_regex(r"[a-z0-9_-]{1,20}(\.[a-z0-9_-]{1,20}){0,4}", fullmatch=True)
printable = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=30)
paths = printable.map(lambda text: "/" + text)
singles = (
    st.ip_addresses(network="10.0.0.0/8")
    | st.ip_addresses(network="2001:db8::/32")
    | st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0", "2001:db8:1:2:3:4:5:6"]).map(ip_address)
)
endpoints = st.tuples(singles, st.integers(1, 65535)).map(
    lambda pair: f"[{pair[0]}]:{pair[1]}" if pair[0].version == 6 else f"{pair[0]}:{pair[1]}"
)
server_names = names.filter(lambda name: re.fullmatch(r"[0-9.]+", name) is None)
WORDS = {
    settings.Word.UPSTREAM: endpoints | st.builds("{}@{}".format, endpoints, server_names) | paths,
    settings.Word.ADDRESS: singles.map(str),
    settings.Word.NETWORK: st.sampled_from([*settings.NETWORKS, "192.0.2.0/24", "2001:db8::/32"]),
    settings.Word.NAME: names,
    settings.Word.ZONE: names | st.just("."),
    settings.Word.PATH: paths,
    settings.Word.USER: st.from_regex(r"[a-z_][a-z0-9_-]{0,31}", fullmatch=True).filter(lambda text: text not in NOTHING),
    settings.Word.INTERFACE: st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True),
    settings.Word.PINNED: singles.map(lambda address: str(address).partition("%")[0]) | printable.map(lambda text: f'"{text}"'),
}


def values_of(kind: Kind) -> st.SearchStrategy[Kind]:
    """Values of a type of config.py, within its bounds."""
    origin: object = get_origin(kind)
    arguments = get_args(kind)
    if origin is Annotated:
        return values_of_shape(*arguments)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is dict:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    if kind is bool:
        return st.booleans()
    if kind is type(None):
        return st.none()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.fixed_dictionaries({field.name: values_of(field.type) for field in fields(kind)}).map(
            lambda made: kind(**made)
        )
    return st.one_of(*map(values_of, arguments))


def values_of_shape(inner: Kind, shape: Kind) -> st.SearchStrategy[Kind]:
    match shape:
        case settings.Duration():
            return st.integers(round(shape.least * 1000), round(shape.most * 1000)).map(lambda count: count / 1000)
        case settings.Size():
            return st.integers(shape.least // 1024, shape.most // 1024).map(lambda count: count * 1024)
        case settings.Count():
            return st.integers(shape.least, shape.most)
        case settings.Endpoint():
            return endpoints
        case settings.Entries():
            entry = values_of(get_args(inner)[0])
            return st.lists(entry, min_size=shape.least, max_size=min(shape.most, 3)).map(tuple)
        case _:
            return WORDS[shape]


def once(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def tamed_zone(zone: Zone, listen: settings.Listen) -> Zone:
    """A zone without what is refused, without our own addresses, and with names and certificates over TLS alone."""
    upstreams = once(
        tuple(one for one in zone.upstreams if one[:1] == "/" or not settings.is_own_address(listen.addresses, one))
    )
    is_tls = zone.transport == "tls"
    upstreams = once(tuple(one for one in upstreams if one[:1] == "/" or ("@" in one) is is_tls))
    if is_tls:
        upstreams = tuple(one for one in upstreams if one[:1] != "/") or ("192.0.2.9:853@dns.example",)
    return replace(
        zone,
        upstreams=upstreams or ("/etc/resolv.conf",),
        ca_file=zone.ca_file if is_tls else None,
        on_failure="servfail" if zone.zone == "." else zone.on_failure,
    )


def tamed(config: Config) -> Config:
    """A generated configuration without what no setting alone forbids."""
    listen = replace(config.listen, addresses=once(config.listen.addresses), workers=1)
    answering, cache, observe = config.answering, config.cache, config.observe
    return replace(
        config,
        listen=listen,
        zones=tuple({zone.zone: tamed_zone(zone, listen) for zone in config.zones}.values()),
        answering=replace(answering, client_response_timer=min(answering.client_response_timer, answering.deadline - 0.001)),
        cache=replace(cache, failure_ttl=min(cache.failure_ttl, cache.max_failure_ttl), snapshot=None),
        observe=replace(
            observe,
            http="192.0.2.99:9" if observe.http in listen.addresses else observe.http,
            query_log="off",
            query_log_file=None,
            coredns_names=False,
        ),
        node=replace(config.node, intercept=()),
    )


def in_whole_milliseconds(config: Config) -> Config:
    timer = round(config.answering.client_response_timer, 3)
    return replace(config, answering=replace(config.answering, client_response_timer=timer))


configs = values_of(Config).map(tamed).map(in_whole_milliseconds)


@given(configs)
def test_effective_text_loads_as_the_same(config: Config) -> None:
    assert list(contradictions(config)) == []
    assert parsed(effective_text(config), "c") == config


@given(configs)
def test_a_worker_gets_the_same(config: Config) -> None:
    assert from_json(to_json(config)) == config


pieces = st.sampled_from(
    [
        *COMPLETE.splitlines(keepends=True),
        *SMALLEST.splitlines(keepends=True),
        *["- ", "  ", "\n", ": ", "[", "]", "{", "}", "'", '"', "*a", "&a ", "!!int ", "|\n", "? ", "#", "---\n", "\t"],
        *["off", "5 s", "zones", "hosts: {records: {a: [b]}}\n"],
    ]
)
values = st.sampled_from(["off", "5s", "32MiB", "", "none", "::1", ".", "*", "x", "1"]) | st.text(max_size=8)
sections = (Config, Zone, settings.Hosts, settings.CacheSettings)
keys = st.sampled_from([field.name for section in sections for field in fields(section)])
trees = st.recursive(values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | values, inner, max_size=5))


def ensure_config_or_problems(text: str) -> None:
    """Any other outcome is a defect, and so is a problem that takes more than one line."""
    outcome: Config | tuple[Problem, ...]
    try:
        outcome = parsed(text, "config.yaml")
    except ConfigError as error:
        outcome = error.problems
    if isinstance(outcome, Config):
        assert parsed(effective_text(outcome), "config.yaml") == outcome
    else:
        assert outcome
        assert all(str(problem).startswith("config.yaml: ") and str(problem).isprintable() for problem in outcome)


@given(st.lists(pieces, max_size=12).map("".join) | trees.map(lambda tree: msgspec.json.encode(tree).decode()) | st.text())
def test_any_text_is_a_config_or_problems(text: str) -> None:
    ensure_config_or_problems(text)


@given(st.sampled_from(sorted(set(COMPLETE.split()))), st.text(max_size=8) | values)
def test_any_word_changed_is_a_config_or_problems(word: str, other: str) -> None:
    ensure_config_or_problems(COMPLETE.replace(word, other))
