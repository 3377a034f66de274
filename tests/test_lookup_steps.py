"""The words between resolver and network: what makes two links one, and that a break can be told."""

from forwarder.lookup.steps import Break, Kind, Link


def test_a_link_is_its_label_kind_and_server() -> None:
    assert Link("1", Kind.FREE, "192.0.2.1:53") == Link("1", Kind.FREE, "192.0.2.1:53")
    assert Link("1", Kind.FREE, "192.0.2.1:53") != Link("1", Kind.FREE, "192.0.2.2:53")


def test_each_break_finishes_a_sentence_about_the_server() -> None:
    assert all(one.value.split()[0] in {"is", "reset", "closed", "cannot", "sent"} for one in Break)
