"""Findings shown: plain words for people, or one JSON object.

Pure. Always holds: what is shown is printable ASCII, whatever stands in a file or a response.
"""

import json
from collections.abc import Sequence

from forwarder.doctor.facts import Facts, Reply
from forwarder.doctor.findings import Finding
from forwarder.doctor.perspective import Perspective, short


def as_text(facts: Facts, findings: Sequence[Finding]) -> str:
    """For people."""
    blocks = [_heading(facts)]
    blocks += [_block(one) for one in findings]
    if facts.unknown:
        lines = [f"  {what}: {why}" for what, why in facts.unknown.items()]
        blocks.append("\n".join(("not looked at, so not known to be well:", *lines)))
    problems = sum(one.is_problem for one in findings)
    notices = len(findings) - problems
    counted = ", ".join(
        f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((problems, "problem"), (notices, "notice"))
    )
    blocks.append(f"{counted}." if problems else f"Nothing is wrong that can be seen from here ({counted}).")
    return ascii_only("\n\n".join(blocks))


def _heading(facts: Facts) -> str:
    place = Perspective(facts)
    asked = [
        f"{short(one.address)}{' (this daemon)' if one in place.ours else ''}{_pace(one.plain)}" for one in place.nameservers
    ]
    lines = [f"clients here ask {', '.join(asked) or 'nobody'}, by {facts.resolv_conf}"]
    upstreams = [one for one in place.upstreams if "nameserver" not in one.roles]
    if upstreams:
        told = (f"{short(one.address)}{_pace(one.plain or ((one.tcp,) if one.tcp else ()))}" for one in upstreams)
        lines.append(f"the daemon asks {', '.join(told)}")
    return "\n".join(lines)


def _pace(replies: Sequence[Reply]) -> str:
    times = [reply.seconds for reply in replies if reply.seconds is not None]
    return f" [{1000 * min(times):.1f} ms]" if times else " [silent]"


def _block(one: Finding) -> str:
    return f"{one.severity.upper()}  {one.identifier}\n  {one.seen}.\n  {_capital(one.means)}.\n  Mend: {one.mend}."


def _capital(text: str) -> str:
    """With a capital, unless it begins with a name that has none."""
    word = text.partition(" ")[0]
    return text if word in {"glibc", "musl"} or not word.isalpha() else text[:1].upper() + text[1:]


def as_json(facts: Facts, findings: Sequence[Finding]) -> str:
    """All findings as one object; docs/doctor.md describes its members."""
    return json.dumps(
        {
            "healthy": not any(one.is_problem for one in findings),
            "resolv_conf": facts.resolv_conf,
            "nameservers": [one.address for one in Perspective(facts).nameservers],
            "findings": [
                {
                    "identifier": one.identifier,
                    "severity": str(one.severity),
                    "seen": one.seen,
                    "means": one.means,
                    "mend": one.mend,
                }
                for one in findings
            ],
            "unknown": facts.unknown,
        },
        indent=2,
    )


def ascii_only(text: str) -> str:
    """Lines of printable ASCII."""
    return "".join(one if one == "\n" or " " <= one <= "~" else ascii(one)[1:-1] for one in text)
