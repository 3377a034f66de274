"""Every error of our own, and what becomes of it.

    ForwarderError
    ├── WireError       bytes that are no DNS message: dropped or FORMERR (a client's), the
    │                   attempt ends (an upstream's); never leaves the process
    ├── ConfigError     command line, configuration or a file it names is wrong: all problems
    │                   printed, exit status 2
    ├── ListenError     a configured address cannot be bound: exit status 1
    ├── PrivilegeError  what the daemon should give up it cannot: exit status 1
    ├── SnapshotError   octets that are no snapshot of a cache, or a damaged one: said in one
    │                   line, the cache begins empty
    ├── ControlError    the control socket cannot be had: said in one line, DNS goes on; the
    │                   daemon cannot be asked, or will not: exit status 1
    └── NodeError       the host cannot be given what it needs, or cannot be rid of it: exit
                        status 1

Nothing here imports anything; everything may import this.
"""

from dataclasses import dataclass


class ForwarderError(Exception):
    """The root: what we raise on purpose. Anything else that surfaces is a defect."""


class WireError(ForwarderError):
    """Bytes from the network are not the DNS message they should be (RFC 1035 section 4)."""

    def __init__(self, what: str, rcode: int | None = None) -> None:
        super().__init__(what)
        self.rcode = rcode
        """The RCODE a client is told, or None: silence."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the configuration, and the mend."""

    where: str
    """The file and the path in it: `config.yaml: zones[1].upstreams[0]`."""
    what: str
    """What is wrong and what to write instead, in one sentence."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(ForwarderError):
    """The configuration is wrong: every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class ListenError(ForwarderError):
    """An address cannot be listened on: taken, not local, or not permitted."""


class PrivilegeError(ForwarderError):
    """Capabilities cannot be given up: the sentence says why and what to do."""


class SnapshotError(ForwarderError):
    """What should be a snapshot of the cache is not one: the sentence says what it is instead, without its subject."""


class ControlError(ForwarderError):
    """There is no control socket, or what was asked for there was not done: the sentence says why and what to do."""


class NodeError(ForwarderError):
    """An interface, address or firewall rule of this host cannot be as it should: the sentence says which, why and the mend."""
