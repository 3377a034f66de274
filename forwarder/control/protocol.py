"""What a command and the running daemon say to each other, and where they meet.

Each message is one datagram of a SOCK_SEQPACKET socket, JSON inside, so that a person can read it and write it with socat:

    {"version": 1, "request": "flush", "name": "db.example.", "below": false}
    {"response": "flushed", "entries": 3, "pinned": 0}

Touches no socket and no file. Always holds: each request carries the version of this protocol; what is no request of it is
answered with a sentence that says why not, in a shape that every version reads.
"""

from collections.abc import Mapping

import msgspec

from forwarder.errors import ControlError

HANDOVER_VERSION = 1
"""Counts up when what is handed over, or how, would be misunderstood by an instance of another age."""
VERSION = 1
"""Counts up when a daemon and a command of different age would misunderstand each other."""
MAX_REQUEST = 4096
"""Octets. A name as people write it, every octet escaped, takes 1,020."""
MAX_RESPONSE = 262_144
"""Octets. What is shown of 64 workers, 64 upstreams and 60 names, each as long as can be, takes 210,000."""
DESCRIPTORS = 200
"""That go with one message: Linux takes 253 (SCM_MAX_FD)."""
SYSTEM_PATH = "/run/forwarder/control.sock"
"""Where the system's daemon is; systemd's RuntimeDirectory=forwarder makes the directory."""


class Flush(msgspec.Struct, frozen=True, tag_field="request", tag="flush", forbid_unknown_fields=True):
    """Forget what is known of a name; answered with `Flushed`."""

    version: int
    name: str
    """As people write it, with or without the final dot; `.` is the root."""
    below: bool = False
    """And of all names below it."""


class Reload(msgspec.Struct, frozen=True, tag_field="request", tag="reload", forbid_unknown_fields=True):
    """Read the configuration again; answered with `Reloaded`."""

    version: int


class Takeover(msgspec.Struct, frozen=True, tag_field="request", tag="takeover", forbid_unknown_fields=True):
    """Hand over what a successor needs, and serve on; answered with `Estate` and descriptors (`forwarder.handover`)."""

    version: int
    handover: int
    """The asker's HANDOVER_VERSION."""


class Release(msgspec.Struct, frozen=True, tag_field="request", tag="release", forbid_unknown_fields=True):
    """The successor serves: answer what is in progress and leave; answered with `Released`. Only where `Takeover` was asked."""

    version: int


class Stats(msgspec.Struct, frozen=True, tag_field="request", tag="stats", forbid_unknown_fields=True):
    """Show how it is; answered with `Shown`."""

    version: int


class Dump(msgspec.Struct, frozen=True, tag_field="request", tag="dump", forbid_unknown_fields=True):
    """Give what is remembered; answered with `Dumped` and descriptors (`forwarder.dumps`)."""

    version: int


class Flushed(msgspec.Struct, frozen=True, tag_field="response", tag="flushed"):
    """It is forgotten: the next query is answered by an upstream."""

    entries: int
    """Answers and failures that are forgotten."""
    pinned: int
    """Pinned names in reach of the flush: they stay."""


class Reloaded(msgspec.Struct, frozen=True, tag_field="response", tag="reloaded"):
    """It is served by what the file says now."""

    notes: list[str] = []
    """What is different from what one may expect, each one sentence."""


class Shown(msgspec.Struct, frozen=True, tag_field="response", tag="stats"):
    """How it is."""

    moment: msgspec.Raw
    """A `Moment` of `forwarder.observe.overview`."""


class Dumped(msgspec.Struct, frozen=True, tag_field="response", tag="dumped"):
    """What is remembered, in memories that follow as descriptors and are the asker's own."""

    pinned: int
    """Octets in the first of them: names that the operator pinned, a `Pinned` of `forwarder.link`."""
    snapshots: list[int]
    """Octets in each of the others: the answers of a worker (`forwarder.cache.snapshot`)."""


class Estate(msgspec.Struct, frozen=True, tag_field="response", tag="estate"):
    """What is handed over, in the order of the descriptors that follow."""

    pid: int
    sockets: int
    """How many that are bound for the network: each tells itself what it is."""
    control: bool
    """Whether then comes the control socket, which listens; at the end its place is left to the successor."""
    made_directory: bool
    """Whether the directory of the control socket was made for it."""
    snapshots: list[int]
    """Octets in each of the memories with answers that come then."""
    layout: str
    """Of the counters."""
    counters: int
    """How many maps of counters come last: that of the workers that ended, then those that still count."""
    rows: list[str]
    """Whose each row for upstreams in the counters is."""
    workers: int
    """How many have to be asked, one by one, until all was handed over: more than one when the supervisor is gone."""


class Released(msgspec.Struct, frozen=True, tag_field="response", tag="released"):
    """It answers what is in progress, and leaves."""


class Refused(msgspec.Struct, frozen=True, tag_field="response", tag="refused"):
    """It was not done."""

    reason: str
    """Why not, in one sentence."""
    version: int = VERSION
    """What is spoken here, for whoever spoke another."""


Request = Flush | Reload | Stats | Dump | Takeover | Release
Answer = Flushed | Reloaded | Shown | Dumped | Estate | Released
"""That what was asked for was done."""
Response = Answer | Refused


class _Envelope(msgspec.Struct):
    """What every version of every request has."""

    version: int
    request: str


_decoders: Mapping[str, msgspec.json.Decoder[Request]] = {
    "flush": msgspec.json.Decoder(Flush),
    "reload": msgspec.json.Decoder(Reload),
    "stats": msgspec.json.Decoder(Stats),
    "dump": msgspec.json.Decoder(Dump),
    "takeover": msgspec.json.Decoder(Takeover),
    "release": msgspec.json.Decoder(Release),
}
"""By the word that stands for it."""
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_response_decoder: msgspec.json.Decoder[Response] = msgspec.json.Decoder(Response)
_encoder = msgspec.json.Encoder()


def written(message: Request | Response) -> bytes:
    """A message as bytes, for either direction."""
    return _encoder.encode(message)


def shown(moment: msgspec.Struct) -> Shown:
    """The answer to `Stats`."""
    return Shown(msgspec.Raw(_encoder.encode(moment)))


def read_request(data: bytes) -> Request:
    """What a command asks; raises ControlError with what to answer otherwise."""
    try:
        envelope = _envelope_decoder.decode(data)
        if envelope.version != VERSION:
            raise ControlError(f"this daemon speaks version {VERSION} of the control protocol, not {envelope.version}")
        decoder = _decoders.get(envelope.request)
        if decoder is None:
            raise ControlError(f"this daemon knows no request {envelope.request!r}; it knows {', '.join(_decoders)}")
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ControlError(f'that is no request such as {{"version": {VERSION}, "request": "flush", ...}}: {error}') from error


def read_response(data: bytes) -> Response:
    """What the daemon answers; raises ControlError for what no daemon of ours says."""
    try:
        return _response_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ControlError(f"what answers is no forwarder of this version: {error}") from error


def paths_for(setting: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where the control socket may be, the best place first; `setting` is a path or `auto`."""
    if setting != "auto":
        return (setting,)
    own = environment.get("XDG_RUNTIME_DIR")
    return (SYSTEM_PATH, f"{own}/forwarder/control.sock") if own else (SYSTEM_PATH,)
