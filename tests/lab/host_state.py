"""`forwarder node` run in a namespace, and the whole state of that host, to be compared."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.lab.daemon import PROJECT
from tests.lab.namespaces import Namespace

_PASSING = frozenset(("valid_life_time", "preferred_life_time", "stats", "stats64"))
"""What changes by itself."""


def host_state(namespace: Namespace) -> dict[str, Any]:
    """Rules, addresses and links, less counters and lifetimes."""
    return {
        "rules": namespace.feed("", "nft", "-s", "list", "ruleset"),
        "addresses": _less_passing(json.loads(namespace.feed("", "ip", "-j", "addr"))),
        "links": _less_passing(json.loads(namespace.feed("", "ip", "-j", "link"))),
        "routes": [
            line.replace(" linkdown", "")
            for family in ("-4", "-6")
            for line in namespace.feed("", "ip", family, "route", "show", "table", "all").splitlines()
            if not line.startswith("multicast")  # comes a moment after its link
        ],
    }


def addresses_on(namespace: Namespace, interface: str) -> list[str]:
    """Of both families, but for those that IPv6 makes by itself; none where there is no such interface."""
    (found,) = json.loads(namespace.run("ip", "-j", "addr", "show", "dev", interface).stdout or "[{}]")
    texts = [one["local"] for one in found.get("addr_info", [])]
    return sorted(text for text in texts if not text.startswith("fe80:"))


def node(namespace: Namespace, *words: str) -> subprocess.CompletedProcess[str]:
    """`forwarder node` with these words, to its end."""
    return namespace.run(sys.executable, "-m", "forwarder.node", *words)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """What it printed; fails where it did not go well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def config_file(**sections: Any) -> Iterator[str]:
    """A configuration with these sections, in a file; its path."""
    with tempfile.TemporaryDirectory(prefix="forwarder-node-") as directory:
        path = Path(directory) / "forwarder.yaml"
        path.write_text(yaml.safe_dump({"zones": [{"zone": ".", "upstreams": ["192.0.2.53"]}]} | sections))
        yield str(path)


CRASHING = """
import os, signal, sys
from forwarder import config_file
from forwarder.node import plan, undertaking

left = int(sys.argv[2])

def tell(line):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

undertaking.up(plan.plan_for(config_file.load(sys.argv[1]), 0, plan.Kind(sys.argv[3])), tell)
"""


def up_until_killed(namespace: Namespace, config: str, steps: int, kind: str = "nft") -> int:
    """`up`, killed as soon as it has done so many steps; the exit status: -9, or 0 where there are fewer."""
    command = namespace.command(sys.executable, "-c", CRASHING, config, str(steps), kind)
    return subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=30, check=False).returncode


def _less_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _less_passing(one) for key, one in value.items() if key not in _PASSING}
    return [_less_passing(one) for one in value] if isinstance(value, list) else value
