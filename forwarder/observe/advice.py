"""What an operator should know of how it is now, in words: a sentence each, with what to do about it.

Pure: the overview of now and one of some minutes ago go in. Always holds: a sentence goes away when what it says is over for
ten minutes, or at once where it says how something is; what is as it should be is not mentioned.
"""

from collections.abc import Iterator, Mapping, Sequence

from forwarder.observe.overview import Overview, Upstream

FULL_TABLE = 0.9
"""Of the connections that the node's table holds: above it, it is soon full, and then packets are dropped."""
MANY_FAILURES = 0.5
"""Of the attempts at an upstream in the last minutes."""
FEW_ATTEMPTS = 20
"""Of so few nothing is concluded."""

HAPPENED = {
    "deadline_missed": "{} queries were not answered within answering.deadline lately: the machine stands still or is"
    " overloaded; give the daemon more CPU, or listen.workers.",
    "refused_clients": "{} queries of clients outside listen.allow were passed over lately: add their network there if they are"
    " to be answered.",
    "client_repeats_after_failure": "{} times lately a client came back 5 s after a failure and without asking for AAAA: an old"
    " glibc that asks one at a time since it lost a response; restart that program.",
    "split_pairs": "{} times lately upstreams answered one of A and AAAA and not the other in time: they drop queries, or the"
    " network on the way does.",
}
"""Of `Overview.counted`, what happens to clients that should not: how often it did lately, and what to do."""


def advice(now: Overview, former: Overview | None) -> list[str]:
    """The sentences, the gravest first. `former` is some minutes old; None: nothing is known of the time before."""
    lately = {} if former is None else {name: count - former.counted.get(name, 0) for name, count in now.counted.items()}
    return [
        *_of_workers(now),
        *_of_upstreams(now),
        *_of_failures(now, former),
        *_of_lost_packets(now, former, lately.get("receive_drops", 0)),
        *_of_clients(lately),
        *_of_cache(now, former),
    ]


def _of_workers(now: Overview) -> Iterator[str]:
    for worker in now.workers:
        if not worker.serving:
            ended = f", the process before ended: {worker.last_end}" if worker.last_end else ""
            yield f"Worker {worker.number} does not serve ({worker.state}{ended}): see the daemon's log."


def _of_upstreams(now: Overview) -> Iterator[str]:
    asked = [upstream for upstream in now.upstreams if upstream.is_asked]
    down = [upstream.name for upstream in asked if not upstream.is_up]
    if asked and len(down) == len(asked):
        yield (
            f"No upstream answers ({', '.join(down)}): names are answered from memory for as long as cache.maximum_stale_timer"
            " allows; try `forwarder doctor`."
        )
    elif down:
        yield f"{_names(down)} not answer, the others are asked instead: try `forwarder lookup NAME --server ADDRESS`."
    for upstream in asked:
        if upstream.is_looped:
            yield f"{upstream.name} sends our queries back to us and is left out: write another upstream for this zone."


def _of_failures(now: Overview, former: Overview | None) -> Iterator[str]:
    before = {} if former is None else {upstream.name: upstream for upstream in former.upstreams}
    for upstream in now.upstreams:
        if upstream.is_asked and upstream.is_up and upstream.name in before:
            queries, failures = _attempts(before[upstream.name], upstream)
            if queries >= FEW_ATTEMPTS and failures > queries * MANY_FAILURES:
                reason = max(upstream.failures, key=lambda name: upstream.failures[name])
                yield (
                    f"{upstream.name} gave no usable answer to {failures} of {queries} queries lately (mostly: {reason}):"
                    " look at that server."
                )


def _of_lost_packets(now: Overview, former: Overview | None, receive_drops: int) -> Iterator[str]:
    if receive_drops > 0:
        yield (
            f"{receive_drops} queries were lost lately because a receive queue was full: raise listen.receive_buffer and"
            " net.core.rmem_max, or listen.workers."
        )
    table, table_before = now.conntrack, None if former is None else former.conntrack
    if table is None:
        return
    if table.max_entries and table.entries > table.max_entries * FULL_TABLE:
        yield (
            f"The node's connection table is nearly full ({table.entries} of {table.max_entries}), then it drops packets: raise"
            " net.netfilter.nf_conntrack_max."
        )
    if table_before is not None and (failed := table.insert_failed - table_before.insert_failed) > 0:
        yield (
            f"The node's connection table refused {failed} entries lately: the packets are lost, and a client that asks its"
            " server directly waits 5 s; try `forwarder doctor`."
        )


def _of_clients(lately: Mapping[str, int]) -> Iterator[str]:
    for name, sentence in HAPPENED.items():
        if (count := lately.get(name, 0)) > 0:
            yield sentence.format(count)


def _of_cache(now: Overview, former: Overview | None) -> Iterator[str]:
    if former is None:
        return
    evicted, kept = now.cache.evictions - former.cache.evictions, sum(now.cache.entries.values())
    if evicted > kept:
        yield f"{evicted} answers were forgotten lately for want of room, more than the {kept} that fit: raise cache.memory."


def _attempts(before: Upstream, now: Upstream) -> tuple[int, int]:
    """Queries and failures since."""
    queries = sum(now.queries.values()) - sum(before.queries.values())
    return queries, sum(now.failures.values()) - sum(before.failures.values())


def _names(names: Sequence[str]) -> str:
    return f"{names[0]} does" if len(names) == 1 else f"{', '.join(names)} do"
