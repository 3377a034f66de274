"""How a host stands, and what was done to it, for people and as JSON."""

import json

from forwarder.node.blocking import Blocked
from forwarder.node.status import Status

NOTHING = "nothing to set up: every listen address is loopback or a wildcard, and no address is intercepted"


def lines_for(status: Status) -> str:
    """A line for each piece, then what is wrong, and the sentence."""
    if not status.pieces:
        return NOTHING
    width = max(len(piece.name) for piece in status.pieces)
    lines = [f"{piece.name:{width}}  {piece.state}{f': {piece.remark}' if piece.remark else ''}" for piece in status.pieces]
    for one in status.intercepted:
        if one.seconds is None:
            lines.append(f"{one.address} is answered by the cluster: no living daemon of ours renews the takeover")
        else:
            lines.append(f"{one.address} is answered here, for {one.seconds:.0f} s more unless the daemon renews it")
    lines += map(_blocked_text, status.blocked)
    lines.append("complete" if status.is_complete else "incomplete")
    return "\n".join(lines)


def warnings_for(status: Status) -> list[str]:
    """What `up` could not make well."""
    pieces = [f"{one.name}: {one.state}{f', {one.remark}' if one.remark else ''}" for one in status.pieces if not one.is_well]
    return pieces + [_blocked_text(one) for one in status.blocked]


def _blocked_text(blocked: Blocked) -> str:
    return f"blocked by {blocked.rule}: {'; '.join(blocked.traffic)}. Accept it there, in front of that"


def as_json(status: Status) -> str:
    """All of it as one object; docs/node.md describes its members."""
    return json.dumps(
        {
            "complete": status.is_complete,
            "pieces": [
                {"name": piece.name, "state": str(piece.state), "remark": piece.remark, "well": piece.is_well}
                for piece in status.pieces
            ],
            "intercepted": [
                {"address": one.address, "alive": one.seconds is not None, "seconds": one.seconds} for one in status.intercepted
            ],
            "blocked": [{"rule": one.rule, "traffic": list(one.traffic)} for one in status.blocked],
        },
        indent=2,
    )
