"""Listen addresses, and service addresses that are intercepted."""

from collections.abc import Collection

import pytest

from forwarder.importing.drafts import Notes
from forwarder.importing.listening import Binding, Listening, listening_of
from tests.lab.importing import SOMEWHERE


def listening(
    *hosts: str, upstreams: Collection[str] = (), services: Collection[str] = (), ports: tuple[int, ...] = (53,)
) -> tuple[Listening, str]:
    """Of one block; what is said of it."""
    notes = Notes()
    made = listening_of([Binding(hosts, ports, SOMEWHERE)], upstreams, services, notes)
    return made, " ".join(note.sentence for note in notes.all())


def test_a_service_address_that_was_named() -> None:
    made, said = listening("169.254.20.10", "10.96.0.10", services=["10.96.0.10"])
    assert made == Listening(("169.254.20.10:53",), ("10.96.0.10",))
    assert "10.96.0.10 is the service address" in said


@pytest.mark.parametrize(
    ("own", "service"), [("169.254.20.10", "172.20.0.10"), ("fe80::a", "fd00:10:96::a"), ("127.0.0.53", "10.0.0.1")]
)
def test_a_private_address_beside_a_local_one_is_taken_for_it(own: str, service: str) -> None:
    made, said = listening(own, service)
    assert made.intercept == (service,)
    assert f"{service} is taken for the service address" in said


def test_addresses_by_themselves_are_listened_on() -> None:
    assert listening("10.0.0.1", "10.0.0.2")[0] == Listening(("10.0.0.1:53", "10.0.0.2:53"), ())
    assert listening("169.254.20.10", "203.0.113.1")[0].intercept == ()


def test_what_is_asked_is_not_intercepted() -> None:
    made, said = listening("169.254.20.10", "10.96.0.10", upstreams=["10.96.0.10"])
    assert made == Listening(("169.254.20.10:53",), ())
    assert "asked in a circle" in said


def test_everywhere() -> None:
    made, said = listening(ports=(53, 1053))
    assert made.addresses == ("0.0.0.0:53", "0.0.0.0:1053", "[::]:53", "[::]:1053")
    assert "listen.allow" in said


def test_interfaces_are_named_in_a_note() -> None:
    made, said = listening("eth0", "127.0.0.1")
    assert made == Listening(("127.0.0.1:53",), ())
    assert '"eth0" is no address' in said


def test_only_port_53_is_intercepted() -> None:
    assert "on port 53 alone" in listening("169.254.20.10", "10.96.0.10", ports=(1053,))[1]


def test_local_addresses_are_open_to_all_as_there() -> None:
    assert listening("169.254.20.10", "::1")[1] == ""


def test_blocks_that_differ() -> None:
    notes = Notes()
    bindings = [Binding(("127.0.0.1",), (53,), SOMEWHERE), Binding(("127.0.0.2",), (53,), SOMEWHERE)]
    assert listening_of(bindings, (), (), notes).addresses == ("127.0.0.1:53", "127.0.0.2:53")
    assert [note.sentence for note in notes.all()] == [
        "every zone is answered at every listen address, whatever the client asked"
    ]
