"""`forwarder top`: the running daemon, live in a terminal.

A program of its own, which asks the daemon every second over one conversation (`inquiry`), remembers what it said (`trail`),
draws it (`drawing`) and listens for the key that ends it (`keys`). Never part of the daemon. Always holds: however it ends, the
terminal is as it was before.
"""
