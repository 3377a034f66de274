"""A lookup written down: how each exchange ends, and what counts as a wait."""

from forwarder.lookup.ledger import End, Entry, Exchange, Ledger, Remark, Wait
from forwarder.lookup.questions import Query, query_for
from forwarder.lookup.settings import Libc, settings_for
from forwarder.lookup.steps import Arrived, Break, Broken, Close, GiveUp, Kind, Link, Note, Send
from tests.lab.walks import says

HERE = Link("1", Kind.FREE, "192.0.2.1:53")
THERE = Link("1", Kind.FREE, "192.0.2.2:53")


def query(qtype: int = 1, identity: int = 1) -> Query:
    return query_for(b"\3www\4test\0", qtype, identity, settings_for("", Libc.MUSL))


def test_an_answer_ends_the_exchange_it_belongs_to() -> None:
    told: list[Entry] = []
    ledger = Ledger(told.append)
    a, aaaa = query(1, 1), query(28, 2)
    ledger.did(Send(HERE, (a, aaaa)), 10.0)
    ledger.saw(Arrived(10.5, HERE, says(aaaa)))
    first, second = ledger.exchanges
    assert (first.end, second.end, second.seconds) == (End.PENDING, End.ANSWERED, 0.5)
    assert told == [second]


def test_what_answers_nothing_is_remarked() -> None:
    ledger = Ledger()
    ledger.did(Send(HERE, (query(),)), 1.0)
    for message in (says(query(identity=7)), b"short", query().message):
        ledger.saw(Arrived(1.5, HERE, message))
    assert [type(entry) for entry in ledger.entries] == [Exchange, Remark, Remark, Remark]
    assert ledger.exchanges[0].end is End.PENDING


def test_a_late_answer_counts_for_the_last_time_it_was_asked() -> None:
    ledger = Ledger()
    ledger.did(Send(HERE, (query(),)), 1.0)
    ledger.did(GiveUp((query(),), 1.0, (HERE.server,), "asks again"), 6.0)
    ledger.did(Send(HERE, (query(),)), 6.0)
    ledger.saw(Arrived(6.1, HERE, says(query())))
    assert [one.end for one in ledger.exchanges] == [End.SILENT, End.ANSWERED]
    assert [(wait.begun, wait.seconds) for wait in ledger.waits] == [(1.0, 5.0)]


def test_another_server_was_enough() -> None:
    ledger = Ledger()
    ledger.did(Send(HERE, (query(),)), 1.0)
    ledger.did(Send(THERE, (query(),)), 1.0)
    ledger.saw(Arrived(1.1, THERE, says(query())))
    ledger.did(Close(HERE), 1.2)
    assert [one.end for one in ledger.exchanges] == [End.UNUSED, End.ANSWERED]


def test_a_break_ends_all_on_that_link() -> None:
    ledger = Ledger()
    ledger.did(Send(HERE, (query(1, 1), query(28, 2))), 1.0)
    ledger.did(Send(THERE, (query(1, 1),)), 1.0)
    ledger.saw(Broken(1.1, HERE, Break.NO_LISTENER))
    assert [one.why for one in ledger.exchanges] == [Break.NO_LISTENER, Break.NO_LISTENER, None]


def test_no_time_passed_is_no_wait() -> None:
    ledger = Ledger()
    ledger.did(GiveUp((query(),), 1.0, (HERE.server,), "fails"), 1.0)
    assert ledger.waits == []


def test_the_end_leaves_nothing_pending() -> None:
    told: list[Entry] = []
    ledger = Ledger(told.append)
    ledger.did(Send(HERE, (query(),)), 1.0)
    ledger.did(Note("something"), 1.5)
    ledger.finish(3.0)
    assert [one.end for one in ledger.exchanges] == [End.SILENT]
    assert [type(entry) for entry in told] == [Remark, Exchange]
    assert not any(isinstance(entry, Wait) for entry in told)
