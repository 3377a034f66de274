"""What becomes of plugins and options that have no setting of ours: a sentence for each.

Always holds: there is a sentence for every word, the known ones their own.
"""

PLUGINS = {
    "errors": "failures are counted at /metrics, not logged one by one",
    "log": "queries are counted at /metrics, not logged",
    "health": "/health answers at observe.http, it has no address of its own",
    "ready": "/ready answers at observe.http, it has no address of its own",
    "reload": "a change of the configuration is always taken over by itself",
    "loop": "loops are always looked for, and an upstream that leads back is left out",
    "loadbalance": "addresses leave in the order in which the upstream gave them",
    "autopath": "search paths are answered from what is known not to exist (cluster_domain), the client walks them itself",
    "acl": "who is answered is written under listen.allow, for all zones",
    "any": "ANY is always answered with HINFO (RFC 8482)",
    "bufsize": "the size of datagrams is listen.max_udp_size, for all zones, 512 to 4096",
    "cancel": "how long a client waits at most is answering.deadline",
    "chaos": "queries of class CH are refused",
    "debug": "there is no such mode",
    "dns64": "is not available: clients that have IPv6 alone must get AAAA records in another way",
    "dnssec": "nothing is signed here: signatures of the upstream are passed on",
    "dnstap": "is not available: queries are counted at /metrics",
    "erratic": "is not available: upstreams are always asked truthfully",
    "header": "flags of responses cannot be set",
    "import": "files that are named here were not read: import them too, and put the zones together",
    "kubernetes": "names are not taken from the Kubernetes API: the cluster's DNS is asked for them",
    "k8s_external": "names are not taken from the Kubernetes API: give their zone an upstream that knows them",
    "local": "local names are asked for like any other: pin them under hosts.records",
    "metadata": "there is none to pass on",
    "minimal": "only what answers the question is kept of a response anyway",
    "multisocket": "several processes serve one address with listen.workers",
    "nsid": "servers are not told apart by NSID",
    "pprof": "is not available",
    "rewrite": "questions are asked as they came: rewritten names would have to be pinned, or resolved upstream",
    "root": "paths are written whole",
    "template": "answers are not made up: hosts.records pins names, drop_aaaa: true answers AAAA with NODATA",
    "timeouts": "TCP clients that are silent are left after listen.tcp_idle_timeout",
    "tls": "clients are served over UDP and TCP, not over TLS",
    "trace": "is not available: queries are counted at /metrics",
    "transfer": "zone transfers are refused",
    "view": "all clients are answered alike",
    "whoami": "is not available: every name is asked upstream",
    **dict.fromkeys(
        ("auto", "azure", "clouddns", "etcd", "file", "nomad", "on", "route53", "secondary", "sign"),
        "names are not taken from there: give their zone an upstream that knows them",
    ),
}
"""Plugin -> what holds here instead."""

SERVER_WIDE = frozenset(
    (
        *("any", "bufsize", "chaos", "debug", "dnstap", "errors", "health", "import", "log", "loop", "multisocket", "nsid"),
        *("pprof", "ready", "reload", "root", "timeouts", "tls", "trace", "transfer"),
    )
)
"""Plugins that are about the server, whatever zone they stand in."""

FORWARD = {
    "expire": "connections are kept while they are used, and closed when idle",
    "max_age": "connections are closed after a while anyway",
    "max_idle_conns": "there are at most a few connections to an upstream",
    "max_fails": "an upstream that is silent is probed, and asked last while it does not answer",
    "fail_timeout": "an upstream that is silent is probed, and asked last while it does not answer",
    "health_check": "an upstream is probed only when it is silent",
    "health_check_non_recursive": "an upstream is probed only when it is silent",
    "max_concurrent": "how many questions are in progress at most is answering.max_in_progress, for all zones",
    "max_connect_attempts": "a question costs at most 6 upstream queries",
    "read_timeout": "an upstream is given as long as its answers usually take, a client waits answering.deadline at most",
    "failfast_all_unhealthy_upstreams": "upstreams that are down are asked last, and stale answers stand in",
    "failover": "the next upstream is asked after every failure: SERVFAIL, REFUSED and silence",
    "next": "an upstream's NXDOMAIN is the answer: others are asked after failures only",
    "next_on_nodata": "an upstream's empty answer is the answer: others are asked after failures only",
    "doh_method": "HTTPS is not available towards upstreams",
    "source_address": "the kernel chooses the source address",
    "resolver": "upstreams are addresses, so nothing needs to be resolved at the start",
    "spray": "upstreams that are down are asked last, and stale answers stand in",
}
"""Option of forward or proxy -> what holds here instead."""

CACHE = {
    "keepttl": "the TTL a client sees is what is left of it",
    "serve_stale_policy": "a negative answer is never stale, so a positive one is what stands in",
}
"""Option of cache -> what holds here instead."""


def for_plugin(name: str) -> str:
    """What becomes of a plugin."""
    return PLUGINS.get(name, "is not known here, and was not carried over")


def for_option(plugin: str, name: str) -> str:
    """What becomes of an option of a plugin that is carried over otherwise."""
    known = {"forward": FORWARD, "proxy": FORWARD, "cache": CACHE}.get(plugin, {})
    return known.get(name, f"an option of {plugin} that is not known here, and was not carried over")
