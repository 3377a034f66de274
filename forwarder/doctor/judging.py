"""All checks, and their findings in the order in which they matter.

Pure. Always holds: problems come before notices; each finding once.
"""

from collections.abc import Callable, Iterator

from forwarder.doctor import about_conntrack, about_daemon, about_host, about_names, about_resolv_conf, about_servers
from forwarder.doctor.facts import Facts
from forwarder.doctor.findings import Finding
from forwarder.doctor.perspective import Perspective

CHECKS: tuple[Callable[[Perspective], Iterator[Finding]], ...] = (
    about_daemon.findings,
    about_resolv_conf.findings,
    about_servers.findings,
    about_conntrack.findings,
    about_names.findings,
    about_host.findings,
)


def judged(facts: Facts) -> list[Finding]:
    """What is wrong, then what is worth knowing."""
    place = Perspective(facts)
    found = dict.fromkeys(one for check in CHECKS for one in check(place))
    return sorted(found, key=lambda one: not one.is_problem)
