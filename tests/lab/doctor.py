"""`forwarder doctor`, run in a namespace: the program behind the command, which takes as long again to load."""

import json
import sys
from dataclasses import dataclass

from tests.lab.namespaces import Namespace


@dataclass(frozen=True, slots=True)
class Told:
    """What it said."""

    status: int
    severities: dict[str, str]
    """Identifier -> `problem`, or `notice`; the worse of several."""
    seen: dict[str, list[str]]
    """Identifier -> what was seen, each time."""
    text: str
    """All of it, for who reads a failure."""

    @property
    def problems(self) -> set[str]:
        """Identifiers."""
        return {one for one, severity in self.severities.items() if severity == "problem"}


def examined(namespace: Namespace, *arguments: str) -> Told:
    """Run it to its end."""
    done = namespace.run(sys.executable, "-m", "forwarder.doctor", "--json", *arguments)
    assert done.stderr == "", done.stderr
    findings = json.loads(done.stdout)["findings"]
    seen: dict[str, list[str]] = {}
    for one in findings:
        seen.setdefault(one["identifier"], []).append(one["seen"])
    severities = {one["identifier"]: one["severity"] for one in reversed(findings)}
    sys.stdout.write("".join(f"\n{one['severity']} {one['identifier']}: {one['seen']}" for one in findings))
    return Told(done.returncode, severities, seen, done.stdout)
