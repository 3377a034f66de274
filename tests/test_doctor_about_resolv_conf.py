"""What is said of a resolv.conf file, and that nothing is said of a good one."""

import pytest

from forwarder.doctor.facts import Facts
from tests.lab.facts import FILE, OURS, bare, config_of, finding, found, node, ours, server, silent, upstream

PUBLIC = ("8.8.8.8:53", "8.8.4.4:53")


def by(text: str) -> Facts:
    """A pod whose file ends so."""
    return bare(server(), resolv_conf=f"nameserver 192.0.2.53\n{text}\n")


@pytest.mark.parametrize(
    "facts",
    [
        by(""),
        by("search a.test b.test\noptions edns0 timeout:2 attempts:3"),
        by("options rotate"),
        bare(ours("nameserver"), resolv_conf="nameserver 169.254.20.10\noptions ndots:5 timeout:2\n"),
        bare(server("127.0.0.53:53"), resolv_conf="nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"),
        bare(*map(server, PUBLIC)),
        node(),
    ],
)
def test_a_good_file(facts: Facts) -> None:
    assert found(facts) == {}


@pytest.mark.parametrize(
    ("facts", "identifier", "severity", "figure"),
    [
        (bare(server("127.0.0.1:53"), resolv_conf="# empty\n"), "no-nameserver", "notice", FILE),
        (by("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3"), "nameservers-cut", "notice", "4 nameservers"),
        (by(f"search {' '.join(f'd{number}.test' for number in range(7))}"), "search-cut", "notice", "7 domains"),
        (
            by(f"search {'a' * 60}.{'b' * 60}.{'c' * 60}.test {'d' * 63}.{'e' * 30}.test"),
            "search-cut",
            "notice",
            "2 domains and 287",
        ),
        (by("options attempts:1"), "attempts-one", "notice", "attempts:1"),
        (by("options single-request"), "option-single-request", "notice", "single-request"),
        (by("options single-request-reopen"), "option-single-request-reopen", "notice", "single-request-reopen"),
        (by("options use-vc"), "option-use-vc", "notice", "use-vc"),
        (
            bare(server("1.2.3.4:53"), resolv_conf="nameserver 1.2.3.4\noptions trust-ad"),
            "option-trust-ad",
            "notice",
            "trust-ad",
        ),
        (by("nameserver 192.0.2.1\noptions rotate"), "option-rotate", "notice", "rotate"),
        (
            bare(ours("nameserver"), resolv_conf="nameserver 169.254.20.10\noptions timeout:1"),
            "timeout-short",
            "problem",
            "timeout:1 in /etc/resolv.conf, and the daemon may take 1.8 s",
        ),
        (bare(server(), ours("nameserver")), "daemon-not-first", "problem", "192.0.2.53 before 169.254.20.10"),
        (bare(ours("nameserver"), server()), "daemon-beside-others", "notice", "192.0.2.53 stands behind"),
        (node(server("192.0.2.1:53"), ours("listen"), upstream()), "daemon-not-asked", "notice", "192.0.2.1"),
        (bare(server("10.0.0.1:53"), server("8.8.8.8:53")), "nameservers-mixed", "notice", "10.0.0.1"),
        (bare(*map(silent, PUBLIC)), "public-resolvers", "problem", "8.8.8.8, 8.8.4.4"),
        (bare(ours("nameserver"), silent("8.8.8.8:53")), "public-resolvers", "notice", "8.8.8.8"),
    ],
)
def test_a_file_that_is_worth_a_word(facts: Facts, identifier: str, severity: str, figure: str) -> None:
    one = finding(facts, identifier)
    assert one.severity == severity
    assert figure in one.seen
    assert one.means
    assert one.mend


def test_a_shorter_timeout_is_no_matter_where_the_daemon_answers_before_it_or_is_not_asked() -> None:
    text = f"nameserver {OURS.partition(':')[0]}\noptions timeout:1"
    quick = config_of("{answering: {deadline: 900ms}, zones: [{zone: ., upstreams: [192.0.2.53]}]}")
    assert "timeout-short" not in found(node(resolv_conf=FILE, texts={FILE: text}, config=quick))
    level = config_of("{answering: {deadline: 1s}, zones: [{zone: ., upstreams: [192.0.2.53]}]}")
    assert "timeout-short" in found(node(resolv_conf=FILE, texts={FILE: text}, config=level))
    assert "timeout-short" in found(node(resolv_conf=FILE, texts={FILE: text}))
    assert "timeout-short" not in found(by("options timeout:1"))


def test_a_resolv_conf_file_knows_no_port() -> None:
    config = config_of("{zones: [{zone: ., upstreams: [192.0.2.53]}]}")
    facts = node(server("192.0.2.1:53"), ours("listen"), upstream(), config=config)
    assert "with port 53" in finding(facts, "daemon-not-asked").mend
    assert (
        finding(node(server("192.0.2.1:53"), ours("listen"), upstream()), "daemon-not-asked").mend == "nameserver 169.254.20.10"
    )


def test_one_public_resolver_of_two_that_is_silent_was_named_by_somebody() -> None:
    assert found(bare(server(PUBLIC[0]), silent(PUBLIC[1]))) == {"server-silent": "problem"}
