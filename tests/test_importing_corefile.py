"""Server blocks into a configuration: what each directive becomes, and that none is lost."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forwarder.errors import ConfigError
from forwarder.importing.drafts import Draft
from forwarder.importing.remarks import PLUGINS, for_plugin
from forwarder.importing.writing import text_of
from tests.lab.importing import VALUES, comments, config_of, draft, sentences, zones

UPSTREAM = "forward . 192.0.2.53\n"


def block(body: str, key: str = ".:53") -> Draft:
    return draft(f"{key} {{\n bind 127.0.0.1\n cache 30\n{body}\n}}\n")


def said(made: Draft, words: str) -> bool:
    return any(words in sentence for _, sentence in sentences(made))


def test_several_zones_of_one_block() -> None:
    config = draft("a b:1053 10.0.0.0/8 {\n bind 127.0.0.1\n cache {\n success 10 60\n}\n forward . 192.0.2.53\n}").config
    assert {zone.zone: (zone.upstreams, zone.max_ttl, zone.max_negative_ttl) for zone in config.zones} == dict.fromkeys(
        ("a", "b", "10.in-addr.arpa"), (("192.0.2.53:53",), 60.0, 1800.0)
    )
    assert config.listen.addresses == ("127.0.0.1:53", "127.0.0.1:1053")


def test_several_forwards_make_several_zones() -> None:
    made = block("forward lab.example 192.0.2.1\nforward . 192.0.2.2 {\nexcept local.example\nforce_tcp\n}")
    assert {zone.zone: (zone.upstreams, zone.transport) for zone in made.config.zones} == {
        ".": (("192.0.2.2:53",), "tcp"),
        "lab.example": (("192.0.2.1:53",), "udp"),
    }
    assert said(made, "local.example: nobody is asked there")


def test_a_block_of_its_own_is_stronger_than_a_forward() -> None:
    made = draft(". {\nbind ::1\nforward a 192.0.2.1\nforward . 192.0.2.2\n}\na {\nbind ::1\nforward . 192.0.2.3\n}")
    assert zones(made.config)["a"].upstreams == ("192.0.2.3:53",)
    assert said(made, "a has a block of its own")


def test_a_zone_has_one_block() -> None:
    made = draft(f".:53 {{\nbind ::1\n{UPSTREAM}}}\n.:5301 {{\nbind ::1\nforward . 192.0.2.1\n}}")
    assert zones(made.config)["."].upstreams == ("192.0.2.53:53",)
    ((place, sentence),) = [(note.place, note.sentence) for note in made.notes if "already" in note.sentence]
    assert (place.line, place.last) == (5, 8)
    assert sentence.startswith('"." has a block already')


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("view internal {\n expr true\n}\n" + UPSTREAM, "a block with a view was not carried over"),
        ("hosts /etc/more {\n fallthrough\n}\n", "the block forwards nothing"),
        ("forward . https://192.0.2.1\n", "none of its upstreams can be asked"),
    ],
)
def test_blocks_that_make_no_zone(body: str, words: str) -> None:
    made = draft(f"other {{\nbind ::1\n{body}}}\n. {{\nbind ::1\ncache\n{UPSTREAM}}}\n")
    assert list(zones(made.config)) == ["."]
    assert said(made, words)


@pytest.mark.parametrize("key", ["tls://a", "https://a", "*.a"])
def test_keys_that_cannot_be_served(key: str) -> None:
    made = draft(f"{key} {{\n{UPSTREAM}}}\n. {{\nbind ::1\ncache\n{UPSTREAM}}}\n")
    assert list(zones(made.config)) == ["."]
    assert said(made, "nothing of this block was carried over")


def test_without_a_cache_the_defaults_count() -> None:
    made = draft(f". {{\nbind ::1\n{UPSTREAM}}}")
    assert zones(made.config)["."].max_ttl == 3600
    assert said(made, "without `cache` nothing is kept there")


def test_settings_that_are_one_for_all_zones() -> None:
    one = "cache {\n servfail 10s\n}\nprometheus 192.0.2.1:9153\nbufsize 1400\nbind ::1\n" + UPSTREAM
    made = draft(f"a {{\n{one}}}\nb {{\n{one.replace('10s', '20s').replace('9153', '9154').replace('1400', '1232')}}}\n")
    assert made.config.cache.max_failure_ttl == 10
    assert made.config.observe.http == "192.0.2.1:9153"
    assert made.config.listen.max_udp_size == 1400
    for words in ("cache.max_failure_ttl is one", "there is one page with metrics", "listen.max_udp_size"):
        assert said(made, words)


@pytest.mark.parametrize(("written", "counts"), [("0", 1.0), ("1h", 300.0)])
def test_failures_within_bounds(written: str, counts: float) -> None:
    made = draft(f". {{\nbind ::1\ncache {{\n servfail {written}\n}}\n{UPSTREAM}}}")
    assert made.config.cache.max_failure_ttl == counts
    assert said(made, "1 s to 5 min")


def test_the_cluster_is_asked_in_place_of_its_api() -> None:
    made = block("kubernetes cluster.local in-addr.arpa {\n pods insecure\n}\n" + UPSTREAM)
    assert made.config.cluster_domain == "cluster.local"
    assert {zone.zone: (zone.upstreams, zone.transport) for zone in made.config.zones} == {
        ".": (("192.0.2.53:53",), "udp"),
        "cluster.local": (("10.96.0.11:53",), "tcp"),
        "in-addr.arpa": (("10.96.0.11:53",), "tcp"),
    }


def test_the_cluster_needs_an_address() -> None:
    with pytest.raises(ConfigError, match=r"^Corefile: line 2: .*add --pillar CLUSTER__DNS=ADDRESS"):
        draft(". {\nkubernetes cluster.local\n}", values={})


@pytest.mark.parametrize(
    ("template", "is_exact"),
    [
        ("template IN AAAA {\n rcode NOERROR\n}", True),
        ("template ANY AAAA . {\n rcode NOERROR\n}", True),
        ("template ANY AAAA {\n rcode NXDOMAIN\n}", False),
        ("template IN AAAA sub {\n rcode NOERROR\n}", False),
        ("template IN ANY {\n rcode NOERROR\n}", False),
        ("template IN AAAA {\n match .*\\.a\\.\n rcode NOERROR\n}", False),
        ("template IN AAAA *.a {\n rcode NOERROR\n}", False),
    ],
)
def test_templates(template: str, *, is_exact: bool) -> None:
    made = block(f"{template}\n{UPSTREAM}")
    assert zones(made.config)["."].drop_aaaa is is_exact
    assert said(made, for_plugin("template")) is not is_exact


@pytest.mark.parametrize("name", [*sorted(PLUGINS.keys() - {"kubernetes", "view"}), "frobnicate"])
def test_plugins_without_a_setting_are_named(name: str) -> None:
    made = block(f"{name} argument\n{UPSTREAM}")
    assert (f"{name} argument", for_plugin(name)) in sentences(made)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nobody to ask"),
        (". {\n errors\n}", "nobody to ask"),
        ("tls://. {\n forward . 192.0.2.1\n}", "nobody to ask"),
        (". {\n forward . tls://192.0.2.1\n}", "line 2: .*write tls_servername NAME there"),
        (". {\n" + "forward a 192.0.2.1\n" * 1000 + "}", "line 1: this block makes more than 1000 zones"),
    ],
)
def test_nobody_to_ask(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        draft(text)


# ------------------------------------------------------------------------------------------------- nothing is ever lost

words = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
numbers = st.integers(1, 5000)
addresses = st.ip_addresses(network="192.0.2.0/24").map(str)
own = st.ip_addresses(network="127.0.0.0/8").map(str)
cache_options = st.one_of(
    st.builds("success {} {}".format, numbers, numbers),
    st.builds("denial {} {} {}".format, numbers, numbers, numbers),
    st.builds("serve_stale {}s".format, numbers),
    st.sampled_from(["prefetch 10", "servfail 5s", "disable denial", "keepttl", "serve_stale 1h verify"]),
    words.map("zz_{}".format),
)
forward_options = st.sampled_from(["force_tcp", "prefer_udp", "max_fails 3", "expire 10s", "policy sequential"])

forwards = st.builds("forward {} {}".format, st.sampled_from([".", "a", "b.a"]), addresses)


def braced(head: str, options: list[str]) -> str:
    return f"{head} {{\n" + "".join(f"    {option}\n" for option in options) + "}" if options else head


directives = st.one_of(
    st.sampled_from(sorted(PLUGINS.keys() - {"kubernetes", "view", "import"})),
    st.builds("zz_{} {}".format, words, words),
    st.builds(braced, words.map("zz_{}".format), st.lists(words, max_size=2)),
    st.builds("bind {}".format, own),
    st.builds(braced, numbers.map("cache {}".format) | st.just("cache"), st.lists(cache_options, max_size=3)),
    st.builds(
        braced, st.builds("forward {} {}".format, st.sampled_from([".", "a", "b.a"]), addresses), st.lists(forward_options)
    ),
    st.builds(braced, st.just("hosts"), st.lists(st.builds("{} {}".format, addresses, words) | st.just("ttl 5"), max_size=2)),
)
blocks = st.builds(
    lambda key, body: f"{key} {{\n" + "".join(f"{line}\n" for one in body for line in one.split("\n")) + "}\n",
    st.sampled_from([".:53", "a", "b.a c", "dns://d:53", "tls://e", "10.0.0.0/8"]),
    st.lists(directives, max_size=6),
)
CARRIED = re.compile(
    r"bind |cache( \d+)?( \{)?$|success |denial |serve_stale|servfail|disable denial|forward |force_tcp|prefer_udp|policy "
    r"|hosts|[\d.]+ \w+$|\S+( \S+)* \{$|\}$|$"
)
"""What may become a setting; the tests above say which."""


@settings(max_examples=60)
@given(st.lists(blocks, min_size=1, max_size=3).map("".join))
def test_every_line_is_a_setting_or_in_a_comment(text: str) -> None:
    """And what is written is read as the very configuration that was meant."""
    text += "z.example {\n bind 127.0.0.1\n forward . 192.0.2.98\n}\n"
    made = draft(text, VALUES)
    written = text_of(made, "Corefile")
    assert config_of(written) == made.config
    covered = [range(note.place.line, note.place.last + 1) for note in made.notes]
    for number, line in enumerate(text.split("\n"), 1):
        assert CARRIED.match(line.strip()) or any(number in lines for lines in covered), (number, line)
    for note in made.notes:
        assert note.sentence in re.sub(r"\s+", " ", comments(written)), note


@settings(max_examples=60)
@given(st.lists(blocks, min_size=1, max_size=2).map("".join), st.integers(1, 5000))
def test_a_limit_that_is_written_is_the_limit(text: str, ttl: int) -> None:
    """Whatever stands around it."""
    made = draft(f"own.example {{\n bind 127.0.0.1\n cache {ttl}\n forward . 192.0.2.99 {{\n force_tcp\n}}\n}}\n{text}", VALUES)
    zone = zones(made.config)["own.example"]
    assert (zone.upstreams, zone.transport, zone.max_ttl, zone.max_negative_ttl) == (("192.0.2.99:53",), "tcp", ttl, ttl)
