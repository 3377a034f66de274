"""Lines of a dnsmasq.conf, and servers in them."""

import pytest

from forwarder.importing.dnsmasq_lines import Server, lines_in, server_of
from forwarder.importing.sources import source_of


def test_lines() -> None:
    text = '# about\n\nno-resolv  # why\n server = 192.0.2.1#53 # whom\ntxt-record=a,"b # c"\n#server=x\n'
    assert [(line.name, line.value, line.place.line) for line in lines_in(source_of(text, "f"))] == [
        ("no-resolv", "", 3),
        ("server", "192.0.2.1#53", 4),
        ("txt-record", "a,b # c", 5),
    ]


@pytest.mark.parametrize(
    ("value", "server"),
    [
        ("192.0.2.1", Server((".",), "192.0.2.1:53")),
        ("192.0.2.1#54", Server((".",), "192.0.2.1:54")),
        ("2001:db8::1#54", Server((".",), "[2001:db8::1]:54")),
        ("/a.example/192.0.2.1", Server(("a.example",), "192.0.2.1:53")),
        ("/A.example/.b/192.0.2.1@eth0", Server(("a.example", "b"), "192.0.2.1:53", "eth0")),
        ("/a/", Server(("a",), "")),
        ("/a/#", Server(("a",), "#")),
        ("//192.0.2.1", Server(("",), "192.0.2.1:53")),
        ("/#/192.0.2.1", Server((".",), "192.0.2.1:53")),
    ],
)
def test_servers(value: str, server: Server) -> None:
    assert server_of(value) == server


@pytest.mark.parametrize("value", ["dns.example", "/*.a/192.0.2.1", "192.0.2.1#x", "/a/192.0.2.1#99999"])
def test_no_servers(value: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        server_of(value)
