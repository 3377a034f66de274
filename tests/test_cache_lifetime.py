"""How long a response may be kept, as tables: RFC 2308 for negatives, the zone's limits, TTLs of 0 and of more than 31 bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cache.lifetime import BRIEF, Limits, lifetime_for, stale_lifetime_for
from forwarder.wire.records import Kind, Response

HOUR = 3600
LIMITS = Limits(max_ttl=HOUR, max_negative_ttl=30)
TOP_BIT = 0x80000000


def response(kind: Kind, least: int, most: int | None = None, *, soa: int = -1, aliases: int = 0, records: int = 1) -> Response:
    """Of this kind: its TTLs, what its SOA says (-1: there is none), its alias records and all others."""
    counts = (records + aliases, 0, 0) if kind is Kind.POSITIVE else (aliases, records, 0)
    return Response(
        message=b"", kind=kind, rcode=3 if kind is Kind.NXDOMAIN else 0, counts=counts,
        least_ttl=least, most_ttl=least if most is None else most, negative_ttl=soa, is_authentic=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("least", "lifetime"),
    [(0, 0), (1, 1), (59, 59), (HOUR, HOUR), (HOUR + 1, HOUR), (TOP_BIT - 1, HOUR), (TOP_BIT, HOUR), (0xFFFFFFFF, HOUR)],
    ids=str,
)
def test_positive_is_kept_for_its_least_ttl_within_the_limit(least: int, lifetime: int) -> None:
    """RFC 8767 section 4: a TTL with the top bit set is a large one, not zero as in RFC 2181."""
    assert lifetime_for(response(Kind.POSITIVE, least, 0xFFFFFFFF), LIMITS) == lifetime


@pytest.mark.parametrize("kind", [Kind.NODATA, Kind.NXDOMAIN])
class TestNegative:
    @pytest.mark.parametrize(
        ("soa", "least", "lifetime"),
        [
            (20, 20, 20),
            (20, HOUR, 20),  # MINIMUM below the TTL of the SOA, of which `soa` is the lesser
            (29, 29, 29),
            (30, 30, 30),
            (31, 31, 30),  # the zone's limit
            (10800, 10800, 30),
            (0xFFFFFFFF, 0xFFFFFFFF, 30),
            (0, 0, 0),
            (0, 60, 0),  # MINIMUM 0: not to be cached
            (20, 7, 7),  # an alias on the way that ends sooner
            (20, 0, 0),  # an alias that is not to be cached
        ],
    )
    def test_with_soa(self, kind: Kind, soa: int, least: int, lifetime: int) -> None:
        assert lifetime_for(response(kind, least, 0xFFFFFFFF, soa=soa, aliases=1), LIMITS) == lifetime

    def test_without_soa_it_is_kept_briefly(self, kind: Kind) -> None:
        assert lifetime_for(response(kind, 0, records=0), LIMITS) == BRIEF == 1

    @pytest.mark.parametrize(("least", "lifetime"), [(0, 0), (1, 1), (300, 1)])
    def test_without_soa_behind_an_alias_not_longer_than_the_alias(self, kind: Kind, least: int, lifetime: int) -> None:
        assert lifetime_for(response(kind, least, aliases=1, records=0), LIMITS) == lifetime

    def test_without_soa_not_longer_than_a_proof_that_is_not_to_be_kept(self, kind: Kind) -> None:
        assert lifetime_for(response(kind, 0, records=1), LIMITS) == 0

    @pytest.mark.parametrize("soa", [-1, 0, 20])
    def test_never_where_the_zone_keeps_no_negatives(self, kind: Kind, soa: int) -> None:
        negative = response(kind, 20, soa=soa, records=soa >= 0)
        assert lifetime_for(negative, Limits(max_ttl=HOUR, max_negative_ttl=0)) == 0

    def test_the_limit_of_positives_is_none_of_its_business(self, kind: Kind) -> None:
        assert lifetime_for(response(kind, 20, soa=20), Limits(max_ttl=5, max_negative_ttl=30)) == 20


@pytest.mark.parametrize(("least", "lifetime"), [(0, 0), (1, 1), (2, 1), (HOUR, 1), (0xFFFFFFFF, 1)])
def test_half_an_answer_is_kept_briefly(least: int, lifetime: int) -> None:
    assert lifetime_for(response(Kind.DANGLING, least, aliases=1, records=0), LIMITS) == lifetime


@pytest.mark.parametrize("ttl", [0, 1, HOUR])
def test_a_failure_is_not_kept(ttl: int) -> None:
    assert lifetime_for(response(Kind.FAILURE, ttl), LIMITS) == 0


TTLS = st.one_of(st.integers(0, 40), st.integers(0, 0xFFFFFFFF))


@given(st.sampled_from(Kind), TTLS, st.one_of(st.just(-1), TTLS), st.integers(0, 2), st.integers(0, 2), TTLS)
def test_never_longer_than_the_records_nor_the_limits(
    kind: Kind, least: int, soa: int, aliases: int, records: int, limit: int
) -> None:
    records = max(records, soa >= 0, kind is Kind.POSITIVE)
    has_records = records + aliases > 0
    known = response(kind, least if has_records else 0, soa=soa, aliases=aliases, records=records)
    limits = Limits(max_ttl=max(limit, 1), max_negative_ttl=limit)
    lifetime = lifetime_for(known, limits)
    assert 0 <= lifetime <= (limits.max_ttl if kind in {Kind.POSITIVE, Kind.DANGLING} else limits.max_negative_ttl)
    assert not has_records or lifetime <= least
    assert soa < 0 or kind in {Kind.POSITIVE, Kind.DANGLING} or lifetime <= soa


@pytest.mark.parametrize("kind", list(Kind))
def test_only_positive_answers_may_stand_in_past_their_end(kind: Kind) -> None:
    stale = stale_lifetime_for(response(kind, 60), Limits(max_ttl=HOUR, max_negative_ttl=30, maximum_stale_timer=7.5))
    assert stale == (7.5 if kind is Kind.POSITIVE else 0)
