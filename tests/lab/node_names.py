"""Names as the clients of one node ask for them, the same ones in every run.

Kubernetes with `ndots:5` and three search domains: services, each external name once for each of its search expansions, pods by
address, content networks with hashed hosts, and what is looked up backwards. Names are text without the final dot.
"""

import hashlib
from collections.abc import Iterator
from itertools import islice

_SPACES = ("default", "kube-system", "monitoring", "shop", "shop-staging", "payments", "ci", "logging")
_SERVICES = ("api", "web", "redis", "postgres", "keydb", "kafka", "auth", "search", "billing", "gateway")
_HOSTS = ("www", "api", "cdn", "static", "img", "auth", "mail", "s3", "metrics", "eu-west-1")
_WORDS = ("example", "acme", "northwind", "contoso", "initech", "umbrella", "globex", "hooli", "stark", "wayne")
_ENDS = ("com", "net", "org", "io", "co.uk", "de", "dev")


def names(wanted: int) -> list[str]:
    """So many different names, about as many of each kind below; an external one brings its three search expansions."""
    found: dict[str, None] = {}
    for name in islice(_endless(), 20 * wanted):
        found[name] = None
        if len(found) == wanted:
            break
    return list(found)


def _endless() -> Iterator[str]:
    number = 0
    while True:
        digest = hashlib.sha256(number.to_bytes(4, "big")).digest()
        space = _SPACES[digest[0] % len(_SPACES)]
        service = f"{_SERVICES[digest[1] % len(_SERVICES)]}-{number % 97}"
        external = (
            f"{_HOSTS[digest[2] % len(_HOSTS)]}.{_WORDS[digest[3] % len(_WORDS)]}{number % 400}.{_ENDS[digest[4] % len(_ENDS)]}"
        )
        a, b, c, d = 10, 42 + digest[5] % 8, digest[6], digest[7]
        yield f"{service}.{space}.svc.cluster.local"
        yield external
        for search in (f"{space}.svc.cluster.local", "svc.cluster.local", "cluster.local"):
            yield f"{external}.{search}"
        yield f"{a}-{b}-{c}-{d}.{space}.pod.cluster.local"
        yield f"{d}.{c}.{b}.{a}.in-addr.arpa"
        yield ".".join(digest[:16].hex()) + ".ip6.arpa"
        yield f"d{digest[8:15].hex()}.cloudfront.net"
        yield f"e{number}.{'abcd'[digest[15] % 4]}.akamaiedge.net"
        yield f"_http._tcp.{service}.{space}.svc.cluster.local"
        number += 1
