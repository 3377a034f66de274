"""What a lookup came to."""

from tests.lab.walks import address_of, played, says


def test_answers_are_what_the_caller_is_given() -> None:
    result, _ = played("glibc", "host.", "", lambda _, query: address_of(query))
    assert result.is_resolved
    assert [one.query.qtype for one in result.answers] == [1, 28]
    assert all(one in result.ledger.exchanges for one in result.answers)


def test_records_of_another_type_are_no_answer() -> None:
    result, _ = played("glibc", "host.", "", lambda _, query: says(query, "NOERROR", "@ 60 IN TXT text"))
    assert not result.is_resolved


def test_what_musl_throws_away_is_no_answer() -> None:
    result, _ = played("musl", "host.", "", lambda _, query: address_of(query) if query.qtype == 1 else None)
    assert not result.is_resolved
    assert result.seconds == 5.0
