"""A draft as YAML: short, in order, and read as what was meant."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from forwarder.config import Config, Hosts, Zone
from forwarder.importing.drafts import Draft, Note
from forwarder.importing.sources import Place
from forwarder.importing.writing import text_of
from tests.lab.importing import comments, config_of

ZONE = Zone(zone=".", upstreams=("192.0.2.53:53", "/etc/resolv.conf"))
SMALL = Config(zones=(ZONE,))
BODY = 'zones:\n  - zone: .\n    upstreams: ["192.0.2.53:53", /etc/resolv.conf]\n'


def body(config: Config) -> str:
    return text_of(Draft(config, ()), "f").partition("\n\n")[2]


def test_only_what_differs_is_written() -> None:
    assert body(SMALL) == BODY


def test_sections_come_in_the_order_of_the_settings() -> None:
    config = replace(
        SMALL,
        listen=replace(SMALL.listen, addresses=("127.0.0.1:53", "[::1]:53")),
        cluster_domain="cluster.local",
        zones=(replace(ZONE, transport="tcp", max_ttl=30.0, drop_aaaa=True),),
        hosts=Hosts(records={"a": ("192.0.2.1", '"say \\ this"')}, files=("/etc/hosts",)),
        node=replace(SMALL.node, intercept=("10.96.0.10",)),
    )
    assert body(config) == (
        'listen:\n  addresses: ["127.0.0.1:53", "[::1]:53"]\n\n'
        "cluster_domain: cluster.local\n\n"
        'zones:\n  - zone: .\n    upstreams: ["192.0.2.53:53", /etc/resolv.conf]\n'
        "    transport: tcp\n    max_ttl: 30s\n    drop_aaaa: true\n\n"
        'hosts:\n  records:\n    a: ["192.0.2.1", "\\"say \\\\ this\\""]\n  files: [/etc/hosts]\n\n'
        'node:\n  intercept: ["10.96.0.10"]\n'
    )
    assert config_of(text_of(Draft(config, ()), "f")) == config


def test_limits_that_follow_from_the_cache_are_not_repeated() -> None:
    config = replace(
        SMALL, cache=replace(SMALL.cache, max_ttl=60.0), zones=(replace(ZONE, max_ttl=60.0), replace(ZONE, zone="a"))
    )
    assert body(config).count("max_ttl") == 2
    assert "max_ttl: 1h" in body(config)


def test_comments_stand_above_their_zone_and_common_ones_once_at_the_head() -> None:
    first, second = Place(3, 3, "errors"), Place(9, 12, "errors")
    notes = (
        Note(first, "said of both", "a"),
        Note(second, "said of both", "b"),
        Note(Place(4, 4, "only"), "said of one", "b"),
        Note(Place(5, 5, "gone"), "said of a zone that is not written", "x"),
    )
    config = replace(SMALL, zones=(replace(ZONE, zone="a"), replace(ZONE, zone="b")))
    text = text_of(Draft(config, notes, {"a": Place(1, 1, "a {")}), "f")
    head, _, zones = text.partition("zones:\n")
    assert '# lines 3, 9-12: "errors": said of both' in head
    assert zones.startswith('  # line 1: "a {"\n  - zone: a\n')
    assert '  # line 4: "only": said of one\n  - zone: b\n' in zones
    assert '# line 5: "gone"' in zones


@settings(max_examples=40)
@given(st.text(), st.text())
def test_no_text_ends_a_comment(text: str, where: str) -> None:
    """Line ends of every kind, and what YAML does not take, are shown as escapes."""
    notes = (Note(Place(1, 1, text), "is other"), Note(Place(2, 2, text), f"{text} is other", "."))
    written = text_of(Draft(SMALL, notes, {".": Place(3, 3, text)}), where)
    assert config_of(written) == SMALL
    assert "is other" in comments(written)


@settings(max_examples=40)
@given(st.dictionaries(st.from_regex(r"[a-z0-9_/-]{1,12}", fullmatch=True), st.just(("192.0.2.1",)), max_size=5))
def test_names_are_read_as_names(records: dict[str, tuple[str, ...]]) -> None:
    """`no`, `1e3` and their like too."""
    config = replace(SMALL, hosts=Hosts(records={"no": ("192.0.2.1",), "1e3": ('"off"',), **records}))
    assert config_of(text_of(Draft(config, ()), "f")) == config
