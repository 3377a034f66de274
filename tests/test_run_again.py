"""Proves that a test of real daemons which fails is run again, and no other: with a pytest of its own, set as it is here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.project import ROOT

pytestmark = pytest.mark.side_by_side

FAILS = """
from pathlib import Path

def test_it():
    runs = Path(__file__).with_suffix(".runs")
    with runs.open("a") as file:
        file.write("x")
    assert runs.stat().st_size > {times}, "as often as this"
"""
ALONE: tuple[str, ...] = ()
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile")


def said_by_pytest(folder: Path, *how: str) -> str:
    """What it prints when it runs the tests in this folder as if it was the project's."""
    shutil.copy(ROOT / "tests/conftest.py", folder)
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *settings, *how, str(folder)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=60).stdout


@pytest.mark.parametrize(
    ("folder", "times", "outcome", "again", "how"),
    [
        ("scenarios", 0, "1 passed in", 0, ALONE),
        ("incidents", 1, "1 passed, 1 rerun in", 1, ALONE),
        ("scenarios", 9, "1 failed, 2 rerun in", 2, ALONE),
        ("pure", 9, "1 failed in", 0, ALONE),
        ("incidents", 1, "1 passed, 1 rerun in", 1, SIDE_BY_SIDE),
    ],
    ids=["passes", "fails once", "always fails", "is not measured", "fails once beside others"],
)
def test_what_is_run_again(tmp_path: Path, folder: str, times: int, outcome: str, again: int, how: tuple[str, ...]) -> None:
    """A test that fails so many times; what it said each time is told at the end."""
    (tmp_path / folder).mkdir()
    file = tmp_path / folder / "test_file.py"
    file.write_text(FAILS.format(times=times))
    said = said_by_pytest(tmp_path, *how)
    assert outcome in said
    assert said.count(f"RERUN {folder}/test_file.py::test_it") == again
    assert said.count("E       AssertionError: as often as this") == min(times, again + 1)
    assert len(file.with_suffix(".runs").read_text()) == again + 1


def test_side_by_side_too_only_so_many_are_run_again_in_all(tmp_path: Path) -> None:
    """Not so many in each of the processes."""
    (tmp_path / "scenarios").mkdir()
    for number in range(2):
        (tmp_path / "scenarios" / f"test_file{number}.py").write_text(FAILS.format(times=9))
    assert "2 failed, 2 rerun in" in said_by_pytest(tmp_path, *SIDE_BY_SIDE, "--max-suite-reruns=2")
