"""What the daemon shows of itself, as a command reads it."""

import msgspec
import pytest

from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.inside import seen
from forwarder.observe import counters
from forwarder.observe.overview import VERSION, Asked, Conntrack, Moment, Names, Worker, pace
from tests.lab.figures import Daemon, SeenWorker
from tests.lab.moments import hostile, moment

LONG = "\\255" * 249
"""The longest name, as text."""


def test_what_was_shown_is_read_back() -> None:
    told = moment()
    answer = protocol.read_response(protocol.written(protocol.shown(told)))
    assert isinstance(answer, protocol.Shown)
    assert seen.moment_in(answer) == told


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (protocol.Flushed(0, 0), "no forwarder of this version"),
        (protocol.Shown(msgspec.Raw(b'{"overview": 5}')), "no forwarder of this version"),
        (protocol.shown(moment(version=VERSION + 1)), f"in version {VERSION + 1}, not {VERSION}: use the command that came"),
    ],
)
def test_what_another_daemon_shows_is_refused(answer: protocol.Answer, complaint: str) -> None:
    with pytest.raises(ControlError, match=complaint):
        seen.moment_in(answer)


def test_the_most_that_can_be_shown_fits_a_response() -> None:
    upstreams = {f"[2001:db8:ffff:ffff:ffff:ffff:ffff:{n:04x}]:65535@{'a' * 60}.example": True for n in range(64)}
    asked = [Asked(LONG, 0.123456789012345)] * 20
    daemon = Daemon(upstreams=upstreams, workers=[SeenWorker(n, 4194304, restarts=9999, last_end="x" * 80) for n in range(64)])
    daemon.names, daemon.conntrack = Names(10**6, asked, asked, asked), Conntrack(10**9, 10**9, 10**9, 10**9)
    before = daemon.overview()
    for place in range(counters.SIZE):
        daemon.slots[place] = 10**12
    now = msgspec.structs.replace(daemon.overview(1.0), warnings=["x" * 400] * 130)
    assert 200_000 < len(protocol.written(protocol.shown(Moment(now, pace(before, now))))) < protocol.MAX_RESPONSE


def test_as_json_it_is_the_same_and_prints() -> None:
    told = hostile()
    answer = protocol.read_response(protocol.written(protocol.shown(told)))
    assert isinstance(answer, protocol.Shown)
    text = seen.json_in(answer)
    assert text.isascii()
    assert text.isprintable()
    assert msgspec.json.decode(text, type=Moment) == told


def test_states_in_a_word() -> None:
    up, down, left = moment().overview.upstreams
    assert [seen.upstream_state(one) for one in (up, down, left)] == ["up", "down", "left"]
    assert seen.upstream_state(msgspec.structs.replace(up, is_looped=True)) == "loop"
    assert seen.worker_state(Worker(1, 17, True, "serving", 0, "")) == "1 serving (pid 17)"
    assert seen.worker_state(Worker(0, None, False, "waits", 3, "")) == "0 waits, restarts: 3"
