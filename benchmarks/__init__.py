"""The benchmarks: the daemon beside unbound, dnsmasq and an echo loop in C, all against one nsd on loopback.

`python -m benchmarks` writes RESULTS.md; `python -m benchmarks.pauses` and `python -m benchmarks.million` watch one
daemon for longer. Always holds: every datagram stays on 127.0.0.1, every load is bounded in count and in time, and every
process started here is ended here. The daemon is a command like its peers; nothing of it is imported.
"""
