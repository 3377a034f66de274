"""glibc's resolver: which name and which server come next, and when. The tests beside the real one are in scenarios."""

import pytest

from forwarder.lookup.questions import Query
from forwarder.lookup.steps import Break, Kind, Link
from tests.lab.walks import Said, address_of, by_name, pairs, played, says

SEARCH = "nameserver 192.0.2.1\nsearch a.test b.test\n"
TWO = "nameserver 192.0.2.1\nnameserver 192.0.2.2\n"


def silent(query: Query) -> None:
    del query


class TestNames:
    @pytest.mark.parametrize(
        ("name", "options", "names"),
        [
            ("host", "", ["host.a.test.", "host.b.test.", "host."]),
            ("host.x", "", ["host.x.", "host.x.a.test.", "host.x.b.test."]),
            ("host.x", "options ndots:2", ["host.x.a.test.", "host.x.b.test.", "host.x."]),
            ("host.", "options ndots:5", ["host."]),
            ("host", "options ndots:0", ["host.", "host.a.test.", "host.b.test."]),
            ("host", "options no-tld-query", ["host.a.test.", "host.b.test."]),
            ("host", "search a.test .", ["host.a.test.", "host."]),
            ("host", f"search {'.'.join(['x' * 63] * 4)} b.test", ["host."]),
        ],
    )
    def test_order_when_none_exists(self, name: str, options: str, names: list[str]) -> None:
        result, world = played("glibc", name, f"{SEARCH}{options}\n", by_name({}))
        assert world.asked == pairs(names)
        assert not result.is_resolved

    @pytest.mark.parametrize(
        ("rcode", "goes_on_in_the_list"),
        [("NXDOMAIN", True), ("NOERROR", True), ("SERVFAIL", True), ("REFUSED", False), ("NOTIMP", False), ("FORMERR", False)],
    )
    def test_what_ends_the_search_list(self, rcode: str, *, goes_on_in_the_list: bool) -> None:
        script = by_name({"host.a.test.": lambda query: says(query, rcode)})
        _, world = played("glibc", "host", SEARCH, script)
        assert ("A host.b.test." in world.asked) is goes_on_in_the_list
        assert "A host." in world.asked

    def test_records_end_the_walk_even_if_they_are_an_alias_alone(self) -> None:
        script = by_name({"host.a.test.": lambda query: says(query, "NOERROR", "@ 60 IN CNAME gone.test.")})
        result, world = played("glibc", "host", SEARCH, script)
        assert world.asked == pairs(["host.a.test."])
        assert not result.is_resolved

    def test_nobody_there_ends_all(self) -> None:
        result, world = played("glibc", "host", SEARCH, lambda _, __: Break.NO_LISTENER)
        assert set(world.asked) == set(pairs(["host.a.test."]))
        assert result.seconds < 1

    def test_one_type_only(self) -> None:
        _, world = played("glibc", "host", SEARCH, by_name({}), "SRV")
        assert world.asked == ["SRV host.a.test.", "SRV host.b.test.", "SRV host."]

    def test_no_aaaa(self) -> None:
        _, world = played("glibc", "host", f"{SEARCH}options no-aaaa\n", by_name({}))
        assert world.asked == ["A host.a.test.", "A host.b.test.", "A host."]


class TestServers:
    def test_silence_goes_round_all_servers_twice(self) -> None:
        result, world = played("glibc", "host.", TWO, lambda _, __: None)
        assert [server for server, _, shown in world.sent if shown == "A host."] == ["192.0.2.1:53", "192.0.2.2:53"] * 2
        assert result.seconds == 20.0

    def test_third_server_is_given_other_times(self) -> None:
        result, _ = played("glibc", "host.", f"{TWO}nameserver 192.0.2.3\noptions attempts:1\n", lambda _, __: None)
        assert [wait.seconds for wait in result.ledger.waits] == [5.0, 3.0, 6.0]

    @pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP"])
    def test_failure_asks_the_next_at_once(self, rcode: str) -> None:
        def script(link: Link, query: Query) -> Said:
            return says(query, rcode) if link.server == "192.0.2.1:53" else address_of(query)

        result, world = played("glibc", "host.", TWO, script)
        assert [server for server, _, _ in world.sent] == ["192.0.2.1:53"] * 2 + ["192.0.2.2:53"] * 2
        assert result.is_resolved
        assert result.seconds < 0.1

    def test_lame_server_is_passed_over_and_a_negative_answer_is_not(self) -> None:
        def script(link: Link, query: Query) -> Said:
            return says(query, flags="QR RD") if link.server == "192.0.2.1:53" else says(query)

        _, world = played("glibc", "host.", TWO, script)
        assert [server for server, _, _ in world.sent] == ["192.0.2.1:53"] * 2 + ["192.0.2.2:53"] * 2

    def test_rotate_begins_elsewhere_each_time(self) -> None:
        _, world = played("glibc", "host", f"{TWO}search a.test\noptions rotate\n", by_name({}))
        first, second = world.sent[0][0], world.sent[2][0]
        assert first != second

    def test_an_answer_that_is_not_ours_is_passed_over(self) -> None:
        def script(link: Link, query: Query) -> Said:
            del link
            return bytes((query.message[0] ^ 0xFF,)) + address_of(query)[1:]

        result, _ = played("glibc", "host.", "options timeout:1 attempts:1\n", script)
        assert not result.is_resolved
        assert result.seconds == 1.0


class TestPair:
    @pytest.mark.parametrize("failing", ["A", "AAAA"])
    def test_one_half_that_failed_is_not_missed(self, failing: str) -> None:
        script = by_name({f"{failing} host.": lambda query: says(query, "SERVFAIL")}, "NOERROR")
        other = by_name({f"{failing} host.": lambda query: says(query, "SERVFAIL"), "host.": address_of})
        assert played("glibc", "host.", TWO, other)[0].is_resolved
        assert len(played("glibc", "host.", TWO, script)[1].sent) == 2

    def test_one_lost_half_latches_and_the_next_name_pays(self) -> None:
        script = by_name({"A host.a.test.": says, "AAAA host.a.test.": silent})
        result, world = played("glibc", "host", SEARCH, script)
        assert [wait.seconds for wait in result.ledger.waits] == pytest.approx([5.0, 5.0, 5.0])
        assert world.asked[:6] == pairs(["host.a.test."]) * 3
        ports = dict(zip(zip(world.asked, range(99), strict=False), world.ports, strict=False))
        assert ports["A host.a.test.", 0] == ports["AAAA host.a.test.", 1]
        assert ports["A host.a.test.", 4] != ports["AAAA host.a.test.", 5]
        assert ports["A host.b.test.", 6] != ports["AAAA host.b.test.", 7]

    def test_latched_and_failed_never_asks_aaaa(self) -> None:
        script = by_name({"A host.": lambda query: says(query, "SERVFAIL")})
        _, world = played("glibc", "host.", f"{TWO}options single-request\n", script)
        assert set(world.asked) == {"A host."}
        assert len(world.asked) == 4

    def test_single_request_sends_aaaa_when_a_is_answered(self) -> None:
        result, world = played("glibc", "host.", "options single-request\n", lambda _, query: (0.3, address_of(query)))
        assert world.asked == pairs(["host."])
        assert result.seconds == pytest.approx(0.6)


class TestTcp:
    def test_truncation_asks_both_again_there(self) -> None:
        def script(link: Link, query: Query) -> Said:
            if link.kind is Kind.STREAM:
                return address_of(query)
            return says(query, flags="QR RD RA TC") if query.qtype == 1 else says(query)

        result, world = played("glibc", "host.", TWO, script)
        assert [kind for _, kind, _ in world.sent] == [Kind.CONNECTED] * 2 + [Kind.STREAM] * 2
        assert {one.query.qtype for one in result.answers} == {1, 28}

    def test_use_vc_asks_each_server_once(self) -> None:
        _, world = played("glibc", "host.", f"{TWO}options use-vc\n", lambda _, __: Break.CLOSED)
        assert [(server, kind) for server, kind, shown in world.sent if shown == "A host."] == [
            ("192.0.2.1:53", Kind.STREAM),
            ("192.0.2.2:53", Kind.STREAM),
        ]

    def test_a_reset_connection_is_dialled_once_more(self) -> None:
        _, world = played("glibc", "host.", "options use-vc\n", lambda _, __: Break.RESET)
        assert world.asked == pairs(["host."]) * 2

    def test_silence_there_is_without_end_for_glibc(self) -> None:
        result, world = played("glibc", "host", f"{SEARCH}options use-vc\n", lambda _, __: None)
        assert world.asked == pairs(["host.a.test."])
        assert "would wait on" in result.ledger.waits[0].then

    def test_servfail_there_goes_on_in_the_search_list_as_over_udp(self) -> None:
        _, world = played("glibc", "host", f"{SEARCH}options use-vc\n", by_name({}, "SERVFAIL"))
        assert world.asked == pairs(["host.a.test.", "host.b.test.", "host."])
