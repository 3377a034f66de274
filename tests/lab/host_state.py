"""`forwarder node` run in a namespace, and the whole state of that host, to be compared."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from forwarder.config_file import load
from forwarder.node import __main__, undertaking
from forwarder.node.plan import Kind, plan_for
from tests.lab.namespaces import Namespace
from tests.lab.patience import wait_for

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
    return _apart(namespace, lambda: __main__.main(words), " ".join(words))


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """What it printed; fails where it did not go well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def config_file(**sections: object) -> Iterator[str]:
    """A configuration with these sections, in a file; its path."""
    with tempfile.TemporaryDirectory(prefix="forwarder-node-") as directory:
        path = Path(directory) / "forwarder.yaml"
        path.write_text(yaml.safe_dump({"zones": [{"zone": ".", "upstreams": ["192.0.2.53"]}]} | sections))
        yield str(path)


def up_until_killed(namespace: Namespace, config: str, steps: int, kind: Kind = Kind.NFT) -> int:
    """`up`, killed as soon as it has done so many steps; its exit status: -9, or 0 where there are fewer."""
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if len(told) == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        undertaking.up(plan_for(load(config), 0, kind), tell)
        return 0

    return _apart(namespace, work, f"up, killed after {steps}").returncode


def _apart(namespace: Namespace, work: Callable[[], int], name: str) -> subprocess.CompletedProcess[str]:
    """Done by a process of its own inside: a copy of this one, which has imported everything already."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                sys.stdout, sys.stderr = out, err
                with namespace.inside():
                    status = work()
            except SystemExit as end:
                status = int(str(end.code))
            except BaseException:  # noqa: BLE001 - nothing of the copy may go on as a test
                traceback.print_exc(file=err)
            finally:
                out.flush()
                err.flush()
                os._exit(status)
        _, ended = os.waitpid(pid, 0)
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
    return subprocess.CompletedProcess(name, os.waitstatus_to_exitcode(ended), *texts)


def settled_state(namespace: Namespace) -> dict[str, Any]:
    """The state once nothing changes by itself any more: what was made just now gets carrier and addresses a little later."""
    found: list[dict[str, Any]] = []

    def is_settled() -> bool:
        found.append(host_state(namespace))
        time.sleep(0.3)
        return found[-1] == host_state(namespace)

    wait_for(is_settled, "links are as they stay")
    return found[-1]


def _less_passing(value: object) -> object:
    if isinstance(value, dict):
        return {key: _less_passing(one) for key, one in value.items() if key not in _PASSING}
    return [_less_passing(one) for one in value] if isinstance(value, list) else value
