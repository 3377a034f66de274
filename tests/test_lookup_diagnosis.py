"""The sentence at the end: it names the step that was slow or failed."""

import pytest

from forwarder.lookup.diagnosis import seconds_text, sentence_for
from forwarder.lookup.ledger import Ledger
from forwarder.lookup.questions import Query, wanted_for
from forwarder.lookup.responses import Reason
from forwarder.lookup.result import AskedAgain, Result
from forwarder.lookup.settings import Libc, settings_for
from forwarder.lookup.steps import Break, Link
from tests.lab.walks import Said, Script, address_of, by_name, played, says

SEARCH = "nameserver 192.0.2.1\nsearch a.test b.test\n"


def sentence(libc: str, name: str, conf: str, script: Script) -> str:
    result, _ = played(libc, name, conf, script)
    told = sentence_for(result)
    assert told.endswith(".")
    assert "\n" not in told
    return told


def silent_on_aaaa(link: Link, query: Query) -> Said:
    del link
    return address_of(query) if query.qtype == 1 else None


class TestSlow:
    def test_the_lost_half(self) -> None:
        told = sentence("glibc", "web.test", "nameserver 192.0.2.1\n", silent_on_aaaa)
        assert told.startswith("Resolved in 15.000 s, with 6 queries: 15.000 s of it passed waiting")
        assert "waiting for AAAA web.test. from 192.0.2.1:53" in told
        assert "not this one even when it left alone" in told
        assert "no-aaaa" in told

    def test_the_half_that_was_answered_when_it_left_alone(self) -> None:
        left: list[str] = []

        def script(link: Link, query: Query) -> Said:
            left.append(link.label)
            return None if left == [link.label] * 2 else address_of(query)

        told = sentence("glibc", "web.test", "nameserver 192.0.2.1\n", script)
        assert told.startswith("Resolved in 5.00")
        assert "waiting for AAAA web.test. from 192.0.2.1:53" in told
        assert "insert_failed" in told
        assert "single-request-reopen" in told

    def test_the_lost_half_with_musl_which_has_no_such_option(self) -> None:
        told = sentence("musl", "web.test", "nameserver 192.0.2.1\n", silent_on_aaaa)
        assert told.startswith("Not resolved in 5.000 s")
        assert "single-request-reopen" not in told

    def test_servfail_is_silence_to_musl(self) -> None:
        told = sentence("musl", "web.test", "", by_name({}, "SERVFAIL"))
        assert "from 127.0.0.1:53, which said SERVFAIL: to musl that is silence" in told

    def test_a_server_that_is_not_there(self) -> None:
        told = sentence("glibc", "web.test", "nameserver 192.0.2.1\noptions timeout:1\n", lambda _, __: None)
        assert "waiting for A and AAAA web.test. from 192.0.2.1:53, which answered nothing at all" in told

    def test_a_server_that_is_silent_on_one_name(self) -> None:
        script = by_name({"host.a.test.": lambda query: None})  # noqa: ARG005 - silence needs no query
        told = sentence("glibc", "host", SEARCH, script)
        assert "waiting for A and AAAA host.a.test. from 192.0.2.1:53; it answered other queries" in told

    def test_a_slow_answer(self) -> None:
        told = sentence("glibc", "web.test", "", lambda _, query: (1.2 if query.qtype == 28 else 0.1, address_of(query)))
        assert told.startswith("Resolved in 1.200 s, with 2 queries: the slow step was 127.0.0.1:53 answering AAAA web.test. ")
        assert told.endswith("with NOERROR after 1.200 s.")


class TestFailing:
    @pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR"])
    def test_a_failure(self, rcode: str) -> None:
        told = sentence("glibc", "web.test", "", by_name({}, rcode))
        assert f"the failing step was 127.0.0.1:53 answering A web.test. with {rcode}" in told

    def test_nobody_listens(self) -> None:
        told = sentence("glibc", "web.test", "", lambda _, __: Break.NO_LISTENER)
        assert "A web.test., as 127.0.0.1:53 is not there: nothing listens on that port; start it" in told

    def test_lame(self) -> None:
        told = sentence("glibc", "web.test", "", lambda _, query: says(query, flags="QR RD"))
        assert "which glibc takes for a server that does not serve the name" in told

    def test_no_such_name(self) -> None:
        assert "no such name: all 3 names that were asked, said 192.0.2.1:53." in sentence("glibc", "host", SEARCH, by_name({}))
        assert "no such name: host.x., said 192.0.2.1:53." in sentence("musl", "host.x", SEARCH, by_name({}))

    def test_no_such_type(self) -> None:
        assert "host. exists, and has no A or AAAA." in sentence("glibc", "host.", SEARCH, by_name({}, "NOERROR"))

    def test_nxdomain_beside_an_address(self) -> None:
        told = sentence("musl", "host.", "", by_name({"A host.": address_of}))
        assert "answering AAAA host. with NXDOMAIN although the name has A" in told

    def test_unreadable(self) -> None:
        told = sentence("glibc", "host.", "", lambda _, query: address_of(query)[:-1])
        assert "answering A host. unreadably (RDATA runs past the end)" in told


def test_a_reason_that_was_learnt_afterwards() -> None:
    result, _ = played("glibc", "web.test", "", by_name({}, "SERVFAIL"))
    one = result.ledger.exchanges[0]
    result.asked_again.append(AskedAgain(one.query, one.link.server, 2, 0.001, (Reason(22, "all down"),)))
    assert "with SERVFAIL, EDE 22 (no reachable authority: all down)." in sentence_for(result)


def test_quick_and_well() -> None:
    assert sentence("glibc", "web.test.", "", lambda _, query: address_of(query)) == "Resolved in 1.0 ms, with 2 queries."


def test_denied_names_on_the_way() -> None:
    script = by_name({"host.": address_of})
    assert "4 of them were for names that do not exist; host. with its final dot" in sentence("glibc", "host", SEARCH, script)


def test_nobody_was_asked() -> None:
    result = Result(wanted_for("a$b", None), settings_for("", Libc.GLIBC), Ledger(), refusal="it is no host name")
    assert sentence_for(result) == "Nobody was asked: it is no host name."
    assert sentence_for(Result(wanted_for("a", None), settings_for("", Libc.MUSL), Ledger())) == "Nobody was asked."


def test_seconds() -> None:
    assert [seconds_text(seconds) for seconds in (0, 0.0004, 0.0123, 0.312, 5.0034)] == [
        "0.0 ms",
        "0.4 ms",
        "12 ms",
        "312 ms",
        "5.003 s",
    ]
