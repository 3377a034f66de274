"""A worker serves for months without a collector: whatever it is asked, reference counting frees it."""

import sys
from collections.abc import Sequence

from forwarder import config, link
from forwarder.observe import counters
from tests.lab.behaviours import (
    addresses,
    answer,
    by_transport,
    close_mid_message,
    garbage,
    nxdomain,
    refusal,
    silent,
    sized,
    truncated_records,
    wrong_id,
)
from tests.lab.clients import HANG, TcpClient, UdpClient, framed, query
from tests.lab.kitchen import counted
from tests.lab.scripted import ScriptedUpstream
from tests.test_worker import WATCHED, Bench, bench, until, zone_for


def settled(at: Bench, messages: Sequence[bytes]) -> None:
    """Ask all this over UDP, a hundred at a time, each hundred when all before it came to something."""

    def outcomes() -> int:
        return sum(counted(at.counts).values()) + at.counts[counters.DEADLINE_MISSED]

    with UdpClient(at.server) as client:
        for first in range(0, len(messages), 100):
            expected = outcomes() + len(messages[first : first + 100])
            for message in messages[first : first + 100]:
                client.send(message)
            until(lambda: outcomes() == expected)  # noqa: B023 - called before the next round changes it


def test_it_leaves_no_garbage_that_only_a_collector_finds() -> None:
    one = answer("@ 60 IN A 192.0.2.1")
    quick = {"one": one, "large": sized(answer(*addresses(100))), "no": nxdomain("test."), "failed": refusal("SERVFAIL")}
    slow = {"forged": wrong_id(one), "garbage": garbage, "cut": truncated_records(one), "silent": silent}
    slow["closing"] = by_transport(udp=silent, tcp=close_mid_message(one))
    with ScriptedUpstream() as upstream, bench(program=(sys.executable, "-c", WATCHED)) as at:
        for kind, behaviour in (quick | slow).items():
            upstream.on(f"*.{kind}.udp.", behaviour)
            upstream.on(f"*.{kind}.tcp.", behaviour)
        zones = [zone_for(upstream), zone_for(upstream, zone="tcp", transport="tcp")]
        at.serve(at.begin(zones, sections={"answering": config.AnsweringSettings(deadline=0.1)}))
        kinds = [(kind, zone, 250 if kind in quick else 100) for kind in quick | slow for zone in ("udp", "tcp")]
        names = [f"n{number % 250}.{kind}.{zone}." for kind, zone, count in kinds for number in range(count)]
        messages = [query(name, payload=1232).to_wire() for name in names]
        settled(at, messages)
        odd = [b"\1\2\x28" + messages[0][3:], messages[0][:20], messages[0][:-1], query("a.test.", "ANY").to_wire()]
        settled(at, odd * 100)
        for number in range(100):
            with TcpClient(at.server) as client:
                client.send_octets(b"".join(map(framed, messages[number : number + 5])))
                if number % 3:
                    assert client.receive_octets()
        at.tell(link.Drain())
        found, _ = at.process.communicate(timeout=HANG)
        until(lambda: upstream.open_connections == 0)
    assert found == "0\n"
