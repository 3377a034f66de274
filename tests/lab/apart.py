"""A test's own words run in a process of their own: for what a process can do to itself only once."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SECONDS = 30


def printed(program: str, *arguments: str, before: Sequence[str] = ()) -> str:
    """What this program (Python, with the project at hand) prints; it must succeed. `before`: what changes what it may do."""
    command = [*before, sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
