"""What an operator sees with dig, from every side that has caused trouble somewhere.

dig takes no answer from an address it did not ask, and says `;; Warning` about messages it cannot read whole.
"""

from collections.abc import Iterator

import pytest

from tests.lab.behaviours import addresses, answer, sized
from tests.lab.clients import Address, Dug, dig
from tests.lab.daemon import Daemon
from tests.lab.namespaces import Network
from tests.lab.needs import needs_address, needs_namespaces, needs_program
from tests.lab.stage import Stage, staged

PINNED = "hosts: {records: {hello.forwarder.test: [192.0.2.1, '2001:db8::1', '\"hello there\"']}}"
NOWHERE = f"zones: [{{zone: ., upstreams: ['127.0.0.1:9']}}]\n{PINNED}"
"""The discard port: nobody answers there; pinned names need nobody."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """With a pinned name, and an upstream that knows two more."""
    needs_program("dig", package="bind9-dnsutils")
    with staged(PINNED) as made:
        made.upstream.on("www.dig.test", answer("@ 300 IN A 192.0.2.7"))
        made.upstream.on("big.dig.test", sized(answer(*addresses(180))))
        yield made


def assert_well_read(dug: Dug) -> None:
    """It had nothing to complain of."""
    assert "Warning" not in dug.text, dug.text
    assert "malformed" not in dug.text.lower(), dug.text


@pytest.mark.parametrize(
    "options",
    [
        ("+noedns",), ("+edns=0",), ("+dnssec",), ("+bufsize=512",), ("+bufsize=4096",), ("+tcp",), ("+tcp", "+noedns"),
        ("+ednsopt=cookie:0102030405060708",), ("+cookie",), ("+ednsopt=65001:00",), ("+nsid",), ("+subnet=192.0.2.0/24",),
        ("+padding=128",), ("+tcp", "+keepalive"), ("+adflag",), ("+cdflag",), ("+noadflag",), ("+keepopen", "+tcp"),
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("name", ["www.dig.test", "hello.forwarder.test"])
def test_one_answer_whatever_the_options(stage: Stage, name: str, options: tuple[str, ...]) -> None:
    """The same records, OPT as asked, nothing to complain of; fetched, remembered and pinned alike."""
    dug = dig(stage.server, *options, name, "A")
    assert_well_read(dug)
    assert dug.status == "NOERROR"
    assert [line.split()[-1] for line in dug.answers] == ["192.0.2.7" if name == "www.dig.test" else "192.0.2.1"]
    assert {"qr", "rd", "ra"} <= dug.flags <= {"qr", "rd", "ra", "cd"}
    assert bool(dug.edns) is ("+noedns" not in options)
    assert ("do" in dug.edns.partition("flags:")[2].partition(";")[0]) is ("+dnssec" in options)


def test_truncation_then_tcp(stage: Stage) -> None:
    """It asks again over TCP by itself, and has it all."""
    dug = dig(stage.server, "+bufsize=512", "big.dig.test")
    assert "Truncated, retrying in TCP mode" in dug.text
    assert len(dug.answers) == 180
    short = dig(stage.server, "+bufsize=512", "+ignore", "big.dig.test")
    assert "tc" in short.flags
    assert 0 < len(short.answers) < 180
    assert_well_read(short)


def test_a_version_of_edns_that_does_not_exist_yet(stage: Stage) -> None:
    """BADVERS and version 0; and dig, left to itself, negotiates."""
    refused = dig(stage.server, "+edns=1", "+noednsneg", "www.dig.test")
    assert refused.status == "BADVERS"
    assert refused.edns.startswith("version: 0")
    assert dig(stage.server, "+edns=1", "www.dig.test").status == "NOERROR"


def test_without_recursion(stage: Stage) -> None:
    """From memory only: REFUSED with EDE 20 for what is not there."""
    unknown = dig(stage.server, "+norecurse", "never-asked.dig.test")
    assert (unknown.status, unknown.extended_errors) == ("REFUSED", [20])
    assert dig(stage.server, "www.dig.test").status == "NOERROR"
    assert dig(stage.server, "+norecurse", "www.dig.test").answers
    assert dig(stage.server, "+norecurse", "hello.forwarder.test").answers


def test_any_and_the_rest(stage: Stage) -> None:
    """ANY: HINFO (RFC 8482). CHAOS: REFUSED. Opcodes: NOTIMP. No question: FORMERR. Transfers: REFUSED."""
    assert [line.split(maxsplit=3)[3] for line in dig(stage.server, "www.dig.test", "ANY").answers] == ['HINFO "RFC8482" ""']
    assert dig(stage.server, "version.bind", "TXT", "CH").status == "REFUSED"
    assert dig(stage.server, "+opcode=notify", "www.dig.test").status == "NOTIMP"
    assert dig(stage.server, "+opcode=update", "www.dig.test").status == "NOTIMP"
    assert dig(stage.server, "+header-only").status == "FORMERR"
    assert "Transfer failed" in dig(stage.server, "dig.test", "AXFR").text


def test_a_pinned_name(stage: Stage) -> None:
    """Its addresses, its text, the name of its address, and NODATA for all else; nobody is asked."""
    before = len(stage.upstream.received)
    assert dig(stage.server, "hello.forwarder.test", "AAAA").answers[0].endswith(" AAAA 2001:db8::1")
    assert dig(stage.server, "HELLO.forwarder.test", "TXT").answers[0].endswith(' TXT "hello there"')
    assert dig(stage.server, "-x", "192.0.2.1").answers[0].endswith(" PTR hello.forwarder.test.")
    assert dig(stage.server, "-x", "2001:db8::1").answers[0].endswith(" PTR hello.forwarder.test.")
    other = dig(stage.server, "hello.forwarder.test", "MX")
    assert (other.status, other.answers) == ("NOERROR", [])
    assert len(stage.upstream.received) == before


def test_ipv6() -> None:
    """`listen: [::1]`, UDP and TCP."""
    needs_address("::1")
    with Daemon(NOWHERE, hosts=("::1",)) as daemon:
        for transport in ("+notcp", "+tcp"):
            assert dig(daemon.server, transport, "hello.forwarder.test").answers


@pytest.mark.parametrize("asked", ["127.0.0.1", "127.0.0.5", "127.1.2.3"])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_the_wildcard_address_answers_from_the_address_asked(wildcard: Daemon, asked: str, transport: str) -> None:
    """With `0.0.0.0` the kernel would choose the sender; the client takes no answer from a stranger."""
    server: Address = (asked, wildcard.server[1])
    dug = dig(server, transport, "hello.forwarder.test")
    assert dug.answers, dug.text
    assert f"SERVER: {asked}#" in dug.text


@pytest.fixture(scope="module")
def wildcard() -> Iterator[Daemon]:
    """Listens everywhere, IPv4."""
    with Daemon(NOWHERE, hosts=("0.0.0.0",)) as daemon:
        yield daemon


def test_both_wildcards_on_one_port() -> None:
    """`0.0.0.0` and `::` stand side by side, and each answers from the address asked, over the other as well."""
    needs_namespaces()
    with Network() as network:
        host = network.namespace("host")
        for address in ("192.0.2.53/32", "2001:db8::53/128", "fd00:53::1/128"):
            host.add_address(address)
        with Daemon(f"{NOWHERE}\nlisten: {{allow: [any]}}", hosts=("0.0.0.0", "::"), namespace=host):
            for asked in ("127.0.0.1", "127.0.0.9", "192.0.2.53", "::1", "2001:db8::53", "fd00:53::1"):
                for transport in ("+notcp", "+tcp"):
                    command = ("dig", f"@{asked}", "+tries=1", transport, "hello.forwarder.test", "A")
                    dug = Dug(host.run(*command).stdout)
                    assert dug.answers, dug.text
                    assert f"SERVER: {asked}#53" in dug.text
