"""Whose the daemon is and what it keeps: each in a process of its own, for there is no way back."""

import json
import os
import pwd
import sys
from pathlib import Path

import pytest

from forwarder import capabilities, privileges
from forwarder.errors import ConfigError, PrivilegeError
from tests.lab.apart import PROJECT, printed
from tests.lab.needs import needs_root, needs_to_be_read_by_all
from tests.lab.status import NET_BIND_SERVICE

NET_ADMIN, DAC_OVERRIDE = 1 << 12, 1 << 1
SHOW = """
import json, os, socket, subprocess, sys
from forwarder import privileges
from tests.lab.status import capabilities_in, field_in, status_of
def shown():
    status = status_of("thread-self")
    return [field_in(status, "Uid").split(), field_in(status, "Gid").split(), capabilities_in(status)]
"""
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


class TestUser:
    def test_none_is_whoever_started_us(self) -> None:
        assert privileges.user_for(None) is None

    @pytest.mark.parametrize("setting", [str(os.geteuid()), pwd.getpwuid(os.geteuid()).pw_name])
    def test_who_we_are_already_is_no_change(self, setting: str) -> None:
        assert privileges.user_for(setting) is None

    @pytest.mark.parametrize("setting", ["nobody", "65534"])
    def test_a_name_or_a_number(self, setting: str) -> None:
        needs_root()
        entry = pwd.getpwnam("nobody")
        assert privileges.user_for(setting) == privileges.User("nobody", entry.pw_uid, entry.pw_gid, (entry.pw_gid,))

    @pytest.mark.parametrize("setting", ["nobody-of-that-name", "4294967294", "99999999999999999999"])
    def test_nobody_of_that_name_is_a_problem(self, setting: str) -> None:
        with pytest.raises(ConfigError, match=f"^user: this host has no user {setting}: make it "):
            privileges.user_for(setting)

    def test_only_root_becomes_another(self) -> None:
        needs_root()
        needs_to_be_read_by_all(PROJECT, Path(sys.executable))
        program = (
            "from forwarder import privileges\ntry:\n privileges.user_for('daemon')\nexcept Exception as error: print(error)"
        )
        expected = (
            "user: only root can become daemon, and this is uid 65534: start it as root or as that user, or leave the line out"
        )
        assert printed(program, before=AS_NOBODY) == expected


class TestBecoming:
    def test_another_user_with_what_binding_takes_and_then_less(self) -> None:
        needs_root()
        program = f"""{SHOW}
privileges.become(privileges.user_for("nobody"))
groups, before, files = os.getgroups(), shown(), os.access("/etc/shadow", os.R_OK)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forced:
    forced.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    granted = forced.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
privileges.settle()
child = subprocess.run(["grep", "Cap", "/proc/self/status"], capture_output=True, text=True, check=True).stdout.split()[1::2]
print(json.dumps([groups, before, files, granted, shown(), child]))
"""
        groups, (uids, gids, _), files, granted, (uids_after, _, after), child = json.loads(printed(program))
        assert (groups, uids, uids_after, gids) == ([65534], ["65534"] * 4, ["65534"] * 4, ["65534"] * 4)
        assert (files, granted) == (False, 64 << 20)
        assert after == {"CapInh": 0, "CapPrm": NET_BIND_SERVICE, "CapEff": NET_BIND_SERVICE, "CapBnd": 0, "CapAmb": 0}
        assert [int(mask, 16) for mask in child] == [0] * 5

    def test_later_sockets_share_a_privileged_address_with_the_first(self) -> None:
        """A reload binds more of them, and the kernel lets one user's sockets alone share."""
        needs_root()
        program = f"""{SHOW}
def bound():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.53.53.53", 53))
    return one
privileges.become(privileges.user_for("nobody"))
first = bound()
privileges.settle()
second = bound()
print("both")
"""
        assert printed(program) == "both"

    def test_root_keeps_what_files_of_others_low_ports_and_large_buffers_take(self, tmp_path: Path) -> None:
        needs_root()
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, 65534, 65534)
        program = f"""{SHOW}
privileges.become(None)
privileges.settle()
open(sys.argv[1], "w").close()
print(json.dumps(shown()))
"""
        uids, _, sets = json.loads(printed(program, str(theirs / "snapshot")))
        kept = NET_BIND_SERVICE | DAC_OVERRIDE | NET_ADMIN
        assert uids == ["0"] * 4
        assert sets == {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": 0, "CapAmb": 0}

    def test_an_ordinary_user_with_an_ambient_capability_keeps_it_to_itself(self) -> None:
        """As systemd starts a service with User= and AmbientCapabilities=."""
        needs_root()
        needs_to_be_read_by_all(PROJECT, Path(sys.executable))
        grants = ("--inh-caps=-all,+net_bind_service,+net_admin", "--ambient-caps=-all,+net_bind_service,+net_admin")
        program = f"{SHOW}privileges.become(privileges.user_for('nobody')); privileges.settle(); print(json.dumps(shown()))"
        uids, _, sets = json.loads(printed(program, before=(*AS_NOBODY, *grants)))
        assert uids == ["65534"] * 4
        assert (sets["CapPrm"], sets["CapEff"]) == (NET_BIND_SERVICE, NET_BIND_SERVICE)
        assert (sets["CapInh"], sets["CapAmb"]) == (0, 0)

    def test_what_is_permitted_takes_effect(self) -> None:
        """A program whose file has the capability as a permitted one, as in the container image, is started like this."""
        needs_root()
        program = f"""{SHOW}
from forwarder import capabilities
with capabilities.kept_by_another_user():
    os.setresuid(65534, 65534, 65534)
before = shown()
privileges.become(None)
binding = shown()
privileges.settle()
print(json.dumps([before, binding, shown()]))
"""
        (_, _, before), (_, _, binding), (uids, _, after) = json.loads(printed(program))
        assert (uids, before["CapEff"]) == (["65534"] * 4, 0)
        assert before["CapPrm"] & NET_BIND_SERVICE
        assert binding["CapEff"] == before["CapPrm"]
        assert (after["CapPrm"], after["CapEff"]) == (NET_BIND_SERVICE, NET_BIND_SERVICE)

    def test_root_that_may_not_change_says_so(self) -> None:
        needs_root()
        before = ("setpriv", "--bounding-set=-setuid,-setgid")
        program = "from forwarder import privileges\nuser = privileges.user_for('nobody')\n"
        program += "try:\n privileges.become(user)\nexcept Exception as error: print(repr(error))"
        expected = "user: cannot become nobody (Operation not permitted): give it CAP_SETUID and CAP_SETGID, or leave"
        assert expected in printed(program, before=before)


def test_a_sandbox_that_forbids_it_is_an_error_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: frozenset[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(capabilities, "bar_from_programs", lambda: None)
    monkeypatch.setattr(capabilities, "keep_only", refused)
    with pytest.raises(PrivilegeError, match=r"^privileges cannot be given up \(Operation not permitted\): .* allow them$"):
        privileges.settle()
