"""Proves that a test of real daemons which fails is run again, and no other: with a pytest of its own, set as it is here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.project import ROOT

FAILS = """
from pathlib import Path

def test_it():
    runs = Path(__file__).with_suffix(".runs")
    with runs.open("a") as file:
        file.write("x")
    assert runs.stat().st_size > {times}, "as often as this"
"""


def said_by_pytest(folder: Path) -> str:
    """What it prints when it runs the tests in this folder as if it was the project's."""
    shutil.copy(ROOT / "tests/conftest.py", folder)
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *settings, str(folder)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=60).stdout


@pytest.mark.parametrize(
    ("folder", "times", "outcome", "again"),
    [
        ("scenarios", 0, "1 passed in", 0),
        ("incidents", 1, "1 passed, 1 rerun in", 1),
        ("scenarios", 9, "1 failed, 2 rerun in", 2),
        ("pure", 9, "1 failed in", 0),
    ],
    ids=["passes", "fails once", "always fails", "is not measured"],
)
def test_what_is_run_again(tmp_path: Path, folder: str, times: int, outcome: str, again: int) -> None:
    """A test that fails so many times; what it said each time is told at the end."""
    (tmp_path / folder).mkdir()
    file = tmp_path / folder / "test_file.py"
    file.write_text(FAILS.format(times=times))
    said = said_by_pytest(tmp_path)
    assert outcome in said
    assert said.count(f"RERUN {folder}/test_file.py::test_it") == again
    assert said.count("E       AssertionError: as often as this") == min(times, again + 1)
    assert len(file.with_suffix(".runs").read_text()) == again + 1
