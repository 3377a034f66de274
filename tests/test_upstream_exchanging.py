"""An exchange: whoever awaits it gets a response that was read, or why there is none, over however many transports it went."""

import pytest

from forwarder.upstream.exchanging import Exchange, settled
from forwarder.upstream.servers import Failed
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


def test_another_goes_on_in_its_stead(exchange: Exchange) -> None:
    asked, instead = Asked(exchange), Exchange()
    instead.query = QUERY
    exchange.resume(instead)
    assert not asked.is_over
    instead.resume(RESPONSE)
    assert asked.address == ADDRESS
    assert asked.times_over == 1


def test_another_that_ended_before_it_began_ends_it(exchange: Exchange) -> None:
    asked = Asked(exchange)
    exchange.resume(settled(Failed.NETWORK))
    assert asked.failed is Failed.NETWORK


def test_nothing_came_in_time(exchange: Exchange) -> None:
    asked = Asked(exchange)
    exchange.give_up()
    assert asked.failed is Failed.TIMEOUT
