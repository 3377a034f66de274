"""The kernel's table of connections, from text as several kernels write it, from none, and from the kernel that runs here."""

from pathlib import Path

import pytest

from forwarder.observe.conntrack import Conntrack, conntrack, counters_in

TWO_CPUS = """\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error
0000000a  00000001 00000000 00000000 00000002 00000000 00000000 00000000 00000000 000000ff 00000010 00000000 00000000
0000000a  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000003 00000000
"""


def proc(directory: Path, *, count: str = "", most: str = "", statistics: str = "") -> Path:
    """A /proc in which these files are, as far as they are not empty."""
    files = {
        "sys/net/netfilter/nf_conntrack_count": count,
        "sys/net/netfilter/nf_conntrack_max": most,
        "net/stat/nf_conntrack": statistics,
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text:
            path.write_text(text)
    return directory


def test_counters_of_each_cpu() -> None:
    first, second = counters_in(TWO_CPUS)
    assert (first["entries"], first["insert_failed"], first["drop"]) == (10, 255, 16)
    assert (second["insert_failed"], second["early_drop"]) == (1, 3)


@pytest.mark.parametrize("text", ["", "\n", "entries drop\nnot hexadecimal\n", "entries"])
def test_counters_that_cannot_be_read(text: str) -> None:
    assert counters_in(text) == ()


def test_all_cpus_together(tmp_path: Path) -> None:
    found = conntrack(proc(tmp_path, count="12\n", most="262144\n", statistics=TWO_CPUS))
    assert found == Conntrack(entries=12, limit=262144, insert_failed=256, drop=16)


def test_a_kernel_without_the_statistics_still_has_the_table(tmp_path: Path) -> None:
    found = conntrack(proc(tmp_path, count="12\n", most="0\n"))
    assert found == Conntrack(entries=12, limit=0, insert_failed=None, drop=None)


@pytest.mark.parametrize("files", [{}, {"count": "many\n"}, {"statistics": "entries searched\nsome more\n"}])
def test_no_table_no_figures(tmp_path: Path, files: dict[str, str]) -> None:
    assert conntrack(proc(tmp_path, **files)) is None
