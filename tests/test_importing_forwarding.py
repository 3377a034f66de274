"""What CoreDNS's `forward` becomes."""

import pytest

from forwarder.importing.addresses import NamelessError
from forwarder.importing.blocks import Directive, parsed
from forwarder.importing.forwarding import Route, route_of
from forwarder.importing.sources import source_of


def route(text: str) -> tuple[Route | None, list[tuple[str, str]]]:
    """Of a directive as it is written; what is said of its lines."""
    (block,) = parsed(source_of(f". {{\n{text}\n}}", "Corefile"), {}).blocks
    said: list[tuple[str, str]] = []

    def remark(directive: Directive, sentence: str) -> None:
        said.append((directive.name, sentence))

    return route_of(block.directives[0], remark), said


@pytest.mark.parametrize(
    ("text", "zone", "upstreams", "transport", "policy"),
    [
        ("forward . 192.0.2.1", ".", ("192.0.2.1:53",), "udp", "ordered"),
        ("forward Example.org 192.0.2.1:54", "example.org", ("192.0.2.1:54",), "udp", "ordered"),
        ("forward . 192.0.2.1 {\n force_tcp\n}", ".", ("192.0.2.1:53",), "tcp", "ordered"),
        ("forward . 192.0.2.1 {\n prefer_udp\n}", ".", ("192.0.2.1:53",), "udp", "ordered"),
        ("forward . 192.0.2.1 {\n prefer_udp\n force_tcp\n}", ".", ("192.0.2.1:53",), "tcp", "ordered"),
        ("forward . 192.0.2.1 192.0.2.2", ".", ("192.0.2.1:53", "192.0.2.2:53"), "udp", "equal"),
        ("forward . 192.0.2.1 192.0.2.1", ".", ("192.0.2.1:53",), "udp", "ordered"),
        ("forward . 192.0.2.1 192.0.2.2 {\n policy sequential\n}", ".", ("192.0.2.1:53", "192.0.2.2:53"), "udp", "ordered"),
        ("forward . /etc/resolv.conf {\n policy random\n}", ".", ("/etc/resolv.conf",), "udp", "equal"),
        ("forward . 192.0.2.1 192.0.2.2 {\n policy round_robin\n}", ".", ("192.0.2.1:53", "192.0.2.2:53"), "udp", "equal"),
        (
            "forward . tls://9.9.9.9 {\n tls_servername dns.example\n force_tcp\n}",
            ".",
            ("9.9.9.9:853@dns.example",),
            "tls",
            "ordered",
        ),
        ("proxy . 192.0.2.1 {\n protocol dns force_tcp\n}", ".", ("192.0.2.1:53",), "tcp", "ordered"),
        ("proxy . 192.0.2.1 192.0.2.2 {\n policy first\n}", ".", ("192.0.2.1:53", "192.0.2.2:53"), "udp", "ordered"),
    ],
)
def test_carried_over_without_a_word(text: str, zone: str, upstreams: tuple[str, ...], transport: str, policy: str) -> None:
    made, said = route(text)
    assert made is not None
    assert (made.zone, made.upstreams, made.transport, made.policy, said) == (zone, upstreams, transport, policy, [])


def test_certificates_and_exceptions() -> None:
    made, said = route("forward . tls://9.9.9.9 {\n tls_servername d.example\n tls /ca.pem\n except a.example b.example\n}")
    assert made is not None
    assert (made.ca_file, made.exceptions, said) == ("/ca.pem", ("a.example", "b.example"), [])


@pytest.mark.parametrize(
    ("text", "about", "words"),
    [
        ("forward . /etc/resolv.conf", "forward", "CoreDNS draws lots"),
        ("forward . tls://9.9.9.9 {\n tls_servername d.example\n tls /c /k /ca\n}", "tls", "no certificate of a client"),
        ("forward . tls://9.9.9.9 {\n tls_servername d.example\n tls ca.pem\n}", "tls", "needs its whole path"),
        ("forward . 192.0.2.1 tls://9.9.9.9%d.example", "forward", '"9.9.9.9:853@d.example" left out'),
        ("forward . 192.0.2.1 dns.example", "forward", "and is not asked"),
        ("forward . 192.0.2.1 {\n except *.a\n}", "except", "wildcards are not available"),
        ("forward . 192.0.2.1 {\n max_concurrent 1000\n}", "max_concurrent", "answering.max_in_progress"),
        ("forward . 192.0.2.1 {\n health_check 5s\n}", "health_check", "probed"),
        ("forward . 192.0.2.1 {\n policy odd\n}", "policy", "not known here"),
        ("forward . 192.0.2.1 {\n protocol dns\n}", "protocol", "not known here"),
        ("proxy . 192.0.2.1 {\n protocol https_google\n}", "protocol", "not known here"),
        ("forward . 192.0.2.1 {\n new_option\n}", "new_option", "not known here"),
    ],
)
def test_what_is_other_is_said(text: str, about: str, words: str) -> None:
    made, said = route(text)
    assert made is not None
    assert made.upstreams
    assert any(name == about and words in sentence for name, sentence in said), said


@pytest.mark.parametrize("text", ["forward", "forward .", "forward *.a 192.0.2.1"])
def test_what_names_nobody(text: str) -> None:
    made, said = route(text)
    assert made is None
    assert len(said) == 1


def test_nobody_of_those_named_can_be_asked() -> None:
    made, said = route("forward . https://9.9.9.9 grpc://9.9.9.9")
    assert made is not None
    assert (made.upstreams, len(said)) == ((), 2)


def test_encrypted_upstreams_are_never_asked_in_the_clear() -> None:
    with pytest.raises(NamelessError):
        route("forward . tls://9.9.9.9")
