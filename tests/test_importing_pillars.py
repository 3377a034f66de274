"""`__PILLAR__` words and their values."""

import pytest

from forwarder.errors import ConfigError
from forwarder.importing.pillars import replaced, values_of
from forwarder.importing.sources import source_of


def test_values() -> None:
    options = [
        "CLUSTER__DNS=10.96.0.11",
        "__PILLAR__LOCAL__DNS__=169.254.20.10,10.96.0.10",
        "DNS__SERVER=",
        "CLUSTER_CIDR=10.0.0.0/8",
    ]
    assert values_of(options) == {
        "CLUSTER__DNS": "10.96.0.11",
        "LOCAL__DNS": "169.254.20.10 10.96.0.10",
        "DNS__SERVER": "",
        "CLUSTER_CIDR": "10.0.0.0/8",
    }


@pytest.mark.parametrize("option", ["CLUSTER__DNS", "=x", "cluster=x", "A B=x", "A=x\ny", "A={", "A=`id`"])
def test_no_value(option: str) -> None:
    with pytest.raises(ConfigError, match=r"^--pillar: "):
        values_of([option])


def test_each_word_is_replaced_and_places_show_what_was_written() -> None:
    source = replaced(source_of("__PILLAR__A__:53 __B__C__\n# __PILLAR__X__\n__PILLAR__A__", "f"), {"A": "1", "B__C": "2"})
    assert source.text == "1:53 2\n# __PILLAR__X__\n1"
    assert source.place(1).text == "__PILLAR__A__:53 __B__C__"


def test_all_that_are_missing_are_named_with_their_option() -> None:
    with pytest.raises(ConfigError) as raised:
        replaced(source_of("__PILLAR__CLUSTER__DNS__\n__PILLAR__X__ __PILLAR__CLUSTER__DNS__", "f"), {})
    first, second = map(str, raised.value.problems)
    assert first.startswith('f: line 1: "__PILLAR__CLUSTER__DNS__" has no value: add --pillar CLUSTER__DNS=10.96.0.11 (whom')
    assert second.startswith('f: line 2: "__PILLAR__X__" has no value: add --pillar X=VALUE')
