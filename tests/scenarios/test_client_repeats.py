"""Clients that come again and again are known by when they do: an operator sees who waits on failures, and who does not."""

import time

import dns.message

from tests.lab.behaviours import Behaviour, late, refusal, silent
from tests.lab.clients import UdpClient, query
from tests.lab.faults import by_type, in_rotation, told_by
from tests.lab.stage import Stage, staged

NAME = "repeats.test"
HEALTHY = 20
GLIBC_WAITS = 5.0  # seconds between two tries of a lookup
SOON = 1.0  # seconds; less than the deadline, enough for a busy machine


def exchanged(client: UdpClient, *messages: dns.message.Message) -> None:
    """All of them sent, and as many responses received."""
    for message in messages:
        client.send(message)
    for _ in messages:
        assert client.receive() is not None


def repeats(stage: Stage) -> dict[str, float]:
    """Repeats by what went before, those that are not zero."""
    counted = {
        after: stage.daemon.metric("forwarder_client_repeats_total", after=after)
        for after in ("failure", "failure_musl", "lost_reply", "silence")
    }
    return {after: times for after, times in counted.items() if times}


def test_a_latched_glibc_among_healthy_ones() -> None:
    """Five seconds after SERVFAIL to A the same query again, and no AAAA; the others ask for both, twice, and go on."""
    with staged() as stage, UdpClient(stage.server) as latched, UdpClient(stage.server) as unlucky:
        stage.upstream.default = refusal("SERVFAIL")
        a, aaaa = query(NAME, "A"), query(NAME, "AAAA")
        begin = time.monotonic()
        exchanged(latched, a)
        exchanged(unlucky, a, aaaa)
        for number in range(HEALTHY):
            with UdpClient(stage.server) as healthy:
                pair = query(f"{number}.{NAME}", "A"), query(f"{number}.{NAME}", "AAAA")
                exchanged(healthy, *pair)
                exchanged(healthy, *pair)
        assert repeats(stage) == {}
        time.sleep(max(0.0, begin + GLIBC_WAITS - time.monotonic()))
        exchanged(latched, a)
        exchanged(unlucky, a, aaaa)
        assert repeats(stage) == {"failure": 1, "lost_reply": 1}


def test_a_client_that_waits_for_less_than_we_do() -> None:
    """`options timeout:1` in its resolv.conf: it asks again while its first question is under way, and has two responses."""
    with staged() as stage, UdpClient(stage.server) as client:
        stage.upstream.default = late(0.3, told_by(1))
        message = query(NAME)
        exchanged(client, message, message)
        assert repeats(stage) == {"silence": 1}


def test_an_upstream_that_answers_half_of_a_pair() -> None:
    """A at once, AAAA never: both halves are answered in time all the same, and the pair is counted."""
    with staged() as stage, UdpClient(stage.server) as client:
        stage.upstream.default = by_type(a=told_by(1), aaaa=silent)
        exchanged(client, query(NAME, "A"), query(NAME, "AAAA"))
        assert stage.daemon.metric("forwarder_split_pairs_total") == 1
        exchanged(client, query(NAME, "TXT"))
        assert stage.daemon.metric("forwarder_split_pairs_total") == 1
        assert stage.daemon.metric("forwarder_deadline_missed_total") == 0


def test_a_failure_that_got_lost_is_not_waited_for_until_the_deadline() -> None:
    """The first SERVFAIL is lost, the second comes: the same server has nothing more to say."""
    first_lost: Behaviour = in_rotation(silent, *[refusal("SERVFAIL")] * 5)
    with staged() as stage:
        stage.upstream.default = told_by(1)
        stage.ask("known.test")
        stage.upstream.on(f"{NAME}.", first_lost)
        begin = time.monotonic()
        assert stage.ask(NAME).rcode() == 2
        assert time.monotonic() - begin < SOON
