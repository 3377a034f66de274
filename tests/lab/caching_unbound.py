"""The peer that answers from memory as fast as anything does: unbound, forwarding everything, in a namespace.

One thread, no DNSSEC, nothing logged, a cache that holds all that a test asks.
"""

from collections.abc import Sequence
from pathlib import Path

import dns.message

from tests.lab.clients import query
from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program
from tests.lab.real_server import RealServer

_CONFIG = """\
server:
    interface: {host}
    access-control: 0.0.0.0/0 allow
    module-config: "iterator"
    do-ip6: no
    num-threads: 1
    do-not-query-localhost: no
    local-zone: "local." nodefault
    domain-insecure: "local."
    directory: "{directory}"
    pidfile: ""
    username: ""
    chroot: ""
    use-syslog: no
    logfile: "{directory}/log"
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {upstream}
"""


class CachingUnbound(RealServer):
    """On port 53 of `host` in the namespace, asking `upstream`. `before`: a program that changes where or how it runs."""

    def __init__(self, host: str, upstream: str, *, namespace: Namespace, before: Sequence[str] = ()) -> None:
        super().__init__((host, 53), namespace=namespace, before=before)
        self._program = needs_program("unbound")
        self._upstream = upstream

    def command(self, directory: Path) -> list[str]:
        """With its configuration in a file."""
        config = directory / "unbound.conf"
        config.write_text(_CONFIG.format(host=self.server[0], upstream=self._upstream, directory=directory))
        return [self._program, "-d", "-c", str(config)]

    def probe(self) -> dns.message.Message:
        """A name that it knows by itself."""
        return query("localhost")
