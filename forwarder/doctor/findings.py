"""What the doctor finds: one thing that is wrong or worth knowing, with its figure, its meaning and its mend.

Pure. Always holds: an identifier is one of docs/doctor.md and means the same in every version.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether clients of this place suffer."""

    PROBLEM = "problem"
    """They do, or will: exit status 1."""
    NOTICE = "notice"
    """They do not, as far as was seen; or somebody stands before them who bears it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them."""

    identifier: str
    """Stable: `pair-lost`."""
    severity: Severity
    seen: str
    """What was seen, with its figure; one sentence without its full stop."""
    means: str
    """What that does to clients."""
    mend: str
    """A command, a setting, or what to do."""

    @property
    def is_problem(self) -> bool:
        """Whether it makes the exit status 1."""
        return self.severity is Severity.PROBLEM


def severity_of(*, is_problem: bool) -> Severity:
    """One or the other."""
    return Severity.PROBLEM if is_problem else Severity.NOTICE
