"""musl's resolver: which names, when it asks again, what it believes. The tests beside the real one are in scenarios."""

import pytest

from forwarder.lookup.questions import Query
from forwarder.lookup.steps import Break, Kind, Link
from tests.lab.walks import Said, address_of, by_name, pairs, played, says

SEARCH = "nameserver 192.0.2.1\nsearch a.test b.test\n"
TWO = "nameserver 192.0.2.1\nnameserver 192.0.2.2\n"


class TestNames:
    @pytest.mark.parametrize(
        ("name", "options", "names"),
        [
            ("host", "", ["host.a.test.", "host.b.test.", "host."]),
            ("host.x", "", ["host.x."]),
            ("host.x", "options ndots:5", ["host.x.a.test.", "host.x.b.test.", "host.x."]),
            ("host.x.", "options ndots:5", ["host.x."]),
            ("h" * 30, f"search {'.'.join(['x' * 58] * 4)} b.test", [f"{'h' * 30}.b.test.", f"{'h' * 30}."]),
            ("host", "search . b.test", ["host.b.test.", "host."]),
        ],
    )
    def test_order_when_none_exists(self, name: str, options: str, names: list[str]) -> None:
        _, world = played("musl", name, f"{SEARCH}{options}\n", by_name({}))
        assert world.asked == pairs(names)

    @pytest.mark.parametrize("rcode", ["NOERROR", "SERVFAIL", "REFUSED"])
    def test_all_but_nxdomain_ends_the_walk(self, rcode: str) -> None:
        script = by_name({"host.a.test.": lambda query: says(query, rcode)})
        result, world = played("musl", "host", SEARCH, script)
        assert set(world.asked) == set(pairs(["host.a.test."]))
        assert not result.is_resolved

    def test_nxdomain_of_one_half_hides_the_other(self) -> None:
        result, world = played("musl", "host", SEARCH, by_name({"A host.a.test.": address_of}))
        assert world.asked == pairs(["host.a.test.", "host.b.test.", "host."])
        assert not result.is_resolved

    def test_other_types_have_no_search_list(self) -> None:
        assert played("musl", "host", SEARCH, by_name({}), "SRV")[1].asked == ["SRV host."]
        assert played("musl", "host", SEARCH, by_name({}), "AAAA")[1].asked[0] == "AAAA host.a.test."


class TestTimes:
    def test_silence_is_asked_twice_and_ends_after_five_seconds(self) -> None:
        result, world = played("musl", "host", SEARCH, lambda _, __: None)
        assert world.asked == pairs(["host.a.test."]) * 2
        assert [wait.seconds for wait in result.ledger.waits] == [2.5, 2.5]

    def test_attempts_share_the_time(self) -> None:
        result, world = played("musl", "host.", "options timeout:3 attempts:3\n", lambda _, __: None)
        assert world.asked == pairs(["host."]) * 3
        assert result.seconds == pytest.approx(3.0)

    def test_servfail_is_asked_again_at_once_and_then_waited_for(self) -> None:
        result, world = played("musl", "host.", "", by_name({}, "SERVFAIL"))
        assert len(world.asked) == 12
        assert result.seconds == 5.0

    def test_an_answered_half_is_not_asked_again(self) -> None:
        script = by_name({"A host.": address_of, "AAAA host.": lambda query: says(query, "REFUSED")})
        result, world = played("musl", "host.", "", script)
        assert world.asked == ["A host.", "AAAA host.", "AAAA host."]
        assert not result.is_resolved

    def test_nothing_is_asked_without_time(self) -> None:
        assert played("musl", "host.", "options timeout:0\n", by_name({}))[1].asked == []


class TestServers:
    def test_all_are_asked_at_once_and_the_first_that_knows_counts(self) -> None:
        def script(link: Link, query: Query) -> Said:
            return None if link.server == "192.0.2.1:53" else address_of(query)

        result, world = played("musl", "host.", TWO, script)
        assert len(world.sent) == 4
        assert result.is_resolved
        assert result.seconds < 0.1

    def test_a_closed_port_is_silence(self) -> None:
        _, world = played("musl", "host.", "", lambda _, __: None)
        assert {kind for _, kind, _ in world.sent} == {Kind.FREE}

    def test_truncation_goes_to_tcp_for_that_query(self) -> None:
        def script(link: Link, query: Query) -> Said:
            if link.kind is Kind.STREAM or query.qtype != 1:
                return address_of(query)
            return says(query, flags="QR RD RA TC")

        result, world = played("musl", "host.", "", script)
        assert [(kind, shown) for _, kind, shown in world.sent][2:] == [(Kind.STREAM, "A host.")]
        assert {one.query.qtype for one in result.answers} == {1, 28}

    @pytest.mark.parametrize("said", [Break.CLOSED, Break.NO_LISTENER, b"\0" * 12])
    def test_what_fails_over_tcp_ends_it(self, said: Said) -> None:
        def script(link: Link, query: Query) -> Said:
            return said if link.kind is Kind.STREAM else says(query, flags="QR RD RA TC")

        result, _ = played("musl", "host", SEARCH, script)
        assert not result.is_resolved
        assert result.seconds < 1
