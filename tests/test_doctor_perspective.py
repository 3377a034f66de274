"""Whom the clients of a place ask, and whom a daemon shields them from."""

import pytest

from forwarder.doctor.findings import Severity
from forwarder.doctor.perspective import Perspective, host_of, is_inside, is_public, short, tries_for, upstreams_of
from forwarder.lookup.settings import Libc, settings_for
from tests.lab.facts import FILE, bare, config_of, node, ours, server, upstream


def test_nameservers_are_in_the_order_of_the_file_and_each_once() -> None:
    first, second = server("192.0.2.1:53"), server("192.0.2.2:53")
    text = "nameserver 192.0.2.2\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"
    assert Perspective(bare(first, second, resolv_conf=text)).nameservers == [second, first]


def test_the_daemon_is_known_by_how_it_answers_or_by_the_configuration() -> None:
    answering = ours("nameserver")
    assert Perspective(bare(answering)).ours == [answering]
    silent_one = server("169.254.20.10:53", "nameserver", "listen")
    assert Perspective(node(silent_one)).ours == [silent_one]
    assert Perspective(bare(silent_one)).ours == []


def test_weakness_is_a_problem_where_no_daemon_stands_before() -> None:
    before, daemon, behind = server("192.0.2.1:53"), ours("nameserver"), server("192.0.2.2:53")
    place = Perspective(bare(before, daemon, behind))
    assert [place.weakness_of(one) for one in (before, daemon, behind)] == [Severity.PROBLEM, Severity.PROBLEM, Severity.NOTICE]
    asked = upstream()
    other = ours("listen")
    place = Perspective(node(ours(), asked, other))
    assert place.weakness_of(asked) is Severity.NOTICE
    assert place.weakness_of(other) is Severity.PROBLEM, "pods ask it"


@pytest.mark.parametrize(
    ("text", "name", "tries"),
    [
        ("options ndots:5\nsearch a.test b.test", "x.y", ["x.y.a.test.", "x.y.b.test.", "x.y."]),
        ("search a.test", "x.y", ["x.y.", "x.y.a.test."]),
        ("search a.test", "x", ["x.a.test.", "x."]),
        ("search a.test .", "x.y.", ["x.y."]),
        ("", "x", ["x."]),
    ],
)
def test_names_a_libc_tries(text: str, name: str, tries: list[str]) -> None:
    assert tries_for(name, settings_for(text, Libc.GLIBC)) == tries


def test_upstreams_of_files_come_from_their_texts() -> None:
    config = config_of(f"zones: [{{zone: ., upstreams: ['192.0.2.1', {FILE}]}}, {{zone: a.test, upstreams: ['192.0.2.9']}}]")
    assert upstreams_of(config, {FILE: "nameserver 192.0.2.2\nnameserver 192.0.2.1"}) == {
        ".": ("192.0.2.1:53", "192.0.2.2:53"),
        "a.test": ("192.0.2.9:53",),
    }
    assert upstreams_of(config, {})["."] == ("192.0.2.1:53",)


def test_addresses_as_people_write_them() -> None:
    assert [short(one) for one in ("192.0.2.1:53", "[fd00::1]:53", "192.0.2.1:5300")] == [
        "192.0.2.1",
        "fd00::1",
        "192.0.2.1:5300",
    ]
    assert host_of("[fd00::1]:53") == "fd00::1"
    assert is_public("8.8.8.8:53")
    assert not is_public("10.0.0.1:53")
    assert [is_inside(one) for one in ("10.0.0.1", "fe80::1%eth0", "8.8.8.8", "nonsense")] == [True, True, False, False]
