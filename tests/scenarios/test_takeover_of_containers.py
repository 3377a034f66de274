"""An instance that is process 1 of its container: replaced, it stays, or it would be started again and take over in turn.

Each is process 1 of a namespace of its own for processes, and they share the network and the control socket: what two pods of
one node with `hostNetwork` are to each other.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.clients import HANG
from tests.lab.instances import Instances, reload, told
from tests.lab.needs import needs_namespaces
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

CONTAINED = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


class Contained(Instances):
    """Instances each of which believes to be process 1."""

    def stop(self) -> int:
        """End the last one as its container's runtime would; its exit status."""
        return ended(self.process)


def first_of(container: subprocess.Popen[bytes]) -> int:
    """Its process 1, by the number that it has outside."""
    (pid,) = children(container.pid)
    return pid


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(container: subprocess.Popen[bytes]) -> int:
    os.kill(first_of(container), signal.SIGTERM)
    return container.wait(HANG)


@pytest.fixture
def daemon(upstream: ScriptedUpstream) -> Iterator[Contained]:
    needs_namespaces()
    with Contained(f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]\n", before=CONTAINED) as started:
        yield started


def test_the_former_waits_for_its_end_and_holds_nothing(daemon: Contained, upstream: ScriptedUpstream) -> None:
    assert told(daemon, "a.test") == ["192.0.2.1"]
    upstream.received.clear()
    former = daemon.process
    daemon.start_again()
    wait_for(lambda: "took over from pid 1" in daemon.stderr, "the second container serves")
    staying = first_of(former)
    wait_for(lambda: b"sigwait" in Path(f"/proc/{staying}/cmdline").read_bytes(), "the first one waits")
    assert children(staying) == []
    assert sum("socket:" in str(one.readlink()) for one in Path(f"/proc/{staying}/fd").iterdir()) == 0
    assert told(daemon, "a.test") == ["192.0.2.1"]
    assert upstream.received == [], "what was known was asked for again"
    assert ended(former) == 0
    assert told(daemon, "b.test") == ["192.0.2.1"]
    assert reload(daemon).returncode == 0, "the control socket is the successor's"


def test_a_successor_that_dies_leaves_the_place_to_a_container_that_is_started_again(daemon: Contained) -> None:
    former = daemon.process
    daemon.start_again()
    wait_for(lambda: "took over from pid 1" in daemon.stderr, "the second container serves")
    daemon.process.kill()  # and with it all of its container
    daemon.process.wait()
    assert ended(former) == 0
    daemon.start_again()
    assert told(daemon, "a.test") == ["192.0.2.1"]
