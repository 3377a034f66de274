"""`forwarder import-corefile` as a program: output, complaints, exit status; and no file is too odd for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forwarder.errors import ConfigError, Problem
from forwarder.importing.__main__ import HELP
from forwarder.importing.command import MAX_FILE, Request, imported
from forwarder.importing.recognising import Kind
from tests.lab.daemon import PROJECT, run_to_end
from tests.lab.importing import COREFILES, config_of, yaml_of, zones

pytestmark = pytest.mark.side_by_side

COREFILE = "cluster.local:53 {\n    cache 30\n    bind 127.0.0.1\n    forward . __PILLAR__CLUSTER__DNS__\n}\n"


def test_it_fits_on_a_screen() -> None:
    done = run_to_end("import-corefile", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, HELP, "")
    lines = HELP.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_written_to_stdout_and_good_for_check(tmp_path: Path) -> None:
    """From a file and from stdin alike, but for the name."""
    file = tmp_path / "Corefile"
    file.write_text(COREFILE)
    done = run_to_end("import-corefile", str(file), "--pillar", "CLUSTER__DNS=10.96.0.11")
    assert (done.returncode, done.stderr) == (0, "")
    written = tmp_path / "new.yaml"
    written.write_text(done.stdout)
    checked = run_to_end("check", str(written))
    assert (checked.returncode, checked.stderr) == (0, "")
    command = [sys.executable, "-m", "forwarder", "import-corefile", "-", "--pillar", "CLUSTER__DNS=10.96.0.11"]
    piped = subprocess.run(command, cwd=PROJECT, input=COREFILE, capture_output=True, text=True, timeout=60, check=False)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout.splitlines()[1:] == done.stdout.splitlines()[1:]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("FILE",), '/Corefile: line 4: "__PILLAR__CLUSTER__DNS__" has no value: add --pillar CLUSTER__DNS=10.96.0.11'),
        (("FILE", "--pillar", "x"), '--pillar: "x" is no NAME=VALUE'),
        (("FILE", "--kind", "x"), "invalid choice: 'x'"),
        (("FILE", "--kind", "configmap"), "/Corefile: "),
        ((), "the following arguments are required: FILE"),
        (("/nonexistent",), "/nonexistent: cannot be read: No such file or directory"),
        (("/proc/self/mem",), "/proc/self/mem: cannot be read"),
        (("/",), "/: cannot be read: Is a directory"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "Corefile"
    file.write_text(COREFILE)
    done = run_to_end("import-corefile", *(str(file) if word == "FILE" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_reads_it() -> None:
    with Path(os.devnull).open() as nothing, subprocess.Popen(
        [sys.executable, "-m", "forwarder.importing", str(COREFILES / "node-cache-built-in.Corefile")],
        cwd=PROJECT, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"a\n\0b", "line 2: holds a NUL"),
        (b"a\n\nb\xff", "line 3: is not UTF-8"),
        (b"#" * (MAX_FILE + 1), "is larger than 1MiB"),
        (b"", "is neither a Corefile nor"),
        (b"nameserver 192.0.2.1\n", "is neither a Corefile nor"),
        (b". {\n" * 20, "line 2: a brace|line 9: braces within braces"),
        (b"kind: ConfigMap\n", "here are: none with Corefile"),
        (
            b"kind: ConfigMap\nmetadata: {name: a}\ndata: {Corefile: x}\n---\nkind: ConfigMap\ndata: {Corefile: y}\n",
            "a, one without",
        ),
        (b". {\n bind 127.0.0.1\n forward . 127.0.0.1\n}\n", r"zones\[0\].upstreams\[0\] \(as it would be written\)"),
    ],
)
def test_files_that_cannot_be_imported(octets: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "source"
    file.write_bytes(octets)
    with pytest.raises(ConfigError, match=problem):
        imported(Request(str(file), None, {}, {}))


def test_a_byte_order_mark_and_dos_line_ends(tmp_path: Path) -> None:
    config = config_of(yaml_of(tmp_path, "\ufeff" + COREFILE.replace("\n", "\r\n")))
    assert zones(config)["cluster.local"].upstreams == ("10.96.0.11:53",)


def test_lines_of_a_config_map_are_lines_of_the_file(tmp_path: Path) -> None:
    lines = "".join(f"    {line}\n" for line in COREFILE.splitlines())
    text = f"kind: ConfigMap\nmetadata: {{name: x}}\ndata:\n  Corefile: |\n{lines}"
    assert '# line 5: "cluster.local:53 {"' in yaml_of(tmp_path, text)
    with pytest.raises(ConfigError, match='source: line 8: "__PILLAR__CLUSTER__DNS__"'):
        yaml_of(tmp_path, text, values={})
    quoted = "kind: ConfigMap\ndata: {Corefile: " + repr(COREFILE).replace("'", '"') + "}\n"
    with pytest.raises(ConfigError, match=r'source: data\.Corefile: line 4: "__PILLAR__CLUSTER__DNS__"'):
        yaml_of(tmp_path, quoted, values={})


def test_the_environment_is_used(tmp_path: Path) -> None:
    text = ". {\n bind ::1\n cache\n forward . {$SERVER}\n}\n"
    assert zones(config_of(yaml_of(tmp_path, text, environment={"SERVER": "192.0.2.9"})))["."].upstreams == ("192.0.2.9:53",)


pieces = st.sampled_from(
    [
        *("{", "}", "(", ")", '"', "#", "\n", "\n", "\n  ", " ", "\\", "\x85", "\t", "*x", "&x ", "__PILLAR__X__", "{$X}"),
        *(".:53 ", "a ", "import ", "(s) ", "cache ", "forward ", "192.0.2.1 ", "30 ", "server=", "/a/", "no-resolv\n"),
        *("kind: ConfigMap\n", "data:\n", "  Corefile: |\n", "  stubDomains: '{}'\n"),
    ]
)


@settings(max_examples=60)
@given(st.lists(pieces, max_size=40).map("".join) | st.text(max_size=60), st.sampled_from([None, *Kind]))
def test_any_text_is_a_configuration_or_a_complaint(
    tmp_path_factory: pytest.TempPathFactory, text: str, kind: Kind | None
) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(text.encode(errors="replace"))
    problems: tuple[Problem, ...] = ()
    try:
        config_of(imported(Request(str(file), kind, {"X": "y"}, {"X": "{"})))
    except ConfigError as error:
        problems = error.problems
    assert all(str(problem).isprintable() for problem in problems)
