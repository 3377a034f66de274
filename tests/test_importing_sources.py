"""Places in a source."""

from forwarder.importing.sources import Place, quoted, source_of


def test_places_count_from_the_beginning_of_the_file() -> None:
    source = source_of("a\n  b  \nc", "f", offset=10)
    assert source.place(2) == Place(12, 12, "b")
    assert source.place(1, 3) == Place(11, 13, "a")
    assert source.place(0).text == ""


def test_complaints_name_file_and_line() -> None:
    source = source_of("a\nb", "f", offset=1)
    assert str(source.problem(2, "is wrong")) == "f: line 3: is wrong"
    assert str(source.wrong(1, "is wrong")) == "f: line 2: is wrong"


def test_words_are_quoted_and_few() -> None:
    assert quoted(["a", "b\nc"]) == '"a", "b\\nc"'
    assert quoted(["x"] * 9).endswith(" ...")
