"""What is said at the control socket: read as it was written, and answered in a sentence where it means nothing."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.observe import counters

FLUSH = b'{"version": 1, "request": "flush", "name": "db.example."}'


REQUESTS = st.one_of(
    st.builds(protocol.Flush, version=st.just(protocol.VERSION), name=st.text(max_size=300), below=st.booleans()),
    st.builds(protocol.Reload, version=st.just(protocol.VERSION)),
    st.builds(protocol.Takeover, version=st.just(protocol.VERSION), handover=st.integers(0, 1 << 31)),
    st.builds(protocol.Release, version=st.just(protocol.VERSION)),
)
ESTATE = protocol.Estate(
    pid=7,
    sockets=4,
    control=True,
    made_directory=False,
    snapshots=[3, 0],
    layout="a",
    counters=2,
    rows=["192.0.2.1:53"],
    workers=1,
)


@given(REQUESTS)
def test_a_request_is_read_as_it_was_written(request: protocol.Flush) -> None:
    assert protocol.read_request(protocol.written(request)) == request


@pytest.mark.parametrize(
    "response", [protocol.Flushed(3, 1), protocol.Reloaded(["but"]), ESTATE, protocol.Released(), protocol.Refused("it is so")]
)
def test_a_response_is_read_as_it_was_written(response: protocol.Response) -> None:
    assert protocol.read_response(protocol.written(response)) == response


def test_a_person_can_write_and_read_it() -> None:
    assert protocol.read_request(FLUSH) == protocol.Flush(1, "db.example.", below=False)
    assert json.loads(protocol.written(protocol.Flushed(3, 1))) == {"response": "flushed", "entries": 3, "pinned": 1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no request such as"),
        (b"flush db.example", "no request such as"),
        (b"\xff\xfe", "no request such as"),
        (b'{"version": 1}', "missing required field `request`"),
        (b'{"request": "flush", "name": "a"}', "missing required field `version`"),
        (b'{"version": 2, "request": "takeover", "more": []}', "speaks version 1 of the control protocol, not 2"),
        (
            b'{"version": 1, "request": "dance"}',
            "knows no request 'dance'; it knows flush, reload, stats, dump, takeover, release",
        ),
        (b'{"version": 1, "request": "takeover"}', "missing required field `handover`"),
        (b'{"version": 1, "request": "takeover", "handover": "1"}', "Expected `int`, got `str`"),
        (b'{"version": 1, "request": "reload", "file": "a"}', "unknown field `file`"),
        (b'{"version": 1, "request": "flush"}', "missing required field `name`"),
        (b'{"version": 1, "request": "flush", "name": 5}', "Expected `str`, got `int`"),
        (b'{"version": 1, "request": "flush", "name": "a", "sufix": true}', "unknown field `sufix`"),
    ],
)
def test_what_is_no_request_is_told_why(data: bytes, said: str) -> None:
    with pytest.raises(ControlError) as refused:
        protocol.read_request(data)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@given(st.one_of(st.binary(max_size=64), st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())))
def test_anything_else_raises_what_is_documented(data: bytes) -> None:
    for read in (protocol.read_request, protocol.read_response):
        with pytest.raises(ControlError):
            read(data)


def test_what_is_handed_over_at_most_fits_one_message() -> None:
    """As many rows as the counters have, each with a name as long as one can be, and 64 workers."""
    longest = f"[{'2001:0db8:' + ':'.join(['ffff'] * 6)}]:65535@{'x' * 250}"
    estate = msgspec.structs.replace(ESTATE, rows=[longest] * counters.MAX_UPSTREAMS, snapshots=[1 << 40] * 64)
    assert len(protocol.written(estate)) < protocol.MAX_RESPONSE


def test_the_longest_name_fits() -> None:
    name = ".".join(["\\255" * 63] * 3 + ["\\255" * 61])
    assert len(protocol.written(protocol.Flush(1, name))) < protocol.MAX_REQUEST


@pytest.mark.parametrize(
    ("setting", "environment", "paths"),
    [
        ("/x/y.sock", {"XDG_RUNTIME_DIR": "/run/user/7"}, ("/x/y.sock",)),
        ("auto", {}, ("/run/forwarder/control.sock",)),
        ("auto", {"XDG_RUNTIME_DIR": ""}, ("/run/forwarder/control.sock",)),
        (
            "auto",
            {"XDG_RUNTIME_DIR": "/run/user/7"},
            ("/run/forwarder/control.sock", "/run/user/7/forwarder/control.sock"),
        ),
    ],
)
def test_where_it_may_be(setting: str, environment: dict[str, str], paths: tuple[str, ...]) -> None:
    assert protocol.paths_for(setting, environment) == paths
