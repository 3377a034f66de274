"""Proves that a test which failed while the machine stood still is run again, and no other: with a pytest of its own.

A core of this machine stands still when its watcher is stopped.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.standstills import PROJECT

CONFTEST = """
from pathlib import Path
from tests.lab.measured_again import MeasuredAgain

def pytest_configure(config):
    config.pluginmanager.register(MeasuredAgain([Path(__file__).parent / "measured"]))
"""
STOP = """
    import os, signal, time
    watcher = int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[0])
    os.kill(watcher, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(watcher, signal.SIGCONT)
    time.sleep(0.1)
"""
COUNTS = """
import os
from pathlib import Path

def test_it():
    children = Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split()
    assert len(children) == {watchers}
"""
FAILS = """
from pathlib import Path

def test_it():
    runs = Path(__file__).with_suffix(".runs")
    runs.touch()
    run = runs.stat().st_size
    runs.write_text("x" * (run + 1))
    {stop}
    assert run >= {times}, "as often as this"
"""


def said_by_pytest(folder: Path) -> str:
    """What it prints, set as it is here, when it runs the tests in this folder, those below `measured` being measured."""
    (folder / "conftest.py").write_text(CONFTEST)
    settings = ["-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *settings, str(folder)]
    return subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False, timeout=60).stdout


def test_who_is_not_measured_has_no_watcher_beside_it(tmp_path: Path) -> None:
    """Before tests that are, and after them."""
    for folder, watchers in (("apart", 0), ("measured", len(os.sched_getaffinity(0))), ("pure", 0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{folder}.py").write_text(COUNTS.format(watchers=watchers))
    assert "3 passed in" in said_by_pytest(tmp_path)


@pytest.mark.parametrize(
    ("folder", "stop", "times", "runs", "outcome"),
    [
        ("measured", STOP, 0, 1, "1 passed in"),
        ("measured", STOP, 1, 2, "1 passed, 1 rerun in"),
        ("measured", STOP, 9, 3, "1 failed, 2 rerun in"),
        ("measured", "", 9, 1, "1 failed in"),
        ("pure", "", 9, 1, "1 failed in"),
    ],
    ids=["passes", "fails once", "always fails", "fails though nothing stood still", "is not measured"],
)
def test_what_is_run_again(tmp_path: Path, folder: str, stop: str, times: int, runs: int, outcome: str) -> None:
    """A test that stops a watcher, or does not, and fails so many times."""
    (tmp_path / folder).mkdir()
    file = tmp_path / folder / "test_file.py"
    file.write_text(FAILS.format(stop=stop.strip(), times=times))
    said = said_by_pytest(tmp_path)
    assert outcome in said
    assert said.count(f"RERUN {folder}/test_file.py::test_it") == runs - 1
    assert len(file.with_suffix(".runs").read_text()) == runs
