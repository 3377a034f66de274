"""A Dockerfile, read: its stages, and in each the instructions in their order.

Reads what ours consists of: comments, continued lines, flags (`--from=`, `--mount=`), words or a JSON list. Never runs any.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instruction:
    """One of them."""

    name: str
    """In capitals: `RUN`."""
    flags: dict[str, str]
    """`--mount=type=bind` -> `{"mount": "type=bind"}`."""
    rest: str
    """All behind the flags, continued lines joined."""

    def words(self) -> list[str]:
        """The words of a JSON list, or those between spaces."""
        if self.rest.startswith("["):
            found: list[str] = json.loads(self.rest)
            return found
        return self.rest.split()


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between one FROM and the next."""

    name: str
    """Behind AS, or empty."""
    instructions: tuple[Instruction, ...]

    def all_of(self, name: str) -> list[Instruction]:
        """Those of one kind."""
        return [one for one in self.instructions if one.name == name]

    def last(self, name: str) -> Instruction:
        """The one that counts where several contradict each other."""
        return self.all_of(name)[-1]


def stages(text: str) -> list[Stage]:
    """All of them; what stands before the first FROM is left out."""
    found: list[tuple[str, list[Instruction]]] = []
    for one in _instructions(text):
        if one.name == "FROM":
            words = one.rest.split()
            found.append((words[2] if len(words) > 2 else "", []))
        elif found:
            found[-1][1].append(one)
    return [Stage(name, tuple(instructions)) for name, instructions in found]


def _instructions(text: str) -> Iterator[Instruction]:
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in re.sub(r"[ \t]*\\\n[ \t]*", " ", lines).splitlines():
        name, _, rest = line.strip().partition(" ")
        flags = {}
        while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Instruction(name.upper(), flags, rest.strip())
