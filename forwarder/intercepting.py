"""The hold on the service addresses that the daemon intercepts: renewed each second, as long as it answers itself.

`forwarder node up` makes rules that bring an address to us only while it is in a set whose entries end after 3 s. A datagram
from our user to the address renews the entry, one to another port takes it out (`RENEW_PORT`, `GIVE_BACK_PORT`); the same rules
drop both, which the sender is told by EPERM. So no privilege is needed. Always holds: nothing is renewed unless each worker has
just answered, and nothing is taken over before an upstream of the cluster's domain has; whatever becomes of this process, the
address is the cluster's again within 3 s.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence

from forwarder.config import Config, own_door_of
from forwarder.flapping import Flapping
from forwarder.levels import Notice
from forwarder.steering import worker_for
from forwarder.wire.message import EXACT, Qtype, Rcode, key_for, match_for, query_for_key, query_for_upstream
from forwarder.wire.names import name_from_text

INTERVAL = 1.0
"""Seconds between two looks: two may fail before an entry ends."""
WORKER_SECONDS = 0.9
"""What workers get to answer from memory: the longest that still leaves the next look its time."""
UPSTREAM_SECONDS = 2.0
"""What they get for an answer from upstream: `answering.deadline` as a rule."""
RENEW_PORT = 9
"""Discard (RFC 863): should the rule be missing, whoever gets the datagram drops it."""
GIVE_BACK_PORT = 10
"""Given to no service by IANA."""
MAX_IDENTITIES = 1 << 16
MAX_RESPONSE = 512
"""Octets of a response to a query without EDNS (RFC 1035 section 2.3.4)."""
RFC_8482 = b"\x07RFC8482"
"""What a query of type ANY is answered with, by each worker itself."""

HELD = "is intercepted from now on"
NO_RULES = "is left to the cluster: `forwarder node up` has not been run, or for another user than uid {uid} (--user)"
NO_ANSWER = "is left to the cluster: the daemon does not answer itself at {door}"
NO_UPSTREAM = "is left to the cluster until an upstream of {domain} has answered"


class Intercepting:
    """The addresses and what is true of each; lives in a running asyncio loop."""

    def __init__(self, uid: int, say: Callable[[str], None]) -> None:
        """`uid` is who we are; `say` takes a line about a change of state."""
        self._uid = uid
        self._say = say
        self._has_heard = False
        """Whether a question to an upstream was answered."""
        self._states: dict[str, str] = {}
        self._flapping = Flapping()

    async def look(self, config: Config, workers: int) -> None:
        """Renew the hold on each address if all is as it should be; give back those that are not wanted any more."""
        wanted = config.node.intercept
        self._give_back(self._states.keys() - set(wanted))
        if not wanted:
            return
        lack = await self._lack(config, workers)
        now = asyncio.get_running_loop().time()
        self._tell(self._flapping.settled(now))
        for address in wanted:
            self._is_now(address, lack or self._renewed(address), now)

    def give_back(self) -> None:
        """We end: the cluster answers at once."""
        self._give_back(self._states.keys())

    async def _lack(self, config: Config, workers: int) -> str:
        """Why the addresses cannot be ours; empty when they can."""
        door = own_door_of(config)
        if door is None:
            return NO_ANSWER.format(door="any address but those")
        if not await are_answered(door, own_questions(workers), WORKER_SECONDS, is_ours):
            return NO_ANSWER.format(door=f"{door[0]} port {door[1]}")
        domain = config.cluster_domain
        if domain is not None and not self._has_heard:
            question = key_for(name_from_text(domain), Qtype.SOA)
            self._has_heard = await are_answered(door, (question,), UPSTREAM_SECONDS, is_no_failure)
            if not self._has_heard:
                return NO_UPSTREAM.format(domain=domain)
        return ""

    def _renewed(self, address: str) -> str:
        return HELD if is_taken(address, RENEW_PORT) else NO_RULES.format(uid=self._uid)

    def _give_back(self, addresses: Iterable[str]) -> None:
        for address in tuple(addresses):
            if self._states.pop(address) == HELD:
                is_taken(address, GIVE_BACK_PORT)

    def _is_now(self, address: str, state: str, now: float) -> None:
        if self._states.get(address) != state:
            self._states[address] = state
            what = f"node.intercept: {address}"
            line = f"{what} {state}"
            self._tell(self._flapping.changed(what, Notice(line) if state == HELD else line, now))

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._say(line)


def own_questions(workers: int) -> list[bytes]:
    """Keys of questions which each of so many workers answers by itself, one for each."""
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < workers:
        name = name_from_text(f"alive-{number}.forwarder.invalid")
        found.setdefault(worker_for(name, workers), key_for(name, Qtype.ANY))
        number += 1
    return list(found.values())


async def are_answered(door: tuple[str, int], keys: Sequence[bytes], seconds: float, is_right: Callable[[bytes], bool]) -> bool:
    """Whether the daemon behind this address and port answers all these questions rightly within so many seconds.

    Asked from that very address: where no interface has it, nothing leaves this host.
    """
    loop = asyncio.get_running_loop()
    first = secrets.randbelow(MAX_IDENTITIES - len(keys))
    waiting = {first + place: key[:-1] for place, key in enumerate(keys)}
    try:
        with socket.socket(_family_of(door[0]), socket.SOCK_DGRAM) as asking:
            asking.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
            asking.bind((door[0], 0))
            asking.connect(door)
            for identity, key in zip(waiting, keys, strict=True):
                asking.send(query_for_upstream(identity, key[:-1], query_for_key(key), wants_ad=False, edns=False))
            async with asyncio.timeout(seconds):
                while waiting:
                    response = await loop.sock_recv(asking, MAX_RESPONSE)
                    question = waiting.pop(int.from_bytes(response[:2]), None)
                    if question is not None and not _is_answer(response, question, is_right):
                        return False
    except (OSError, TimeoutError):
        return False
    return True


def _is_answer(response: bytes, question: bytes, is_right: Callable[[bytes], bool]) -> bool:
    return match_for(response, int.from_bytes(response[:2]), question) is EXACT and is_right(response)


def is_ours(response: bytes) -> bool:
    """Whether a query of type ANY is answered as we do."""
    return is_no_failure(response) and RFC_8482 in response


def is_no_failure(response: bytes) -> bool:
    """Whether it was answered by somebody who knows."""
    return response[3] & 0xF in {Rcode.NOERROR, Rcode.NXDOMAIN}


def is_taken(address: str, port: int) -> bool:
    """Send a datagram of no content; whether a rule of this host took it out, which is EPERM to the sender."""
    with socket.socket(_family_of(address), socket.SOCK_DGRAM) as sending:
        sending.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
        try:
            sending.sendto(b"", (address, port))
        except PermissionError:
            return True
        except OSError:
            return False
    return False


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
