"""What processes take, asked of the kernel about processes that take something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forwarder.observe.processes import resident_octets, seconds_used

BUSY = "import time\nheld = bytearray(64 << 20)\nwhile time.process_time() < 0.3:\n    pass\nprint(flush=True)\ninput()"


def test_memory_and_time_of_a_process_and_what_is_left_of_it() -> None:
    before = seconds_used(os.getpid(), with_children=True)
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        resident = resident_octets(child.pid)
        assert resident is not None
        assert 64 << 20 < resident < 256 << 20
        assert 0.2 < seconds_used(child.pid) < 20
        assert seconds_used(child.pid, with_children=True) == pytest.approx(seconds_used(child.pid), abs=0.1)
        child.communicate(b"\n")
    assert resident_octets(child.pid) is None
    assert seconds_used(child.pid) == 0
    assert seconds_used(os.getpid(), with_children=True) - before > 0.2


@pytest.mark.parametrize("name", ["forwarder", "a b) c", ") R 1 2 3 (", ""])
def test_a_program_may_be_called_anything(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "7"
    directory.mkdir()
    ticks = os.sysconf("SC_CLK_TCK")
    (directory / "stat").write_text(f"7 ({name}) S 1 7 7 0 -1 4194560 1 2 3 4 {ticks} {2 * ticks} {4 * ticks} {8 * ticks} 20 0")
    assert seconds_used(7, tmp_path) == 3
    assert seconds_used(7, tmp_path, with_children=True) == 15
