"""A node-local caching DNS forwarder. The tour: the way of a datagram, room by room.

A person types `forwarder run` (`cli`). The supervisor (`supervisor`) is given the configuration (`config`, `config_file`),
becomes the user it is to be (`privileges`, `capabilities`), and comes to hold what it needs (`holdings`): sockets that it
binds (`sockets`), that systemd kept for it (`systemd`, `adoption`), or that an instance before it hands over (`handover`). With
them it starts workers (`workers`), all that serve by one configuration as a generation (`generation`), and tells each over a
socket pair what to do (`link`). It reads what workers must not: hosts and resolv.conf files, certificates (`watching`,
`hosts`, `node.resolv_conf`, `trust`), and follows their changes (`following`). When the configuration changes, another
generation takes the place of the first (`succession`), and is given its answers (`snapshot_file`, `snapshotting`). What workers
count in shared memory it adds up and shows (`showing`, `observe`), to scrapers and live on a page (`observe.pages`). A
command that is typed while it runs, `forwarder flush`, reaches it over the control socket (`control`, `flushes`, `dumps`,
`serving.flushing`). When it is killed, workers serve on and hand over themselves (`orphan`). Addresses of the cluster's that
the daemon intercepts it holds as long as it answers itself (`intercepting`). Which worker a name belongs to, the kernel
decides by a program (`steering`). What changes is said in a line (`terminal`) that knows how grave it is (`levels`), and not
again and again (`flapping`).

In the worker (`worker`), which has given up all privileges and shut itself off from files (`fence`), a datagram comes in by a
door:

    serving.udp          takes what waits in one call (`serving.datagrams`), drops clients outside `listen.allow`
                         (`serving.allow`), and asks for each query
    cache.exact          whether these very octets were answered within the second: then the response is written over the
                         query, behind its ID, and leaves. Nothing was parsed.
    serving.answering    THE RECIPE takes all others: `wire.message` parses, `serving.policy` answers what is not for a
                         forwarder, `cache.pinned` what the operator pinned, `cache.answers` what is known, `cache.pairs` and
                         `cache.denial` what follows from that not to exist; `wire.fitting` makes it fit the client,
                         `wire.edns` says why not, and the exact cache learns it. Still one call stack, nothing awaited.
    serving.coalescing   a question that memory cannot answer is in progress once, however many ask it
    serving.patience     says how long a client waits whose question has a stale answer, or failed before (`cache.failures`)
    upstream.zones       the zone with the longest suffix asks the first of its upstreams (`upstream.servers`), for as long as
                         its answers take (`upstream.round_trip`); `upstream.tally` counts
    upstream.asking      where that did not do: what `upstream.selection` says, from `upstream.health` (which `upstream.probing`
                         puts to the test), `upstream.budget` and `upstream.dialect`; whichever attempt is first in
                         `upstream.racing`
    upstream.udp         asks on a socket that carries nothing else meanwhile (`upstream.unpredictable` IDs and case), or
    upstream.stream      on one of a few (`upstream.connection`), many queries on each (`upstream.pipelining`), encrypted by
                         `upstream.tls` where the zone says so
    upstream.readiness   hears the response, one epoll for all upstream sockets (`upstream.network` is what they share);
                         `wire.message` tells whether it is one; the coroutine that waits (`upstream.waiting`) for the
                         exchange (`upstream.exchanging`) is stepped on in the same call
    wire.records         reads it: `wire.walking` finds its records, `wire.names` their names, `wire.scrubbing` keeps what
                         answers the question
    cache.answers        keeps it for as long as `cache.lifetime` says, within a budget (`cache.bounded`); `cache.pairs` and
                         `cache.denial` learn from it
    serving.responding   fits it to each who asked, says why where it is stale or a failure, and counts it; `serving.habits`
                         sees who comes again after that
    serving.udp          sends it to them, when the turn ends (`upstream.turn`)
    serving.noting       notes some of all these queries, in passing, and writes them to the supervisor (`observe.notes`)

What the configuration says to each of these rooms is in `terms`. Of the notes the supervisor (`hearing`) makes the names asked
most (`observe.names`) and the query log (`observe.query_log`), whose lines a thread of it writes.

The answers outlive a worker and the daemon in a file: `cache.snapshot` writes and reads them, `snapshotting` in the worker a
slice at a time, `snapshot_file` in the supervisor moves them to the disk and back. Once a second the worker lets go of what is
over; the garbage collector runs when a flood of questions was (`collecting`), else never.

Programs of their own, and no part of the daemon: `forwarder lookup` is the other side, a client that asks as glibc or musl
would (`lookup`); `forwarder node` makes the interface and the firewall rules that the host needs (`node`); `forwarder doctor`
looks for what is wrong with DNS there (`doctor`); `forwarder import-corefile` writes our configuration for that of another
server (`importing`). `forwarder top` draws what the daemon shows of itself, `stats` prints it once, `dump` what it remembers
(`top`, `inside`).

A query over TCP differs in its door alone (`serving.tcp`, `wire.framing`). Whatever goes wrong is in the tree of `errors`.
Imports run downstairs only: cli > supervisor; worker > serving > cache, upstream > wire > errors; `tests/test_house_rules.py`
holds the table, `docs/ARCHITECTURE.md` shows it.
"""
