"""Free ports of this machine, for servers the tests start.

Always holds: a port handed out lies below the kernel's ephemeral range, so that no socket with a port of the kernel's choice
takes it before the server does, and was free for UDP and TCP a moment ago.
"""

import secrets
import socket

_LOWEST, _HIGHEST = 20000, 31999
"""Below 32768, where Linux begins to choose ports itself (net.ipv4.ip_local_port_range)."""
_TRIES = 200


def bound_pair(address: str = "127.0.0.1", wanted: int | None = None) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a TCP listener on one port, free or this one, both non-blocking."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(_TRIES):
        port = wanted or _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            datagrams.bind((address, port))
            listener.bind((address, port))
        except OSError:
            datagrams.close()
            listener.close()
            continue
        listener.listen(256)
        datagrams.settimeout(0)
        listener.settimeout(0)
        return datagrams, listener
    ports = f"port {wanted} of {address} is not" if wanted else f"no port of {address} between {_LOWEST} and {_HIGHEST} is"
    msg = f"{ports} free for UDP and TCP"
    raise OSError(msg)


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody listens on, UDP or TCP."""
    datagrams, listener = bound_pair(address)
    port: int = datagrams.getsockname()[1]
    datagrams.close()
    listener.close()
    return port
