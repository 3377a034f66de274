"""A lookup from begin to end: the resolver stepped, its sockets served, every step written down, reasons asked for afterwards.

The shell around what decides. Always holds: whatever is interrupted, what is known so far is in the `Result`.
"""

import secrets
import time
from collections.abc import Callable
from typing import Protocol

from forwarder.lookup.glibc import Glibc
from forwarder.lookup.ledger import End, Entry, Exchange, Ledger
from forwarder.lookup.musl import Musl
from forwarder.lookup.network import Network
from forwarder.lookup.questions import Query, Wanted, query_with_edns, refusal_for
from forwarder.lookup.responses import answers_query, content_of, response_in
from forwarder.lookup.result import AskedAgain, Result
from forwarder.lookup.settings import Libc, Settings
from forwarder.lookup.steps import Action, Arrived, Await, Broken, Event, Kind, Link, Send, TimeOut
from forwarder.wire.message import OUR_UDP_SIZE

REASONS_WITHIN = 2.0
"""Seconds in which the questions asked once more must be answered, all of them together."""
MOST_ASKED_AGAIN = 24
"""Questions asked once more: three times the longest walk of a pod."""


def look_up(
    wanted: Wanted, settings: Settings, tell: Callable[[Entry, float], None], watch: Callable[[Await, float], None]
) -> Result:
    """The lookup, really waiting. `tell` gets each settled entry and when the lookup began; `watch` what it waits for."""
    begun = time.monotonic()
    ledger = Ledger(lambda entry: tell(entry, begun))
    result = Result(wanted, settings, ledger, begun, begun, refusal=refusal_for(wanted, settings))
    if result.refusal:
        return result
    with Network(watch) as network:
        try:
            walk(result, network, _identity)
        except KeyboardInterrupt:
            result.is_interrupted = True
        result.ended = time.monotonic()
        ledger.finish(result.ended)
        if not result.is_interrupted:
            try:
                _ask_again(result, network)
            except KeyboardInterrupt:
                result.is_interrupted = True
    return result


def _identity() -> int:
    return secrets.randbelow(1 << 16)


class Doing(Protocol):
    """Whatever does actions."""

    def do(self, action: Action) -> Event:
        """The event that an action ends with."""
        ...


def walk(result: Result, network: Doing, identity: Callable[[], int]) -> None:
    """The resolver's actions, one after the other, until it has no more; `identity` draws message IDs."""
    resolver: Glibc | Musl
    if result.settings.libc is Libc.MUSL:
        resolver = Musl(result.settings, result.wanted, identity)
    else:
        resolver = Glibc(result.settings, result.wanted, identity, turn=identity())
    steps = resolver.walk()
    event: Event | None = None
    while True:
        try:
            action = next(steps) if event is None else steps.send(event)
        except StopIteration:
            break
        event = network.do(action)
        result.ledger.did(action, event.now)
        result.ledger.saw(event)
    counted = {response.message for response in resolver.counted}
    result.answers = [
        one
        for one in result.ledger.exchanges
        if one.response and one.content and one.response.message in counted and one.content.has(one.query.qtype)
    ]


def _ask_again(result: Result, network: Network) -> None:
    """Each question once more, with an OPT record, to whom it was asked: only then may a server say why (RFC 8914)."""
    if "edns0" in result.settings.flags:
        return
    waiting: dict[Link, Query] = {}
    for one in sorted(result.ledger.exchanges, key=_is_well):
        link = Link(f"again {one.query.shown} {one.link.server}", Kind.CONNECTED, one.link.server)
        if link not in waiting and one.end is not End.UNUSED and len(waiting) < MOST_ASKED_AGAIN:
            waiting[link] = query_with_edns(one.query, OUR_UDP_SIZE)
    begun = {link: network.do(Send(link, (query,))).now for link, query in waiting.items()}
    until = time.monotonic() + REASONS_WITHIN
    while waiting:
        event = network.do(Await(tuple(waiting), until, tuple(waiting.values())))
        if isinstance(event, TimeOut):
            result.asked_again += [AskedAgain(query, link.server, None, REASONS_WITHIN, ()) for link, query in waiting.items()]
            return
        if isinstance(event, Broken):
            query = waiting.pop(event.link)
            result.asked_again.append(AskedAgain(query, event.link.server, None, event.now - begun[event.link], ()))
        elif isinstance(event, Arrived) and event.link in waiting:
            response = response_in(event.message)
            query = waiting[event.link]
            if response is not None and answers_query(response, query):
                del waiting[event.link]
                reasons = content_of(response, query).reasons
                seconds = event.now - begun[event.link]
                result.asked_again.append(AskedAgain(query, event.link.server, response.rcode, seconds, reasons))


def _is_well(one: Exchange) -> bool:
    """Whether nothing about it asks for a reason more than others do: these go last."""
    return one.response is not None and one.response.has_answers
