"""`forwarder lookup`: a name looked up as glibc or as musl looks it up, each query and each wait told with its time.

Nothing here answers queries, and no worker imports it. What decides does without sockets, clock and dice: `settings`,
`questions`, `responses` (with `rdata`), `glibc`, `musl`, `ledger`, `result`, `diagnosis`; `steps` are the words between the
resolvers and `network`, which sends and waits. `looking` puts it together, `telling` shows it.
"""
