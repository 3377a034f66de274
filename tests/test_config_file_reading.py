"""Nodes into settings: every problem is found, none hides another, none is invented."""

import pytest

from forwarder.config import Config, Endpoint
from forwarder.config_file.nodes import Node
from forwarder.config_file.reading import MAX_PROBLEMS, WRONG, Reading
from forwarder.errors import ConfigError

ZONES: Node = [{"zone": ".", "upstreams": ["192.0.2.53"]}]


def problems_of(root: Node) -> dict[str, str]:
    """Path -> sentence; reading goes through to the end whatever is wrong."""
    reading = Reading("f.yaml")
    config = reading.value(Config, root, "")
    error = reading.failed()
    if config is not WRONG:
        with pytest.raises(ConfigError) as caught:
            reading.checked(config)
        error = caught.value
    return {problem.where.removeprefix("f.yaml").removeprefix(": "): problem.what for problem in error.problems}


def read(root: Node) -> Config:
    reading = Reading("f.yaml")
    return reading.checked(reading.value(Config, root, ""))


def test_smallest() -> None:
    config = read({"zones": ZONES})
    assert config.zones[0].upstreams == ("192.0.2.53:53",)
    assert config.listen.addresses == ("127.0.0.1:5300",)


@pytest.mark.parametrize("written", ["off", "Off", "false", "False"])
def test_off_however_it_is_written(written: str) -> None:
    zone: Node = {"zone": ".", "upstreams": ["192.0.2.53"], "case_randomisation": written}
    config = read({"zones": [zone], "observe": {"query_log": written, "top_names": written}})
    assert (config.zones[0].case_randomisation, config.observe.query_log, config.observe.top_names) == ("off", "off", False)


@pytest.mark.parametrize("written", ["on", "true", "yes", "True"])
def test_true_however_it_is_written(written: str) -> None:
    assert read({"zones": ZONES, "cache": {"prefetch": written}}).cache.prefetch is True


@pytest.mark.parametrize("written", ["", "none", "null", "~"])
def test_nothing_however_it_is_written(written: str) -> None:
    assert read({"zones": ZONES, "cluster_domain": written}).cluster_domain is None


def test_a_section_or_list_with_all_its_lines_commented_out() -> None:
    assert read({"zones": ZONES, "cache": "", "hosts": {"records": "", "files": ""}}) == read({"zones": ZONES})


def test_words_beside_another_type() -> None:
    config = read({"zones": ZONES, "listen": {"allow": "auto"}, "observe": {"control": "/run/x.sock"}})
    assert (config.listen.allow, config.observe.control) == ("auto", "/run/x.sock")
    assert read({"zones": ZONES, "listen": {"allow": ["private", "192.0.2.0/24"]}}).listen.allow == ("private", "192.0.2.0/24")


@pytest.mark.parametrize(
    ("root", "path", "what"),
    [
        ([], "", "needs a mapping"),
        ("zones", "", "the keys are listen, cluster_domain"),
        ({"cache": {}}, "zones", "upstreams: [/etc/resolv.conf]"),
        ({"zones": []}, "zones", "no upstream"),
        ({"zones": ""}, "zones", "no upstream"),
        ({"zones": "."}, "zones", "needs a list"),
        ({"zones": {"zone": "."}}, "zones", "needs a list, and this is a mapping"),
        ({"zones": ["."]}, "zones[0]", "needs a mapping"),
        ({"zones": [{"zone": "."}]}, "zones[0].upstreams", "no upstream"),
        ({"zones": [{"zone": ".", "upstreams": []}]}, "zones[0].upstreams", "no upstream"),
        ({"zones": [{"upstreams": ["192.0.2.53"]}]}, "zones[0].zone", "is missing"),
        ({"zones": [{"zone": ".", "upstreams": "192.0.2.53"}]}, "zones[0].upstreams", "write [192.0.2.53]"),
        ({"zones": ZONES, "zone": []}, "zone", "did you mean zones?"),
        ({"zones": ZONES, "cache": {"max-TTL": "1s"}}, 'cache["max-TTL"]', "did you mean max_ttl?"),
        ({"zones": ZONES, "search": {"xyzzy": "1s"}}, "search.xyzzy", "here are domains and nxdomain_cut"),
        ({"zones": ZONES, "cache": {"max_ttl": "1 fortnight"}}, "cache.max_ttl", "the units are ms, s, m, h"),
        ({"zones": ZONES, "cache": {"max_ttl": ""}}, "cache.max_ttl", "has no value"),
        ({"zones": ZONES, "cache": {"max_ttl": ["1s"]}}, "cache.max_ttl", "holds a list"),
        ({"zones": ZONES, "cache": {"prefetch": "maybe"}}, "cache.prefetch", "write true, false"),
        ({"zones": ZONES, "cache": {"prefetch": {}}}, "cache.prefetch", "a mapping is none of its values"),
        ({"zones": ZONES, "cache": "big"}, "cache", "needs a mapping"),
        ({"zones": ZONES, "observe": {"query_log": "some"}}, "observe.query_log", "write off, errors, slow or all"),
        ({"zones": ZONES, "listen": {"workers": "many"}}, "listen.workers", "or write auto"),
        ({"zones": ZONES, "listen": {"allow": []}}, "listen.allow", "has 0 entries: write 1 to 256; or write auto"),
        ({"zones": ZONES, "hosts": {"records": []}}, "hosts.records", "needs a mapping, and this is a list"),
        ({"zones": ZONES, "hosts": {"records": {"a..b": ["::1"]}}}, 'hosts.records["a..b"]', "empty"),
        ({"zones": ZONES, "hosts": {"records": {"a": ["x"]}}}, "hosts.records.a[0]", "neither an IP address"),
        ({"zones": ZONES, "hosts": {"records": {"a": ["::1"], "A.": ["::2"]}}}, 'hosts.records["A."]', "another spelling"),
        ({"zones": ZONES, "hosts": {"files": ["etc/hosts"]}}, "hosts.files[0]", "begins with /"),
    ],
)
def test_one_problem(root: Node, path: str, what: str) -> None:
    problems = problems_of(root)
    assert list(problems) == [path]
    assert what in problems[path]


def test_all_problems_at_once_and_at_the_right_place() -> None:
    assert list(
        problems_of(
            {
                "zones": [
                    {"zone": "a b", "upstreams": ["192.0.2.53", "x"]},
                    "b",
                    {"upstreams": ["127.0.0.1:5300"]},
                    {"zone": "c", "upstreams": ["y", "192.0.2.53", "192.0.2.53:53"]},
                ],
                "cache": {"memory": "32MB", "max_tll": "1s", "failure_ttl": "2m"},
            }
        )
    ) == [
        "zones[0].zone",
        "zones[0].upstreams[1]",
        "zones[1]",
        "zones[2].zone",
        "zones[3].upstreams[0]",
        "cache.max_tll",
        "cache.memory",
        "zones[2].upstreams[0]",
        "zones[3].upstreams[2]",
        "cache.max_failure_ttl",
    ]


def test_nobody_reads_a_thousand_problems() -> None:
    root: Node = {"zones": [{"zone": f"z{number}", "upstreams": ["x"]} for number in range(1000)]}
    reading = Reading("f.yaml")
    reading.value(Config, root, "")
    problems = reading.failed().problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].what.startswith("900 more problems")


def test_what_was_written_is_known() -> None:
    reading = Reading("f.yaml")
    reading.value(Config, {"zones": ZONES, "cache": {"max_ttl": "1s"}}, "")
    assert {"cache.max_ttl", "zones", "zones[0].upstreams"} <= reading.said
    assert "cache.memory" not in reading.said


def test_text() -> None:
    reading = Reading("command line")
    assert reading.text(Endpoint(53), "::1", "--listen") == "[::1]:53"
    assert reading.text(Endpoint(53), "", "--listen") == ""
    assert str(reading.failed()) == "command line: --listen: has no value: write one, or take the line out"
