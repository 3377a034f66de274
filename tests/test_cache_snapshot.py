"""The snapshot's format: what was written comes back as it was, older; nothing damaged or made up comes back at all."""

import math
import struct
import zlib
from collections.abc import Callable, Mapping

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cache import snapshot
from forwarder.cache.answers import Answer, AnswerCache
from forwarder.cache.lifetime import Limits
from forwarder.cache.snapshot import Conditions, Moment, Reading, Restoring, Writing, passed_between
from forwarder.errors import SnapshotError
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Response, parse_response

NOW = 5000.0
MOMENT = Moment(wall=1_700_000_000_000, running=5_000_000)
ROOMY = 1 << 24
LIMITS = Limits(max_ttl=3600, max_negative_ttl=60, maximum_stale_timer=100.0)
ROOT_ALONE = {b"\0": Conditions(LIMITS, trust_ad=True)}
A, SOA = 1, 6
PLAIN, DNSSEC = b"\0", b"\2"


def anybody(_: bytes) -> bool:
    """Every name is this worker's."""
    return True


def said(name: str, *records: str, rcode: int = 0, authority: tuple[str, ...] = (), ad: bool = False) -> Response:
    """What an upstream says to A of a name, in words of a zone file."""
    message = dns.message.make_response(dns.message.make_query(name, "A"))
    message.flags |= 0x20 if ad else 0
    message.set_rcode(dns.rcode.Rcode(rcode))
    message.answer = [read(line) for line in records]
    message.authority = [read(line) for line in authority]
    return parse_response(message.to_wire(), name_from_text(name), A, do=False)


def read(line: str) -> dns.rrset.RRset:
    owner, ttl, rdclass, rdtype, rdata = line.split(None, 4)
    return dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata)


def key_of(name: str, tail: bytes = PLAIN) -> bytes:
    return name_from_text(name) + b"\0\1\0\1" + tail


def positive(name: str, ttl: int = 300) -> Response:
    return said(name, f"{name} {ttl} IN A 192.0.2.1")


def denial(name: str, ttl: int = 50) -> Response:
    return said(name, rcode=3, authority=(f"test. {ttl} IN SOA ns.test. host.test. 1 2 3 4 {ttl}",))


def cache_of(*answers: tuple[str, Response], stored_at: float = NOW) -> AnswerCache:
    cache = AnswerCache(ROOMY)
    for name, response in answers:
        cache.put(key_of(name), response, LIMITS, stored_at)
    return cache


def written(cache: AnswerCache, zones: Mapping[bytes, Conditions] = ROOT_ALONE, now: float = NOW) -> bytes:
    """The whole file."""
    writing = Writing(cache, zones, now)
    records = b"".join(iter(writing.slice, None))
    assert len(records) == writing.octets
    return writing.header(MOMENT) + records


def proved(octets: bytes) -> Reading:
    """The snapshot in these octets, looked at in pieces."""
    reading = Reading(octets[: snapshot.HEADER_OCTETS], len(octets))
    for position in range(snapshot.HEADER_OCTETS, len(octets), 100):
        reading.look_at(octets[position : position + 100])
    reading.prove()
    return reading


def put_back(
    octets: bytes, zones: Mapping[bytes, Conditions] = ROOT_ALONE, *, passed: float = 0.0, into: AnswerCache | None = None,
    is_ours: Callable[[bytes], bool] = anybody,
) -> AnswerCache:  # fmt: skip
    """The cache of the next life, which begins at NOW too."""
    cache = AnswerCache(ROOMY) if into is None else into
    proved(octets)
    restoring = Restoring(cache, zones, is_ours, NOW, passed)
    position = snapshot.HEADER_OCTETS
    while taken := restoring.restore(octets[position : position + snapshot.MAX_RECORD]):
        position += taken
    return cache


def only(cache: AnswerCache) -> Answer:
    (answer,) = cache.kept()
    return answer


def resealed(octets: bytes) -> bytes:
    """With the checksum put right: what somebody writes who knows the format."""
    proof = octets[: snapshot.HEADER_OCTETS - 4]
    checksum = zlib.crc32(proof, zlib.crc32(octets[snapshot.HEADER_OCTETS :]))
    return proof + struct.pack("!I", checksum) + octets[snapshot.HEADER_OCTETS :]


def made_up(key: bytes, message: bytes, *, place: int | None = None, age: int = 0) -> bytes:
    """A file of one record, right in all that the format says."""
    place = len(key) - 6 if place is None else place
    record = struct.pack("!HBHI", len(key), place, len(message), age) + key + message
    proof = struct.pack("!8sHQQQQ", snapshot.MAGIC, snapshot.VERSION, MOMENT.wall, MOMENT.running, 1, len(record))
    return resealed(proof + bytes(4) + record)


LABELS = st.text("abcxyz019-_", min_size=1, max_size=8)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join((*labels, "test.")))


@st.composite
def responses(draw: st.DrawFn) -> tuple[str, Response]:
    """Addresses, aliases with or without something behind them, NXDOMAIN and NODATA."""
    name = draw(NAMES)
    ttl = draw(st.integers(1, 10_000))
    soa = f"test. {ttl} IN SOA ns.test. host.test. 1 2 3 4 {draw(st.integers(1, 60))}"
    match draw(st.integers(0, 3)):
        case 0:
            count = draw(st.integers(1, 40))
            return name, said(name, *(f"{name} {ttl} IN A 192.0.2.{number}" for number in range(count)))
        case 1:
            return name, said(name, f"{name} {ttl} IN CNAME else.{name}", f"else.{name} 77 IN A 192.0.2.9", ad=True)
        case 2:
            return name, said(name, rcode=3, authority=(soa,))
        case _:
            return name, said(name, f"{name} {ttl} IN CNAME else.{name}", authority=(soa,))


class TestRoundTrip:
    @given(st.lists(responses(), max_size=8), st.floats(0, 40), st.floats(0, 40))
    def test_what_is_of_use_comes_back_as_it_was_and_older(
        self, given_answers: list[tuple[str, Response]], before: float, passed: float
    ) -> None:
        """Same octets, same order, the age added up, fresh exactly as long as it would have been."""
        cache = cache_of(*given_answers, stored_at=NOW - before)
        back = put_back(written(cache), passed=passed)
        expected = [
            answer
            for answer in cache.kept()
            if NOW + passed + 0.002 < answer.expires_at + (100 if answer.response.negative_ttl < 0 else 0)
        ]
        known = {answer.key: answer for answer in back.kept()}
        assert [key for key in known if key in {one.key for one in expected}] == [one.key for one in expected]
        for one in expected:
            two = known[one.key]
            assert two.response.message[12:] == one.response.message[12:]
            for field in ("kind", "rcode", "counts", "least_ttl", "most_ttl", "negative_ttl", "is_authentic"):
                assert getattr(two.response, field) == getattr(one.response, field)
            assert one.expires_at - passed - 0.002 <= two.expires_at <= one.expires_at - passed + 1e-6
            assert one.stored_at - passed - 0.002 <= two.stored_at <= one.stored_at - passed + 1e-6
            assert not two.visited

    def test_nothing_is_a_snapshot_too(self) -> None:
        assert put_back(written(AnswerCache(ROOMY))).kept() == []

    def test_many_come_in_slices(self) -> None:
        """No slice is long, whether what it looks at is of use or not."""
        names = [f"n{number}.test." for number in range(3 * snapshot.SLICE_RECORDS)]
        cache = cache_of(*((name, positive(name)) for name in names))
        for now, each in ((NOW, snapshot.SLICE_RECORDS), (NOW + 10_000, 0)):
            writing = Writing(cache, ROOT_ALONE, now)
            counts = []
            while writing.slice() is not None:
                counts.append(writing.count)
            assert counts == [each, 2 * each, 3 * each]
        octets = written(cache)[snapshot.HEADER_OCTETS :]
        restoring = Restoring(AnswerCache(ROOMY), ROOT_ALONE, anybody, NOW, 0.0)
        restoring.restore(octets)
        assert restoring.restored == snapshot.SLICE_RECORDS

    def test_large_answers_end_a_slice_early(self) -> None:
        names = [f"n{number}.test." for number in range(40)]
        many = [f"10.0.{number >> 8}.{number & 255}" for number in range(1000)]
        cache = cache_of(*((name, said(name, *(f"{name} 60 IN A {one}" for one in many))) for name in names))
        writing = Writing(cache, ROOT_ALONE, NOW)
        first = writing.slice()
        assert first is not None
        assert snapshot.SLICE_SIZE <= len(first) < 2 * snapshot.SLICE_SIZE
        assert len(put_back(written(cache))) == len(names)

    def test_dnssec_and_plain_are_two_questions(self) -> None:
        cache = AnswerCache(ROOMY)
        for tail in (PLAIN, DNSSEC, b"\1", b"\3"):
            cache.put(key_of("www.test.", tail), positive("www.test."), LIMITS, NOW)
        assert {answer.key[-1] for answer in put_back(written(cache)).kept()} == {0, 1, 2, 3}


class TestTime:
    def test_ended_meanwhile_is_not_fresh(self) -> None:
        octets = written(cache_of(("www.test.", positive("www.test.", 30))))
        back = put_back(octets, passed=30.5)
        assert back.fresh(key_of("www.test."), NOW) is None
        assert only(back).expires_at == pytest.approx(NOW - 0.5, abs=0.01)

    def test_beyond_the_stale_timer_it_is_gone(self) -> None:
        cache = cache_of(("www.test.", positive("www.test.", 30)))
        assert len(put_back(written(cache), passed=129.0)) == 1
        assert len(put_back(written(cache), passed=131.0)) == 0
        assert len(put_back(written(cache, now=NOW + 131))) == 0, "nor is it written"
        assert len(put_back(written(cache, now=NOW + 129))) == 1

    def test_a_denial_is_never_stale(self) -> None:
        cache = cache_of(("gone.test.", denial("gone.test.", 20)))
        assert len(put_back(written(cache), passed=19.0)) == 1
        assert len(put_back(written(cache), passed=21.0)) == 0
        assert len(put_back(written(cache, now=NOW + 21))) == 0

    def test_a_wall_clock_that_went_backwards_makes_all_stale(self) -> None:
        octets = written(cache_of(("www.test.", positive("www.test.")), ("gone.test.", denial("gone.test."))))
        back = put_back(octets, passed=passed_between(MOMENT, Moment(MOMENT.wall - 1, MOMENT.running + 10)))
        assert only(back).key == key_of("www.test.")
        assert back.fresh(key_of("www.test."), NOW) is None
        assert only(back).expires_at == pytest.approx(NOW, abs=0.1)

    @pytest.mark.parametrize(
        ("wall", "running", "passed"),
        [(0, 0, 0.0), (1500, 1500, 1.5), (500, 1500, 1.5), (1500, 500, 1.5), (1500, -5000, 1.5), (-1, 5000, math.inf)],
    )
    def test_the_longer_of_both_clocks_counts(self, wall: int, running: int, passed: float) -> None:
        """The host cannot run longer than time passes: a wall clock set back by less than passed is found out."""
        assert passed_between(MOMENT, Moment(MOMENT.wall + wall, MOMENT.running + running)) == passed

    def test_limits_of_now_apply(self) -> None:
        octets = written(cache_of(("www.test.", positive("www.test.", 300)), stored_at=NOW - 20))
        lower = put_back(octets, {b"\0": Conditions(Limits(60, 60, 100.0), trust_ad=True)})
        assert only(lower).expires_at == pytest.approx(NOW + 40, abs=0.01)
        assert only(lower).response.most_ttl == 60
        higher = put_back(octets, {b"\0": Conditions(Limits(10_000, 60, 100.0), trust_ad=True)})
        assert only(higher).expires_at == pytest.approx(NOW + 280, abs=0.01)
        assert len(put_back(octets, {b"\0": Conditions(Limits(10, 60, 5.0), trust_ad=True)})) == 0


class TestZones:
    CORP = name_from_text("corp.test")

    def test_an_answer_of_another_zone_is_not_put_back(self) -> None:
        octets = written(cache_of(("www.corp.test.", positive("www.corp.test.")), ("www.test.", positive("www.test."))))
        zones = {**ROOT_ALONE, self.CORP: ROOT_ALONE[b"\0"]}
        assert only(put_back(octets, zones)).key == key_of("www.test.")

    def test_nor_one_whose_zone_is_gone(self) -> None:
        zones = {**ROOT_ALONE, self.CORP: ROOT_ALONE[b"\0"]}
        octets = written(cache_of(("www.corp.test.", positive("www.corp.test.")), ("www.test.", positive("www.test."))), zones)
        assert only(put_back(octets, {self.CORP: zones[self.CORP]})).key == key_of("www.corp.test.")
        assert only(put_back(octets, ROOT_ALONE)).key == key_of("www.test.")
        assert len(put_back(octets, {name_from_text("else"): zones[b"\0"]})) == 0

    def test_what_no_zone_encloses_is_not_written(self) -> None:
        assert Writing(cache_of(("www.test.", positive("www.test."))), {}, NOW).slice() == b""

    def test_authentic_only_where_the_zone_still_says_so(self) -> None:
        octets = written(cache_of(("www.test.", said("www.test.", "www.test. 60 IN A 192.0.2.1", ad=True))))
        assert only(put_back(octets)).response.is_authentic
        assert not only(put_back(octets, {b"\0": Conditions(LIMITS, trust_ad=False)})).response.is_authentic


def test_what_is_known_already_stays() -> None:
    octets = written(cache_of(("www.test.", positive("www.test."))))
    newer = cache_of(("www.test.", said("www.test.", "www.test. 60 IN A 192.0.2.99")))
    before = only(newer)
    assert only(put_back(octets, into=newer)) is before


def test_the_budget_holds() -> None:
    names = [f"n{number}.test." for number in range(100)]
    octets = written(cache_of(*((name, positive(name)) for name in names)))
    small = put_back(octets, into=AnswerCache(10_000))
    assert small.used <= 10_000
    assert [answer.key for answer in small.kept()] == [key_of(name) for name in names[-len(small) :]], "the newest stay"


def test_names_of_others_are_left_to_them() -> None:
    octets = written(cache_of(*((f"n{number}.test.", positive(f"n{number}.test.")) for number in range(4))))
    ours = {name_from_text("n1.test."), name_from_text("n2.test.")}
    kept = put_back(octets, is_ours=ours.__contains__).kept()
    assert [answer.key for answer in kept] == [key_of("n1.test."), key_of("n2.test.")]


class TestDamage:
    OCTETS = written(cache_of(("www.test.", positive("www.test.")), ("gone.test.", denial("gone.test."))))

    @pytest.mark.parametrize("size", range(len(OCTETS)))
    def test_cut_off(self, size: int) -> None:
        with pytest.raises(SnapshotError):
            proved(self.OCTETS[:size])

    @pytest.mark.parametrize("place", range(len(OCTETS)))
    def test_one_bit(self, place: int) -> None:
        for bit in range(8):
            flipped = bytearray(self.OCTETS)
            flipped[place] ^= 1 << bit
            with pytest.raises(SnapshotError):
                proved(bytes(flipped))

    def test_something_behind_it(self) -> None:
        """It may be another snapshot, and is no part of this one: its octets are not among those that are proved."""
        for behind in (b"\0", self.OCTETS):
            octets = self.OCTETS + behind
            reading = Reading(octets[: snapshot.HEADER_OCTETS], len(octets))
            assert reading.size == len(self.OCTETS)
            reading.look_at(octets[snapshot.HEADER_OCTETS : reading.size])
            reading.prove()
            with pytest.raises(SnapshotError, match="damaged"):
                proved(octets)

    @given(st.binary(max_size=200))
    def test_anything(self, octets: bytes) -> None:
        with pytest.raises(SnapshotError):
            proved(octets)

    def test_says_what_it_is(self) -> None:
        other_version = self.OCTETS[:8] + b"\0\2" + self.OCTETS[10:]
        for octets, sentence in (
            (b"", "is empty"),
            (b"nameserver 192.0.2.1\n" * 9, "is no snapshot"),
            (resealed(other_version), "version 2"),
            (self.OCTETS[:20], "is cut off in its header"),
            (self.OCTETS[:60], "has 60 octets"),
            (self.OCTETS[:-1] + b"?", "is damaged"),
        ):
            with pytest.raises(SnapshotError, match=sentence):
                proved(octets)
