"""An exchange: whoever awaits it gets a response that was read, or why there is none, and may go on waiting."""

import math

import pytest

from forwarder.upstream.exchanging import Exchange, Settled
from forwarder.upstream.servers import OPEN, Failed
from forwarder.wire.message import framed_query_for_upstream
from tests.test_upstream_network import ADDRESS, Asked, query_for, response_to

QUERY = query_for()
RESPONSE = response_to(framed_query_for_upstream(7, QUERY.question, QUERY, wants_ad=False)[2:])


@pytest.fixture
def exchange() -> Exchange:
    exchange = Exchange()
    exchange.query = QUERY
    return exchange


def test_a_message_is_read(exchange: Exchange) -> None:
    asked = Asked(exchange)
    exchange.resume(RESPONSE)
    assert asked.address == ADDRESS


def test_one_that_cannot_be_read_is_malformed(exchange: Exchange) -> None:
    asked = Asked(exchange)
    exchange.resume(RESPONSE[:-1])
    assert asked.failed is Failed.MALFORMED


@pytest.mark.parametrize("why", Failed)
def test_why_there_is_none_is_told(exchange: Exchange, why: Failed) -> None:
    asked = Asked(exchange)
    exchange.resume(why)
    assert asked.failed is why


@pytest.mark.parametrize("why", OPEN)
def test_what_is_open_may_be_awaited_again_and_bring_a_response(exchange: Exchange, why: Failed) -> None:
    asked = Asked(exchange)
    exchange.resume(why)
    asked.again()
    assert not asked.is_over
    exchange.resume(RESPONSE)
    assert asked.address == ADDRESS


def test_what_is_late_says_so_once(exchange: Exchange) -> None:
    asked = Asked(exchange)
    exchange.due = 1000.0
    exchange.look(1000.0)
    assert asked.failed is Failed.TIMEOUT
    asked.again()
    assert exchange.due == math.inf
    assert not asked.is_over


@pytest.mark.parametrize("why", [why for why in Failed if why not in OPEN])
def test_one_that_ended_before_it_began_tells_why_and_holds_nothing(why: Failed) -> None:
    asked = Asked(Settled(why))
    assert asked.failed is why
    asked.abandon()
    assert asked.failed is why
