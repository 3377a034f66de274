"""What a thread may do, and giving it up: each in a process of its own, for there is no way back."""

import json
import sys
from pathlib import Path

import pytest

from forwarder import capabilities
from tests.lab.apart import PROJECT, printed
from tests.lab.needs import needs_root, needs_to_be_read_by_all
from tests.lab.status import NET_BIND_SERVICE, capabilities_in, status_of

SHOW = """
import json, os, subprocess, sys
from forwarder import capabilities
from tests.lab.status import capabilities_in, field_in, status_of
def show(*more):
    print(json.dumps([capabilities_in(status_of("thread-self")), *more]))
"""
CHILD = """
child = subprocess.run(["grep", "CapEff", "/proc/self/status"], capture_output=True, text=True, check=True).stdout.split()[1]
"""


def test_permitted_is_what_the_kernel_shows() -> None:
    mask = sum(1 << number for number in capabilities.permitted())
    assert mask == capabilities_in(status_of("thread-self"))["CapPrm"]


def test_only_what_is_wanted_stays_and_no_child_inherits_it() -> None:
    needs_root()
    program = f"{SHOW}capabilities.bar_from_programs(); capabilities.keep_only(frozenset((10,))){CHILD}show(child)"
    sets, child = json.loads(printed(program))
    assert sets == {"CapInh": 0, "CapPrm": NET_BIND_SERVICE, "CapEff": NET_BIND_SERVICE, "CapBnd": 0, "CapAmb": 0}
    assert int(child, 16) == 0, "root's programs are given all that is in the bounding set"


def test_what_is_not_permitted_is_not_gained() -> None:
    needs_root()
    sets, *_ = json.loads(
        printed(f"{SHOW}capabilities.keep_only(frozenset((10,))); capabilities.keep_only(frozenset((10, 12))); show()")
    )
    assert sets["CapPrm"] == NET_BIND_SERVICE


def test_ambient_ones_end_and_stay_in_effect() -> None:
    """As systemd starts a service with AmbientCapabilities=."""
    needs_root()
    needs_to_be_read_by_all(PROJECT, Path(sys.executable))
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    before = (*user, "--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service")
    program = f"{SHOW}first = capabilities_in(status_of('self')); capabilities.bar_from_programs()\n"
    program += f"capabilities.keep_only(frozenset((10,))){CHILD}show(first, child)"
    sets, first, child = json.loads(printed(program, before=before))
    assert first["CapAmb"] == NET_BIND_SERVICE
    assert (sets["CapEff"], sets["CapPrm"]) == (NET_BIND_SERVICE, NET_BIND_SERVICE)
    assert (sets["CapAmb"], sets["CapInh"], int(child, 16)) == (0, 0, 0)
    assert sets["CapBnd"] == first["CapBnd"] != 0, "that takes CAP_SETPCAP, and is no failure"


def test_capabilities_outlive_the_end_of_being_root() -> None:
    needs_root()
    change = "os.setresuid(65534, 65534, 65534)"
    kept = f"{SHOW}\nwith capabilities.kept_by_another_user(): {change}\nshow()"
    assert json.loads(printed(kept))[0]["CapPrm"] == capabilities_in(status_of("self"))["CapPrm"]
    after = f"{SHOW}\nwith capabilities.kept_by_another_user(): pass\n{change}\nshow()"
    assert json.loads(printed(after))[0]["CapPrm"] == 0


def test_no_new_privileges() -> None:
    assert printed(f"{SHOW}capabilities.no_new_privileges(); print(field_in(status_of('self'), 'NoNewPrivs'))") == "1"


def test_what_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        capabilities.prctl(capabilities.PR_SET_KEEPCAPS, 7)
