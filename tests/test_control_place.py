"""The control socket's place in the file system: who has it, who may not take it, and what is left of it."""

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from forwarder.control import protocol
from forwarder.control.place import MAX_CONVERSATIONS, adopted_place, ensure_directory, taken_place
from forwarder.errors import ControlError
from tests.lab.needs import needs_root

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forwarder" / "control.sock"


def left_by_a_dead_daemon(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))


class TestPlace:
    def test_directory_and_socket_are_made_for_us_alone_and_taken_away_again(self, path: Path) -> None:
        place = taken_place([str(path)])
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        place.leave()
        assert not path.parent.exists()

    def test_a_directory_that_was_there_stays(self, path: Path) -> None:
        path.parent.mkdir()
        taken_place([str(path)]).leave()
        assert list(path.parent.iterdir()) == []

    def test_one_for_another_user_is_made_its_own(self, path: Path) -> None:
        needs_root()
        ensure_directory(str(path), NOBODY, NOBODY)
        found = path.parent.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o700, NOBODY, NOBODY)

    def test_one_that_was_there_is_given_away_only_where_it_is_the_systems(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needs_root()
        path.parent.mkdir()
        ensure_directory(str(path), NOBODY, NOBODY)
        assert path.parent.stat().st_uid == os.geteuid()
        monkeypatch.setattr(protocol, "SYSTEM_PATH", str(path))
        ensure_directory(str(path), NOBODY, NOBODY)
        assert path.parent.stat().st_uid == NOBODY

    def test_a_link_in_its_place_is_not_followed(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        needs_root()
        (tmp_path / "precious").mkdir()
        path.parent.symlink_to(tmp_path / "precious")
        monkeypatch.setattr(protocol, "SYSTEM_PATH", str(path))
        ensure_directory(str(path), NOBODY, NOBODY)
        assert (tmp_path / "precious").stat().st_uid == os.geteuid()

    def test_where_none_can_be_made_nothing_happens(self) -> None:
        ensure_directory("/proc/nowhere/control.sock", NOBODY, NOBODY)
        assert not Path("/proc/nowhere").exists()

    def test_it_knows_whether_its_directory_was_made_for_it(self, path: Path) -> None:
        made = taken_place([str(path)])
        assert made.made_directory
        made.leave()
        path.parent.mkdir()
        found = taken_place([str(path)])
        assert not found.made_directory
        found.leave()

    def test_that_of_a_dead_daemon_is_taken_over(self, path: Path) -> None:
        left_by_a_dead_daemon(path)
        place = taken_place([str(path)])
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.connect(str(path))
        place.leave()
        assert not path.exists()

    def test_that_of_a_living_one_is_left_alone(self, path: Path) -> None:
        place = taken_place([str(path)])
        with pytest.raises(ControlError, match="belongs to another daemon that runs: write another path"):
            taken_place([str(path), str(path.with_name("second"))])
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.connect(str(path))
        place.leave()

    def test_one_that_is_too_busy_to_accept_lives(self, path: Path) -> None:
        place = taken_place([str(path)])
        with contextlib.ExitStack() as held:
            for _ in range(MAX_CONVERSATIONS + 1):
                visitor = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                visitor.setblocking(False)
                visitor.connect(str(path))
            with pytest.raises(ControlError, match="another daemon that runs"):
                taken_place([str(path)])
        place.leave()

    def test_what_is_no_socket_is_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("precious")
        with pytest.raises(ControlError, match=r"cannot be had \(it is no socket\)"):
            taken_place([str(path)])
        assert path.read_text() == "precious"

    def test_the_next_place_where_the_first_cannot_be_had(self, path: Path) -> None:
        place = taken_place(["/proc/forwarder/control.sock", str(path)])
        assert place.path == path
        place.leave()

    @pytest.mark.parametrize("made", ["/proc/forwarder/control.sock", "/nowhere/at/all", f"/proc/{'x' * 120}"])
    def test_none_is_one_line_with_the_mend(self, made: str) -> None:
        with pytest.raises(ControlError, match=r"cannot be had .*: write another path under observe\.control") as refused:
            taken_place([made])
        assert len(str(refused.value).splitlines()) == 1

    def test_not_where_others_may_put_a_socket_in_its_place(self, path: Path) -> None:
        path.parent.mkdir()
        path.parent.chmod(0o777)
        with pytest.raises(ControlError, match="others can write to its directory"):
            taken_place([str(path)])
        path.parent.chmod(0o1777)
        taken_place([str(path)]).leave()

    def test_what_somebody_put_in_our_place_is_not_taken_away(self, path: Path) -> None:
        place = taken_place([str(path)])
        path.unlink()
        second = taken_place([str(path)])
        place.leave()
        assert path.exists()
        second.leave()


class TestSuccession:
    """A successor is given the listener: the place is one, and the file stays until the last one leaves."""

    def test_it_is_not_the_successors_until_the_former_leaves(self, path: Path) -> None:
        former = taken_place([str(path)])
        successor = adopted_place([str(path)], former.listener.dup(), made_directory=True)
        assert successor is not None
        successor.leave()
        assert path.exists(), "a successor that fails took the place of the former away"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.connect(str(path))
        former.leave()
        assert not path.parent.exists()

    def test_the_former_leaves_it_where_it_is_and_the_successor_takes_it_away(self, path: Path) -> None:
        former = taken_place([str(path)])
        successor = adopted_place(["/somewhere/else", str(path)], former.listener.dup(), made_directory=former.made_directory)
        assert successor is not None
        former.is_ours, successor.is_ours = False, True
        former.leave()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.connect(str(path))
        assert not os.get_blocking(successor.listener.fileno())
        successor.leave()
        assert not path.parent.exists()

    def test_one_at_another_path_is_not_adopted(self, path: Path) -> None:
        former = taken_place([str(path)])
        assert adopted_place([str(path.with_name("other"))], former.listener, made_directory=False) is None
        former.leave()

    def test_one_whose_file_somebody_took_away_is_not_adopted(self, path: Path) -> None:
        former = taken_place([str(path)])
        path.unlink()
        assert adopted_place([str(path)], former.listener, made_directory=False) is None
        former.leave()
