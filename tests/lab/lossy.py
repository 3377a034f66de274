"""Replies of a DNS server that get lost: dropped where they arrive, so that neither end is told.

A packet dropped in its sender's namespace comes back to the sender as an error. Always holds: UDP alone is lost, and only
between these two; leaving the `with` ends it.
"""

import re
from types import TracebackType
from typing import Self

from tests.lab.namespaces import Namespace


class Lossy:
    """Loses, at random, so many in a hundred of the replies that come to or through a namespace, from a server to a host."""

    def __init__(self, namespace: Namespace, server: str, host: str, percent: int) -> None:
        self._namespace = namespace
        self._table = f"ip lossy-{host}"
        self._rule = f"ip saddr {server} ip daddr {host} udp sport 53 numgen random mod 100 < {percent} counter drop"

    def __enter__(self) -> Self:
        self._nft(f"add table {self._table}")
        self._nft(f"add chain {self._table} arriving {{ type filter hook prerouting priority -300; }}")
        self._nft(f"add rule {self._table} arriving {self._rule}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._nft(f"delete table {self._table}")

    def lost(self) -> int:
        """How many so far."""
        (packets,) = re.findall(r"counter packets (\d+)", self._nft(f"list table {self._table}"))
        return int(packets)

    def _nft(self, command: str) -> str:
        done = self._namespace.run("nft", *command.split())
        if done.returncode != 0:
            msg = f"nft {command}: {done.stderr.strip()}"
            raise OSError(msg)
        return done.stdout
