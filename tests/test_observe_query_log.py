"""The query log: lines that any reader understands, a file that rotation may take away, and nobody who waits for it."""

import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.observe.notes import MOST_QUESTION, SLOW_MICROSECONDS, Note
from forwarder.observe.query_log import MOST_WAITING, QueryLog, lines_of, warnings_for
from tests.lab.clients import HANG
from tests.lab.patience import wait_for

ANSWERS, FAILURE, UPSTREAM = (counters.SOURCES.index(name) for name in ("answers", "failure", "upstream"))
CLIENT = bytes((192, 0, 2, 7))
QUESTION = b"\1a\4TEST\0\0\x1c\0\1"


def note(
    source: int = ANSWERS, rcode: int = 0, microseconds: int = 9, client: bytes = CLIENT, question: bytes = QUESTION
) -> Note:
    return Note(1.5, question, False, source, rcode, microseconds, 1, client)


def test_a_line_says_it_all() -> None:
    noted = Note(1_700_000_000.25, QUESTION, True, UPSTREAM, 3, 1234, 5, bytes(15) + b"\1", "192.0.2.53:53", 2)
    (line,) = lines_of([noted], "all")
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250000Z",
        "client": "::1",
        "question": {"name": "a.TEST.", "type": "AAAA", "class": "IN"},
        "transport": "tcp",
        "rcode": "NXDOMAIN",
        "source": "upstream",
        "microseconds": 1234,
        "upstream": "192.0.2.53:53",
        "attempts": 2,
        "stands_for": 5,
    }


@pytest.mark.parametrize(("mode", "expected"), [("off", []), ("errors", [2, 3]), ("slow", [1, 2, 3]), ("all", [0, 1, 2, 3])])
def test_each_mode_has_more_than_the_one_before(mode: str, expected: list[int]) -> None:
    notes = [note(rcode=3), note(UPSTREAM, 0, SLOW_MICROSECONDS), note(FAILURE, 2), note(FAILURE, 3)]
    assert lines_of(notes, mode) == [line for number in expected for line in lines_of([notes[number]], "all")]


@pytest.mark.parametrize("client", [b"", b"\1", bytes(15)])
def test_a_note_that_names_nobody_is_not_for_the_log(client: bytes) -> None:
    assert lines_of([note(client=client)], "all") == []


def test_types_and_classes_without_a_name_are_numbers() -> None:
    (line,) = lines_of([note(question=b"\1a\0\xff\0\0\x4d")], "all")
    assert json.loads(line)["question"] == {"name": "a.", "type": "TYPE65280", "class": "CLASS77"}


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=8), st.binary(max_size=8))
def test_whatever_was_asked_is_one_line_of_printable_characters(labels: list[bytes], behind: bytes) -> None:
    name = b"".join(bytes((len(label),)) + label for label in labels)[:254]
    for line in lines_of([note(question=(name + b"\0" + behind)[:MOST_QUESTION])], "all"):
        assert all(0x20 <= octet < 0x7F for octet in line[:-1])
        assert json.loads(line)["client"] == "192.0.2.7"


class Written:
    """A log, what it said, and its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.log = QueryLog(str(path), self.said.append)

    def put(self, *lines: bytes) -> None:
        """Hand over lines, and see that they were looked at."""
        self.log.put(list(lines))

    def has(self, text: str) -> None:
        """Wait until this is all that the file holds."""
        wait_for(lambda: self.path.exists() and self.path.read_text() == text, f"{text!r} in {self.path}")


@contextmanager
def logging_to(path: Path) -> Iterator[Written]:
    written = Written(path)
    yield written
    written.log.end()
    written.log.wait(HANG)


def test_the_file_is_there_before_the_first_line_and_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with logging_to(tmp_path / "log") as written:
            written.has("")
            assert stat.S_IMODE(written.path.stat().st_mode) == 0o600
            written.put(b"1\n", b"2\n")
            written.has("1\n2\n")
        assert written.said == []
    finally:
        os.umask(before)


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("0\n")
    with logging_to(tmp_path / "log") as written:
        written.put(b"1\n")
    assert written.path.read_text() == "0\n1\n", "and the end waits for what was put"


def test_a_file_that_was_renamed_gets_no_more_and_another_is_made(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as written:
        written.put(b"1\n")
        written.has("1\n")
        written.path.rename(tmp_path / "log.1")
        lines = iter(range(2, 1000))

        def is_made_anew() -> bool:
            written.put(b"%d\n" % next(lines))
            return written.path.exists()

        wait_for(is_made_anew, "another file")
        rotated = (tmp_path / "log.1").read_text()
    assert rotated + written.path.read_text() == "".join(f"{number}\n" for number in range(1, next(lines)))
    assert (written.log.lost, written.said) == (0, [])


def test_a_full_disk_is_said_once_and_counted() -> None:
    with logging_to(Path("/dev/full")) as written:
        for _ in range(3):
            written.put(b"1\n", b"2\n")
        wait_for(lambda: written.log.lost == 6, "six lost lines")
    (said,) = written.said
    assert said == "query log: /dev/full cannot be written (No space left on device): lines are dropped until it can"


def test_a_line_that_broke_off_is_ended_and_the_next_is_whole(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with logging_to(tmp_path / "log") as written:
        written.put(b"whole\n")
        written.has("whole\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            written.put(b"broken off\n", b"lost\n")
            wait_for(lambda: written.log.lost == 2, "two lost lines")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        written.put(b"next\n")
        written.has("whole\nbrok\nnext\n")


def test_a_directory_that_comes_later_is_found(tmp_path: Path) -> None:
    with logging_to(tmp_path / "later" / "log") as written:
        written.put(b"1\n")
        wait_for(lambda: written.log.lost == 1, "a lost line")
        (tmp_path / "later").mkdir()
        written.put(b"2\n")
        written.has("2\n")
    assert [line.split(": ", 1)[1] for line in written.said] == [
        f"{written.path} cannot be written (No such file or directory): lines are dropped until it can",
        f"{written.path} is written again",
    ]


def test_nobody_waits_for_a_reader_that_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with logging_to(path) as written:
            batches = MOST_WAITING + 30
            for _ in range(batches):
                written.put(b"x" * 8191 + b"\n")
            assert written.log.lost > 0
            (said,) = written.said
            assert said == f"query log: {path} takes lines more slowly than they come: those that do not fit are dropped"
            os.set_blocking(reader, True)
            read = 0
            while read < (batches - written.log.lost) * 8192:
                read += len(os.read(reader, 1 << 20))
            written.put(b"y\n")
            assert os.read(reader, 9) == b"y\n"
            assert written.said[1:] == [f"query log: {path} keeps up again"]
    finally:
        os.close(reader)


def test_a_reader_that_does_not_read_holds_up_no_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    written = Written(path)
    for _ in range(MOST_WAITING + 30):
        written.put(b"x" * 8191 + b"\n")
    written.log.end()
    written.log.wait(0.01)
    os.close(reader)
    written.log.wait(HANG)
    assert written.log.lost > MOST_WAITING, "a broken pipe loses all that it did not hold yet"


class TestWarnings:
    def test_none_where_nothing_is_wrong(self, tmp_path: Path) -> None:
        assert list(warnings_for(None)) == []
        assert list(warnings_for(str(tmp_path / "log"))) == []

    @pytest.mark.parametrize(("path", "mend"), [("", "name a file in it"), ("none/log", "is no directory: make it")])
    def test_what_keeps_it_from_being_written(self, tmp_path: Path, path: str, mend: str) -> None:
        (sentence,) = warnings_for(str(tmp_path / path))
        assert sentence.startswith(f"observe.query_log_file: {tmp_path}")
        assert mend in sentence
