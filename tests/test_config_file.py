"""The configuration file as a whole: what loads, what is said when it does not, and that what is printed loads again."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from forwarder.config import Config, Zone
from forwarder.config_file import MAX_FILE_SIZE, effective_text, from_arguments, load, parsed
from forwarder.errors import ConfigError

QUICKSTART = Path(__file__).parent.parent / "config" / "quickstart.yaml"
SMALLEST = "zones:\n  - zone: .\n    upstreams: [/etc/resolv.conf]\n"

COMPLETE = """
listen:
  addresses: ["127.0.0.1:5300", "[fd00::10]:53", 169.254.20.10]   # port 53 when left out
  workers: 1
  allow: auto
  receive_buffer: 8MiB
  max_udp_size: 1232
  max_tcp_connections: 1000
  tcp_idle_timeout: 10s
cluster_domain: cluster.local
search: {domains: [], nxdomain_cut: true}
zones:
  - zone: cluster.local
    upstreams: ["10.96.0.10"]
    transport: tcp
    max_ttl: 30s
    max_negative_ttl: 5s
    maximum_stale_timer: 30s
    policy: ordered
    trust_ad: false
    on_failure: servfail
    drop_aaaa: false
  - zone: in-addr.arpa
    upstreams: ["10.96.0.10"]
  - zone: .
    upstreams: [/etc/resolv.conf]
    transport: udp
    case_randomisation: auto
hosts:
  records: {"keydb-0.keydb": ["192.0.2.10"]}
  files: []
answering: {deadline: 1.8s, client_response_timer: 400ms, max_in_progress: 2000}
cache:
  memory: 32MiB
  max_ttl: 1h
  max_negative_ttl: 30s
  failure_ttl: 1s
  max_failure_ttl: 30s
  maximum_stale_timer: 1h
  stale_answer_ttl: 30s
  failure_recheck_timer: 5s
  prefetch: true
  snapshot: none
observe:
  http: "127.0.0.1:9253"
  control: auto
  query_log: off
  top_names: true
  coredns_names: false
user: none
node: {interface: forwarder0, intercept: [], rules: auto}
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(text, "config.yaml")
    return [str(problem) for problem in caught.value.problems]


def refused_file(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.where.startswith(str(path))
    return problem.what


def test_quickstart() -> None:
    config = load(QUICKSTART)
    assert config.listen.addresses == ("127.0.0.1:5300",)
    assert config.zones == (Zone(zone=".", upstreams=("/etc/resolv.conf",)),)
    assert config.hosts.records == {"hello.forwarder.test": ("192.0.2.1", "2001:db8::1", '"it works"')}
    assert config.observe.http == "127.0.0.1:9253"


def test_smallest_is_all_defaults() -> None:
    assert parsed(SMALLEST, "c") == Config(zones=(Zone(zone=".", upstreams=("/etc/resolv.conf",)),))


def test_complete_is_the_default_where_it_says_so() -> None:
    config = parsed(COMPLETE, "c")
    smallest = parsed(SMALLEST, "c")
    assert (config.answering, config.cache, config.observe, config.node, config.search) == (
        smallest.answering, smallest.cache, smallest.observe, smallest.node, smallest.search,
    )  # fmt: skip
    assert config.listen.addresses == ("127.0.0.1:5300", "[fd00::10]:53", "169.254.20.10:53")
    assert config.zones[0].upstreams == ("10.96.0.10:53",)


def test_limits_of_a_zone_come_from_the_cache() -> None:
    config = parsed(
        "cluster_domain: cluster.local\n"
        "cache: {max_ttl: 2h, max_negative_ttl: 7s, maximum_stale_timer: 10m}\n"
        "zones:\n"
        "- {zone: ., upstreams: [192.0.2.53], max_ttl: 1h}\n"
        "- {zone: svc.cluster.local, upstreams: [192.0.2.53]}\n"
        "- {zone: cluster.local, upstreams: [192.0.2.53], maximum_stale_timer: 1h}\n",
        "c",
    )
    limits = [(zone.max_ttl, zone.max_negative_ttl, zone.maximum_stale_timer) for zone in config.zones]
    assert limits == [(3600.0, 7.0, 600.0), (7200.0, 7.0, 30.0), (7200.0, 7.0, 3600.0)]


def test_problem_names_file_path_and_mend() -> None:
    (problem,) = problems_of("zones: [{zone: ., upstreams: [dns.example]}]")
    assert problem == (
        'config.yaml: zones[0].upstreams[0]: "dns.example" is no IP address: '
        "write one such as 192.0.2.1 or 2001:db8::1, not a name"
    )


def test_all_problems_come_together() -> None:
    problems = problems_of(
        SMALLEST + "    on_failure: nxdomain\n    on_failure: nxdomain\n"
        "cahce: {}\ncache: {memory: 3 elephants}\nlisten: {addresses: [127.0.0.1:53, 127.0.0.1]}\n"
    )
    assert [problem.split(": ")[1] for problem in problems] == [
        "zones[0].on_failure", "cahce", "cache.memory", "listen.addresses[1]", "zones[0].on_failure",
    ]  # fmt: skip


def test_own_listen_address_is_no_upstream() -> None:
    (problem,) = problems_of("zones: [{zone: ., upstreams: [127.0.0.1:5300]}]")
    assert problem.startswith("config.yaml: zones[0].upstreams[0]: 127.0.0.1:5300 is where this daemon listens")


def test_resolv_conf_need_not_exist() -> None:
    assert parsed("zones: [{zone: ., upstreams: [/nowhere/resolv.conf]}]", "c").zones[0].upstreams == ("/nowhere/resolv.conf",)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "{}", "[]", "null", "~"])
def test_empty(text: str) -> None:
    (problem,) = problems_of(text)
    assert problem == ("config.yaml: is empty: write at least whom to ask, zones: [{zone: ., upstreams: [/etc/resolv.conf]}]")


@pytest.mark.parametrize("text", ["listen: {}", "zones:", "zones: []"])
def test_no_zones(text: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith("config.yaml: zones: no upstream: write whom to ask")


def test_syntax_error() -> None:
    (problem,) = problems_of("zones:\n  - zone: .\n   upstreams: []\n")
    assert problem.startswith("config.yaml: line 3, column 4: this is not YAML: ")


def test_file_with_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())
    assert load(str(path)) == load(path) == parsed(SMALLEST, "c")


def test_missing_file(tmp_path: Path) -> None:
    assert refused_file(tmp_path / "c.yaml") == "cannot be read: No such file or directory"


def test_directory(tmp_path: Path) -> None:
    assert "is a directory" in refused_file(tmp_path)


def test_file_that_fails_while_it_is_read() -> None:
    assert refused_file(Path("/proc/self/mem")) == "cannot be read: Input/output error"


def test_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"# fine\nzones: \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: line 2: is not UTF-8"):
        load(path)


def test_large_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"#" * 10_000_000)
    assert "is larger than 1MiB" in refused_file(path)
    path.write_bytes(SMALLEST.encode().ljust(MAX_FILE_SIZE, b"\n"))
    assert load(path) == parsed(SMALLEST, "c")


def test_name_no_file_can_have() -> None:
    with pytest.raises(ConfigError, match="is no name a file can have"):
        load("a\0b")


# ------------------------------------------------------------------------------------------------ the command line


def test_arguments_without_a_file() -> None:
    config = from_arguments(["[::1]:5300", "127.0.0.1"], ["192.0.2.53", "/etc/resolv.conf"], None)
    assert config.listen.addresses == ("[::1]:5300", "127.0.0.1:53")
    assert config.zones == (Zone(zone=".", upstreams=("192.0.2.53:53", "/etc/resolv.conf")),)


def test_arguments_over_a_file() -> None:
    base = parsed(COMPLETE, "c")
    config = from_arguments(["127.0.0.1:53"], ["192.0.2.53"], base)
    assert config.listen == replace(base.listen, addresses=("127.0.0.1:53",))
    assert config.zones[:2] == base.zones[:2]
    assert config.zones[2] == replace(base.zones[2], upstreams=("192.0.2.53:53",))
    assert from_arguments([], [], base) == base


def test_upstream_for_a_file_without_the_root() -> None:
    base = parsed("cache: {max_ttl: 5m}\nzones: [{zone: a, upstreams: [192.0.2.1]}]", "c")
    config = from_arguments([], ["192.0.2.53"], base)
    assert config.zones == (*base.zones, Zone(zone=".", upstreams=("192.0.2.53:53",), max_ttl=300.0))


@pytest.mark.parametrize(
    ("listen", "upstream", "problems"),
    [
        ([], [], ["command line: no upstream: write --upstream ADDRESS"]),
        (["x"], ["y"], ['command line: --listen: "x" is no', 'command line: --upstream: "y" is no']),
        (["127.0.0.1:53"], ["127.0.0.1"], ["command line: --upstream: 127.0.0.1:53 is where this daemon listens"]),
        (["127.0.0.1", "127.0.0.1:53"], ["192.0.2.53"], ["command line: --listen: 127.0.0.1:53 stands in listen.addresses[0]"]),
        ([""], ["192.0.2.53"], ["command line: --listen: has no value"]),
    ],
)
def test_wrong_arguments(listen: list[str], upstream: list[str], problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_arguments(listen, upstream, None)
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(problems)
    assert all(text.startswith(start) for text, start in zip(found, problems, strict=True))


def test_effective_text_reads_like_the_manual() -> None:
    lines = effective_text(parsed(COMPLETE, "c")).splitlines()
    assert {"  receive_buffer: 8MiB", "  deadline: 1.8s", "  query_log: off", "cluster_domain: cluster.local"} <= set(lines)
    assert "  max_ttl: 30s" in lines
