"""The file of the snapshot: whole or as it was before, read with suspicion; and who holds the memory when."""

import os
import stat
from pathlib import Path

import pytest

from forwarder import link
from forwarder.snapshot_file import File, warnings_for
from tests.lab.needs import needs_root

LIMIT = 1 << 20
OCTETS = bytes(range(256)) * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot"


def filled(path: Path, octets: bytes = OCTETS) -> File:
    file = File(str(path), LIMIT)
    os.pwrite(file.memory, octets, 0)
    return file


def save(file: File, *sizes: int) -> int:
    """So many octets of its memory, each time from the beginning."""
    return file.save([link.Part(file.memory, size) for size in sizes])


class TestFile:
    def test_what_was_saved_is_loaded(self, path: Path) -> None:
        assert save(filled(path), len(OCTETS)) == len(OCTETS)
        assert path.read_bytes() == OCTETS
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [left.name for left in path.parent.iterdir()] == ["snapshot"]
        file = File(str(path), LIMIT)
        for _ in range(2):
            assert file.load() == len(OCTETS)
            assert os.pread(file.memory, LIMIT, 0) == OCTETS

    def test_only_what_belongs_to_it_is_saved(self, path: Path) -> None:
        """The memory may be longer, from a larger snapshot before."""
        save(filled(path), 10)
        assert path.read_bytes() == OCTETS[:10]

    def test_parts_stand_one_behind_the_other(self, path: Path) -> None:
        """Each from the memory of one worker."""
        file, other = filled(path), filled(path, b"of another worker")
        parts = [link.Part(file.memory, len(OCTETS)), link.Part(other.memory, 17), link.Part(file.memory, 3)]
        assert file.save(parts) == len(OCTETS) + 20
        assert path.read_bytes() == OCTETS + b"of another worker" + OCTETS[:3]

    def test_a_part_that_fails_leaves_the_file_as_it_was(self, path: Path) -> None:
        path.write_bytes(b"before")
        with pytest.raises(OSError, match="shorter"):
            save(filled(path), len(OCTETS), len(OCTETS) + 1)
        assert path.read_bytes() == b"before"
        assert [left.name for left in path.parent.iterdir()] == ["snapshot"]

    def test_memory_is_given_back(self, path: Path) -> None:
        file = filled(path)
        file.forget()
        assert os.fstat(file.memory).st_blocks == 0

    def test_no_file_is_no_problem(self, path: Path) -> None:
        assert File(str(path), LIMIT).load() == 0

    def test_what_a_crash_left_beside_it_is_in_nobodys_way(self, path: Path) -> None:
        beside = path.with_name("snapshot.tmp")
        beside.symlink_to(path.with_name("elsewhere"))
        save(filled(path), len(OCTETS))
        assert path.read_bytes() == OCTETS
        assert [left.name for left in path.parent.iterdir()] == ["snapshot"]

    def test_a_write_that_fails_leaves_the_file_as_it_was(self, path: Path) -> None:
        path.write_bytes(b"before")
        with pytest.raises(OSError, match="shorter"):
            save(filled(path), len(OCTETS) + 1)
        assert path.read_bytes() == b"before"
        assert [left.name for left in path.parent.iterdir()] == ["snapshot"]

    def test_too_large_is_refused_before_it_is_read(self, path: Path) -> None:
        path.write_bytes(bytes(LIMIT + 1))
        file = File(str(path), LIMIT)
        with pytest.raises(OSError, match=f"{LIMIT + 1} octets are more than cache.memory"):
            file.load()
        assert os.fstat(file.memory).st_blocks == 0

    def test_a_pipe_is_not_waited_for(self, path: Path) -> None:
        os.mkfifo(path)
        with pytest.raises(OSError, match="not a regular file"):
            File(str(path), LIMIT).load()

    def test_a_directory(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(OSError, match="not a regular file"):
            File(str(path), LIMIT).load()

    def test_empty(self, path: Path) -> None:
        path.touch()
        with pytest.raises(OSError, match="empty"):
            File(str(path), LIMIT).load()

    def test_one_that_anybody_may_write(self, path: Path) -> None:
        path.write_bytes(OCTETS)
        path.chmod(0o602)
        with pytest.raises(OSError, match="others"):
            File(str(path), LIMIT).load()

    def test_one_that_belongs_to_somebody_else(self, path: Path) -> None:
        needs_root()
        path.write_bytes(OCTETS)
        os.chown(path, 12345, 12345)
        with pytest.raises(OSError, match="others"):
            File(str(path), LIMIT).load()


class TestWarnings:
    def test_nothing_to_warn_of(self, path: Path) -> None:
        assert list(warnings_for(None)) == []
        assert list(warnings_for(str(path))) == []

    def test_no_directory(self, path: Path) -> None:
        (line,) = warnings_for(str(path / "snapshot"))
        assert line == f"cache.snapshot: {path} is no directory: make it, or the cache is not kept"

    def test_a_directory_in_its_place(self, path: Path) -> None:
        path.mkdir()
        (line,) = warnings_for(str(path))
        assert line.startswith(f"cache.snapshot: {path} is a directory: name a file in it")

    def test_a_directory_that_cannot_be_written_to(self) -> None:
        (line,) = warnings_for("/proc/self/snapshot")
        assert "cannot be written to" in line
