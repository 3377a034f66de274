"""The UDP upstream against a real socket whose other end the test plays: what counts as the response, and which port asks."""

import struct
from collections.abc import Iterator
from types import TracebackType

import dns.flags
import dns.message
import pytest

from forwarder.upstream.network import Address, address_for
from forwarder.upstream.servers import Failed
from forwarder.upstream.udp import ECHOES_TO_TRUST, OTHERS_TO_RELENT, UdpUpstream
from forwarder.wire.message import AD, CD, QR, RA, RD, TC, Query, parse_query
from forwarder.wire.records import Kind
from tests.lab.collector import garbage_after
from tests.test_upstream_network import (
    ADDRESS,
    MISMATCHES,
    Asked,
    DatagramPeer,
    Scene,
    open_descriptors,
    query_for,
    question_of,
    response_to,
)

UNTIL = 1.8
LETTERS = f"{'abcdefghijklmnopqrstuvwxyz' * 2}.example.com"
"""So many letters that a spelling drawn is never all lower-case."""
TXT = 16
OTHER_ADDRESS = b"\xc0\x00\x02\x02"


class Stage(Scene):
    """A scene with an upstream and its other side."""

    def __init__(self, peer: DatagramPeer) -> None:
        super().__init__()
        self.peer = peer
        self._asked: list[Asked] = []
        self._upstreams: list[UdpUpstream] = []
        self.upstream = self.upstream_with()

    def upstream_with(
        self, address: Address | None = None, *, case_randomisation: str = "auto", wants_ad: bool = False
    ) -> UdpUpstream:
        made = UdpUpstream(
            address or self.peer.address, self.network, self.tally, case_randomisation=case_randomisation, wants_ad=wants_ad
        )
        self._upstreams.append(made)
        return made

    def ask(
        self, query: Query | None = None, upstream: UdpUpstream | None = None, *, seconds: float = UNTIL, edns: bool = True
    ) -> Asked:
        asked = Asked((upstream or self.upstream).exchange(query or query_for(), self.now + seconds, edns=edns))
        self._asked.append(asked)
        return asked

    def answered(self, query: Query | None = None, upstream: UdpUpstream | None = None) -> int:
        """One query asked and answered; the port it came from."""
        asked = self.ask(query, upstream)
        port = self.peer.answer()
        self.serve()
        assert asked.response.kind is Kind.POSITIVE
        return port

    def leave(self) -> None:
        for upstream in self._upstreams:
            upstream.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for asked in self._asked:
            if asked.is_open:
                asked.abandon()
        self.leave()
        super().__exit__(kind, error, traceback)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with DatagramPeer() as peer, Stage(peer) as stage:
        yield stage


class TestQuery:
    @pytest.mark.parametrize("do", [True, False])
    def test_is_of_our_own_making_do_as_the_client_wants_it(self, stage: Stage, *, do: bool) -> None:
        asked = stage.ask(query_for(LETTERS, do=do))
        message = dns.message.from_wire(stage.peer.receive()[0])
        assert message.flags == dns.flags.RD
        assert (message.edns, message.ednsflags, message.payload, message.options) == (0, 0x8000 * do, 1232, ())
        assert message.question[0].name.to_text().lower() == LETTERS + "."
        assert not asked.is_over
        assert stage.queries_sent("udp") == 1

    def test_cd_as_the_client_wants_it_and_ad_where_the_zone_does(self, stage: Stage) -> None:
        stage.ask(parse_query(struct.pack("!6H", 1, RD | CD | AD, 1, 0, 0, 0) + query_for().question))
        assert dns.message.from_wire(stage.peer.receive()[0]).flags == RD | CD
        stage.ask(query_for(), stage.upstream_with(wants_ad=True))
        assert dns.message.from_wire(stage.peer.receive()[0]).flags == RD | AD

    def test_ids_and_spellings_are_drawn(self, stage: Stage) -> None:
        queries = []
        for _ in range(20):
            stage.ask(query_for(LETTERS))
            queries.append(stage.peer.receive()[0])
        assert len({query[:2] for query in queries}) > 15
        assert len({question_of(query) for query in queries}) == 20

    def test_without_opt_for_those_who_do_not_know_it(self, stage: Stage) -> None:
        stage.ask(query_for(LETTERS, do=True), edns=False)
        message = dns.message.from_wire(stage.peer.receive()[0])
        assert (message.edns, message.flags) == (-1, dns.flags.RD)
        assert message.question[0].name.to_text().lower() == LETTERS + "."

    def test_of_no_spelling_where_the_configuration_wants_none(self, stage: Stage) -> None:
        stage.ask(query_for(LETTERS), stage.upstream_with(case_randomisation="off"))
        assert question_of(stage.peer.receive()[0]) == query_for(LETTERS).question


class TestResponse:
    def test_is_what_was_waited_for(self, stage: Stage) -> None:
        asked = stage.ask()
        stage.peer.answer(OTHER_ADDRESS)
        stage.serve()
        assert asked.address == OTHER_ADDRESS
        assert asked.times_over == 1
        assert stage.mismatched == 0

    @pytest.mark.parametrize("rcode", [1, 2, 4, 5])
    def test_a_failure_without_a_question_is_one(self, stage: Stage, rcode: int) -> None:
        asked = stage.ask()
        query, port = stage.peer.receive()
        stage.peer.send(query[:2] + struct.pack("!5H", QR | rcode, 0, 0, 0, 0), port)
        stage.serve()
        assert (asked.response.kind, asked.response.rcode) == (Kind.FAILURE, rcode)
        assert stage.mismatched == 0

    def test_that_cannot_be_read_ends_the_attempt(self, stage: Stage) -> None:
        asked = stage.ask()
        query, port = stage.peer.receive()
        stage.peer.send(response_to(query)[:-2], port)
        stage.serve()
        assert asked.failed is Failed.MALFORMED

    def test_to_several_queries_find_their_own(self, stage: Stage) -> None:
        asked = [stage.ask(query_for(f"name{number}.test")) for number in range(5)]
        queries = [stage.peer.receive() for _ in asked]
        for number in (3, 0, 4, 1, 2):
            query, port = queries[number]
            stage.peer.send(response_to(query, [bytes((10, 0, 0, number))]), port)
        stage.serve_until_over(*asked)
        assert [one.address for one in asked] == [bytes((10, 0, 0, number)) for number in range(5)]


class TestMismatch:
    @pytest.mark.parametrize("mismatch", MISMATCHES)
    def test_is_counted_and_told_and_the_response_may_yet_come(self, stage: Stage, mismatch: str) -> None:
        asked = stage.ask()
        query, port = stage.peer.receive()
        for times in (1, 2):
            stage.peer.send(MISMATCHES[mismatch](query), port)
            stage.serve()
            assert stage.mismatched == times
            assert asked.failed is Failed.MISMATCHED
            asked.again()
        stage.peer.send(response_to(query), port)
        stage.serve()
        assert asked.address == ADDRESS

    def test_does_not_lengthen_the_wait(self, stage: Stage) -> None:
        asked = stage.ask()
        query, port = stage.peer.receive()
        stage.pass_time(UNTIL - 0.1)
        stage.peer.send(MISMATCHES["another ID"](query), port)
        stage.serve()
        assert asked.failed is Failed.MISMATCHED
        asked.again()
        stage.pass_time(0.1)
        assert asked.outcome is Failed.TIMEOUT
        asked.abandon()

    def test_from_another_port_the_kernel_keeps_it_away(self, stage: Stage) -> None:
        asked = stage.ask()
        query, port = stage.peer.receive()
        with DatagramPeer() as stranger:
            stranger.send(response_to(query, [OTHER_ADDRESS]), port)
        assert stage.is_quiet()
        stage.peer.send(response_to(query), port)
        stage.serve()
        assert asked.address == ADDRESS

    def test_where_nobody_waits_is_counted_and_hurts_no_later_query(self, stage: Stage) -> None:
        asked = stage.ask()
        query, port = stage.peer.receive()
        for _ in range(2):
            stage.peer.send(response_to(query), port)
        stage.serve()
        assert asked.is_over
        stage.serve()
        assert stage.mismatched == 1
        assert stage.answered() == port


class TestCase:
    """0x20: insisted upon from servers that have shown to keep it."""

    def other_case(self, stage: Stage, upstream: UdpUpstream) -> bool:
        """Whether a response counts whose question is spelled the other way round."""
        asked = stage.ask(query_for(LETTERS), upstream)
        query, port = stage.peer.receive()
        question = question_of(query)
        swapped = question[:-4].swapcase() + question[-4:]
        stage.peer.send(response_to(query, question=swapped), port)
        stage.serve()
        if stage.mismatched:
            assert asked.failed is Failed.MISMATCHED
            asked.again()
            stage.peer.send(response_to(query), port)
            stage.serve()
        assert asked.address == ADDRESS
        return not stage.mismatched

    def lower_cased(self, stage: Stage, name: str) -> None:
        """A query that is answered in lower case, and the answer counts."""
        asked = stage.ask(query_for(name))
        query, port = stage.peer.receive()
        stage.peer.send(response_to(query, question=query_for(name).question), port)
        stage.serve()
        assert asked.address == ADDRESS
        assert stage.mismatched == 0

    def test_not_insisted_upon_before_the_third_echo(self, stage: Stage) -> None:
        for _ in range(2):
            stage.answered(query_for(LETTERS))
        assert self.other_case(stage, stage.upstream)

    def test_insisted_upon_after_the_third_echo(self, stage: Stage) -> None:
        for _ in range(3):
            stage.answered(query_for(LETTERS))
        assert not self.other_case(stage, stage.upstream)
        assert stage.mismatched == 1

    def test_insisted_upon_from_the_start_where_the_configuration_says_so(self, stage: Stage) -> None:
        assert not self.other_case(stage, stage.upstream_with(case_randomisation="on"))

    def test_a_server_that_lower_cases_is_never_punished(self, stage: Stage) -> None:
        for _ in range(20):
            self.lower_cased(stage, LETTERS)

    @pytest.mark.parametrize("name", [".", "1.2.3.4", "a", "4.3.2.1.x"])
    def test_an_echo_that_a_lower_casing_server_gives_as_well_proves_nothing(self, stage: Stage, name: str) -> None:
        """The root and digits have no case, and one letter comes back as it went half of the time."""
        for _ in range(24):
            self.lower_cased(stage, name)
        assert self.other_case(stage, stage.upstream)

    def trusted(self, stage: Stage, *, case_randomisation: str = "auto") -> UdpUpstream:
        """An upstream that echoes the case, and of which it is known."""
        upstream = stage.upstream_with(case_randomisation=case_randomisation)
        for _ in range(ECHOES_TO_TRUST):
            stage.answered(query_for(LETTERS), upstream)
        return upstream

    def counts_in_lower_case(self, stage: Stage, upstream: UdpUpstream) -> bool:
        """Whether a response in lower case counts, and nothing else comes."""
        before = stage.mismatched
        asked = stage.ask(query_for(LETTERS), upstream)
        query, port = stage.peer.receive()
        stage.peer.send(response_to(query, question=query_for(LETTERS).question), port)
        stage.serve()
        if stage.mismatched == before:
            assert asked.address == ADDRESS
            return True
        assert asked.failed is Failed.MISMATCHED
        asked.abandon()
        return False

    def test_insisted_upon_no_more_when_so_many_came_in_another_case_and_none_in_ours(self, stage: Stage) -> None:
        upstream = self.trusted(stage)
        heard = [self.counts_in_lower_case(stage, upstream) for _ in range(OTHERS_TO_RELENT + 20)]
        assert heard == [False] * (OTHERS_TO_RELENT - 1) + [True] * 21
        assert (stage.mismatched, OTHERS_TO_RELENT) == (OTHERS_TO_RELENT - 1, 8)

    def test_insisted_upon_again_when_one_comes_in_our_case(self, stage: Stage) -> None:
        upstream = self.trusted(stage)
        for _ in range(2):
            heard = [self.counts_in_lower_case(stage, upstream) for _ in range(OTHERS_TO_RELENT)]
            assert heard == [False] * (OTHERS_TO_RELENT - 1) + [True]
            stage.answered(query_for(LETTERS), upstream)

    def test_one_in_our_case_between_those_of_a_forger_begins_the_count_anew(self, stage: Stage) -> None:
        upstream = self.trusted(stage)
        for _ in range(3):
            assert not any(self.counts_in_lower_case(stage, upstream) for _ in range(OTHERS_TO_RELENT - 1))
            stage.answered(query_for(LETTERS), upstream)
        assert not self.counts_in_lower_case(stage, upstream)

    def test_one_without_a_letter_between_them_does_not(self, stage: Stage) -> None:
        upstream = self.trusted(stage)
        for _ in range(OTHERS_TO_RELENT - 1):
            assert not self.counts_in_lower_case(stage, upstream)
            stage.answered(query_for("1.2.3.4"), upstream)
        assert self.counts_in_lower_case(stage, upstream)

    def test_insisted_upon_for_ever_where_the_configuration_says_so(self, stage: Stage) -> None:
        upstream = self.trusted(stage, case_randomisation="on")
        assert not any(self.counts_in_lower_case(stage, upstream) for _ in range(3 * OTHERS_TO_RELENT))

    def test_looked_at_closely_only_while_there_is_a_question_of_it(self, stage: Stage) -> None:
        upstream = stage.upstream_with()
        looks = [upstream.looks_closer]
        for _ in range(ECHOES_TO_TRUST):
            stage.answered(query_for(LETTERS), upstream)
            looks.append(upstream.looks_closer)
        assert looks == [True] * ECHOES_TO_TRUST + [False]
        assert not self.counts_in_lower_case(stage, upstream)
        assert upstream.looks_closer
        stage.answered(query_for(LETTERS), upstream)
        assert not upstream.looks_closer

    def test_of_type_and_class_there_is_none(self, stage: Stage) -> None:
        """Type 65 is an `A` to whoever folds the case of all the question."""
        asked = stage.ask(query_for(LETTERS, 65))
        query, port = stage.peer.receive()
        stage.peer.send(response_to(query, question=question_of(query)[:-4] + b"\0\x61\0\1"), port)
        stage.serve()
        assert asked.failed is Failed.MISMATCHED
        assert stage.mismatched == 1


class TestTruncated:
    def test_is_told_and_the_socket_carries_the_next(self, stage: Stage) -> None:
        asked = stage.ask()
        sent, port = stage.peer.receive()
        stage.peer.send(response_to(sent, flags=QR | RD | RA | TC), port)
        stage.serve()
        assert asked.failed is Failed.TRUNCATED
        assert stage.answered() == port

    def test_of_a_forged_one_nothing_follows(self, stage: Stage) -> None:
        asked = stage.ask()
        sent, port = stage.peer.receive()
        stage.peer.send(MISMATCHES["another ID"](response_to(sent, flags=QR | TC)), port)
        stage.serve()
        assert asked.failed is Failed.MISMATCHED


class TestUnreachable:
    def test_icmp_ends_the_attempt_at_once(self, stage: Stage) -> None:
        before = open_descriptors()
        stage.peer.close()
        asked = stage.ask()
        stage.serve()
        assert asked.failed is Failed.NETWORK
        assert open_descriptors() == before - 1  # the peer's

    def test_an_address_that_cannot_be_asked(self, stage: Stage) -> None:
        before = open_descriptors()
        asked = stage.ask(upstream=stage.upstream_with(address_for("255.255.255.255", 53)))
        assert asked.failed is Failed.NETWORK
        assert (stage.queries_sent("udp"), open_descriptors()) == (0, before)


def test_nothing_is_left_for_the_collector(stage: Stage) -> None:
    def answered_and_given_up() -> None:
        asked = [stage.ask() for _ in range(5)]
        stage.pass_time(UNTIL)
        stage.pass_time(UNTIL)
        for one in asked:
            assert one.failed is Failed.TIMEOUT
            one.again()
            one.abandon()
            stage.peer.receive()
        for _ in range(20):
            stage.answered()

    assert garbage_after(answered_and_given_up, times=3) == 0
