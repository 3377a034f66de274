"""One scenario from its first line to the engine's own checks: the real worker and scripted peers in one thread.

Always holds: whatever the scenario says, its end is checked. Every query got exactly one response within the deadline of
virtual time, each as every response must be; no deadline was missed and nothing is in progress; no descriptor is left open
beyond idle sockets; nothing was logged as an error; reference counting alone freed what the data path made.
"""

import asyncio
import gc
import logging
import os
import traceback
import types
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import dns.message

from forwarder import config as settings
from forwarder import config_file, link
from forwarder.hosts import pinned
from forwarder.observe import counters
from forwarder.observe.metrics import Collector, Figures
from forwarder.worker import Worker
from tests.lab.collector import no_collector
from tests.lab.ports import bound_pair
from tests.rpl.answers import behaviour_for
from tests.rpl.claims import differences, summed
from tests.rpl.clients import Asked, Clients, shortcomings
from tests.rpl.parser import UPSTREAM_IN_CONFIG
from tests.rpl.statements import (
    Asks,
    CountingStarts,
    Gets,
    Got,
    Has,
    Hears,
    Metric,
    Ports,
    Replies,
    Scenario,
    Selector,
    Standing,
    Statement,
    TimePasses,
    TurnOfFate,
)
from tests.rpl.upstreams import Arrived, ScenarioUpstream
from tests.rpl.virtual import START, VirtualLoop

AFTERMATH = 1.5
"""Seconds beyond the deadline before the end is checked: gauges are written every second, probes end before."""
ROUNDING = 1e-6
"""Seconds: virtual time is a sum of floats."""


class Player:
    """The stage of one scenario, set; to be used once."""

    def __init__(self, scenario: Scenario, loop: VirtualLoop, open_until_end: ExitStack) -> None:
        self._scenario = scenario
        self._loop = loop
        self.trace: list[str] = []
        self._upstreams = {number: ScenarioUpstream(number, loop, self.note) for number in range(1, scenario.upstreams + 1)}
        for upstream in self._upstreams.values():
            open_until_end.callback(upstream.close)
        addresses = {str(number): upstream.address for number, upstream in self._upstreams.items()}
        text = UPSTREAM_IN_CONFIG.sub(lambda found: addresses[found[1]], scenario.config)
        self._config = config_file.parsed(text, scenario.file)
        zones = [link.ZoneUpstreams(zone.zone, list(zone.upstreams)) for zone in self._config.zones]
        self._told = link.Upstreams(zones)
        self._looked_at: Arrived | None = None
        memory = os.memfd_create("counters")
        os.ftruncate(memory, counters.SIZE * 8)
        slots = counters.mapped(memory)
        self._metrics = Collector(lambda: slots, lambda: Figures(0, 0, dict.fromkeys(self._told.names(), True)))
        udp, tcp = bound_pair()
        server = udp.getsockname()
        records = pinned(self._config.hosts.records, self._config.hosts.files)
        begin = link.Begin(
            settings.to_json(self._config), [udp.detach()], [tcp.detach()], memory, records, self._told
        )  # fmt: skip
        self._worker = Worker(cast("asyncio.AbstractEventLoop", loop), begin, loop.clock)
        os.close(memory)
        self._clients = Clients(server, loop, self.note)
        open_until_end.callback(self._clients.close)
        self._descriptors = _descriptors()  # before the worker asks: its first probes leave sockets at rest
        self._worker.open()
        loop.settle()

    def note(self, event: str) -> None:
        """Remember what happened, and when."""
        self.trace.append(f"{self._loop.now - START:9.3f}  {event}")

    def play(self) -> str:
        """The whole scenario and its end; what is wrong, with the trace, or nothing."""
        for statement in self._scenario.statements:
            problem = self._asked(statement) if isinstance(statement, Asks) else self._done(statement)
            if problem:
                told = self.told(f":{statement.line}: {statement.text}", problem)
                self._wind_down()
                return told
        problem = next(self._at_end(), "")
        return self.told(", at its end", problem) if problem else ""

    def _wind_down(self) -> None:
        """Let everything end that is in progress, and close what is idle."""
        self._loop.pass_time(self._config.answering.deadline + AFTERMATH)
        self._clients.close()
        for upstream in self._upstreams.values():
            upstream.close()
        self._worker.ask_these(link.Upstreams([link.ZoneUpstreams(zone.zone, []) for zone in self._config.zones]))
        self._loop.pass_time(AFTERMATH)

    def told(self, where: str, problem: str) -> str:
        """What is wrong, where, and what happened before."""
        return "\n".join([f"{self._scenario.file}{where}", f"    {problem}", "what happened:", *self.trace])

    def _asked(self, asks: Asks) -> str:
        """Send queries, and serve none: those on neighbouring lines arrive together."""
        for _ in range(asks.clients):
            self._clients.ask(asks)
        return ""

    def _done(self, statement: Statement) -> str:
        """Serve what was asked, do what the statement says and all that follows from it; what is wrong, if anything is."""
        self._loop.settle()
        problem = self._problem(statement)
        self._loop.settle()
        return problem

    def _problem(self, statement: Statement) -> str:
        """Do what the statement says; what is wrong, if anything is."""
        match statement:
            case TimePasses(seconds=seconds):
                self._loop.pass_time(seconds)
            case Hears():
                return next((problem for _ in range(statement.clients) for problem in self._heard(statement)), "")
            case Standing(upstream=number, selector=selector, reply=reply):
                self._upstreams[number].treat(selector, reply)
            case TurnOfFate(upstream=number, turn=turn):
                self.note(f"upstream {number} {turn.value}")
                self._upstreams[number].take_turn(turn)
            case Gets(upstream=number):
                return self._gets(statement, self._upstreams[number])
            case Replies(upstream=number, reply=reply):
                if self._looked_at is None:
                    return "no query was looked at before: write what the upstream gets first"
                self._upstreams[number].move(self._looked_at, behaviour_for(reply, number))
            case CountingStarts():
                for upstream in self._upstreams.values():
                    upstream.arrived.clear()
            case _:
                return self._counted(statement)
        return ""

    def _counted(self, statement: Statement) -> str:
        """Compare a number of things."""
        match statement:
            case Got(upstream=number, selector=selector, count=expected):
                found: float | None = sum(arrived.is_meant(selector) for arrived in self._upstreams[number].arrived)
            case Ports(upstream=number, selector=selector, count=expected):
                meant = (arrived for arrived in self._upstreams[number].arrived if arrived.is_meant(selector))
                found = len({arrived.received.port for arrived in meant})
            case Has(upstream=number, count=expected):
                found = self._upstreams[number].connections
            case Metric(name=name, labels=labels, value=expected):
                addresses = {
                    label: self._upstreams[int(value)].address if label == "upstream" else value for label, value in labels
                }
                found = summed((family.metric for family in self._metrics.collect()), name, addresses)
            case _:
                raise TypeError(statement)
        if found is None:
            return "there is no metric of that name with such labels"
        return "" if found in expected else f"it is {found:g}, not {expected}"

    def _gets(self, statement: Gets, upstream: ScenarioUpstream) -> str:
        waiting = [
            arrived
            for arrived in upstream.arrived
            if not arrived.looked_at and arrived.is_meant(statement.selector or Selector())
        ]
        if statement.selector is None:
            return f"it got {waiting[0]}" if waiting else ""
        if not waiting:
            others = [str(arrived) for arrived in upstream.arrived if not arrived.looked_at]
            return f"it got {', '.join(others) or 'nothing'} that was not looked at yet"
        waiting[0].looked_at = True
        self._looked_at = waiting[0]
        return ""

    def _heard(self, statement: Hears) -> Iterator[str]:
        """What is wrong with what the client heard."""
        expected = statement.expected
        candidates = [one for one in self._clients.asked if one.matches(statement.selector) and not one.expects_silence]
        asked = next((one for one in candidates if not one.heard), candidates[-1] if expected is None and candidates else None)
        if asked is None:
            yield "no such query is left unheard"
        elif expected is None:
            asked.expects_silence = statement.is_final
            if len(asked.responses) > asked.heard:
                yield "there is a response"
        else:
            if expected.within is not None:
                left = asked.at + expected.within.most - self._loop.now
                self._loop.pass_time(max(left, 0.0), lambda: bool(asked.responses))
            if not asked.responses:
                yield f"nothing was heard for {asked}"
                return
            asked.heard += 1
            at, octets = asked.responses[0]
            if expected.within is not None and at - asked.at not in expected.within:
                yield f"heard after {at - asked.at:.3f} s, not within {expected.within} s"
            yield from shortcomings(asked, octets)
            yield from differences(expected, dns.message.from_wire(octets), asked.asks.name)

    def _at_end(self) -> Iterator[str]:
        """What must hold whatever was played."""
        deadline = self._config.answering.deadline
        self._loop.pass_time(deadline + AFTERMATH)
        for asked in self._clients.asked:
            yield from self._shortcomings(asked, deadline)
        for upstream in self._upstreams.values():
            yield from (f"an option of a client was copied into {query}" for query in upstream.copied)
        families = [family.metric for family in self._metrics.collect()]
        for name in ("forwarder_deadline_missed_total", "forwarder_in_progress"):
            if value := summed(families, name, {}):
                yield f"{name} is {value:g}"
        if garbage := _garbage():
            yield f"only the collector finds {garbage[:5]}"
        self._wind_down()
        if left := _descriptors() - self._descriptors:
            yield f"left open: {sorted(left)}"

    def _shortcomings(self, asked: Asked, deadline: float) -> Iterator[str]:
        expected = 0 if asked.expects_silence else 1
        if len(asked.responses) != expected:
            yield f"{asked}: {len(asked.responses)} responses, not {expected}"
        for at, octets in asked.responses:
            if at - asked.at > deadline + ROUNDING:
                yield f"{asked}: answered after {at - asked.at:.3f} s, the deadline is {deadline:g} s"
            yield from (f"{asked}: {problem}" for problem in shortcomings(asked, octets))


def _descriptors() -> set[str]:
    """What this process holds open, a word for each: number and what it is."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


class _Complaints(logging.Handler):
    """Remembers what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))
        record.exc_info = None  # pytest keeps the record, and its traceback would keep the worker and its sockets


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What is logged as an error meanwhile."""
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        yield complaints.said
    finally:
        logging.getLogger().removeHandler(complaints)


def _is_ours(thing: object) -> bool:
    """Whether the data path made it: an object of the package, or a coroutine of one of its functions."""
    if isinstance(thing, types.CoroutineType):
        return "forwarder" in thing.cr_code.co_filename
    return type(thing).__module__.startswith("forwarder.")


def _garbage() -> list[str]:
    """Unreachable objects of ours that only the collector finds."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [repr(thing)[:200] for thing in gc.garbage if _is_ours(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def problem_in(scenario: Scenario) -> str:
    """Play a scenario; what went wrong, with file, line and trace, or nothing."""
    gc.collect()
    gc.freeze()
    try:
        return _played(scenario)
    finally:
        with warnings.catch_warnings():
            # The worker owns its sockets until its process ends; here it is only forgotten, and the collector closes them.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def _played(scenario: Scenario) -> str:
    """What went wrong, in words: an exception would keep the worker alive in its traceback."""
    try:
        with no_collector(), VirtualLoop() as loop, ExitStack() as open_until_end, _complaints() as logged:
            player = Player(scenario, loop, open_until_end)
            problem = player.play()
            return player.told(", in its course", f"logged: {logged[0]}") if logged else problem
    except Exception:  # noqa: BLE001 - a defect of the engine or of the daemon: told like any other failure
        return f"{scenario.file}: {traceback.format_exc()}"
