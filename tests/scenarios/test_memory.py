"""Memory stays where it is: thousands of questions of many kinds, and the worker is no larger than after the first ones.

Coarse on purpose: it finds what grows with each query, not what a query costs.
"""

from collections.abc import Iterator

from tests.lab.behaviours import addresses, answer, both, by_transport, garbage, nxdomain, refusal, truncate, wrong_id
from tests.lab.clients import TcpClient, UdpClient, query
from tests.lab.stage import Stage, staged

KINDS = ("good", "many", "truncated", "none", "refused", "empty", "garbage", "forged")
BATCH = 20
"""Queries at once; few enough for any receive buffer."""
GROWTH = 3 << 20
"""Octets. 4000 queries that each left 1 KiB behind would be 4 MiB; the cache is full before the first look."""


def names(turn: str, count: int) -> Iterator[str]:
    """Each name once: a miss of one of the kinds."""
    for number in range(count):
        yield f"n{number}-{turn}.{KINDS[number % len(KINDS)]}.test"


def ask_all(stage: Stage, wanted: list[str]) -> None:
    """Over UDP in batches, every tenth batch over one TCP connection each."""
    for start in range(0, len(wanted), BATCH):
        batch = [query(name, payload=1232 if start % 3 else None) for name in wanted[start : start + BATCH]]
        client: UdpClient | TcpClient
        if start % (10 * BATCH) == 0:
            with TcpClient(stage.server) as client:
                client.send(*batch)
                assert all(client.receive_octets() for _ in batch)
        else:
            with UdpClient(stage.server) as client:
                for message in batch:
                    client.send(message)
                assert all(client.receive_octets() for _ in batch)


def test_thousands_of_queries_leave_nothing_behind() -> None:
    """Positive, large, negative, failing and forged; each answered, none of it kept beyond the cache's budget."""
    with staged("cache: {memory: 1MiB}") as stage:
        upstream = stage.upstream
        truth = answer("@ 300 IN A 192.0.2.1")
        upstream.on("*.good.test", truth)
        upstream.on("*.many.test", answer(*addresses(25)))
        upstream.on("*.truncated.test", by_transport(udp=truncate(answer()), tcp=truth))
        upstream.on("*.none.test", nxdomain("test."))
        upstream.on("*.refused.test", refusal("REFUSED"))
        upstream.on("*.empty.test", answer())
        upstream.on("*.garbage.test", by_transport(udp=both(garbage, truth), tcp=truth))
        upstream.on("*.forged.test", by_transport(udp=both(wrong_id(truth), truth), tcp=truth))
        ask_all(stage, list(names("warm", 3000)))
        upstream.received.clear()
        before = stage.daemon.worker_resident()
        ask_all(stage, list(names("again", 4000)))
        assert len(upstream.received) >= 4000, "the second turn asked new names"
        assert stage.daemon.worker_resident() - before < GROWTH
        assert stage.daemon.metric("forwarder_workers_restarted_total") == 0
        assert stage.daemon.metric("forwarder_deadline_missed_total") == 0
        assert stage.daemon.metric("forwarder_cache_bytes") <= 1 << 20
