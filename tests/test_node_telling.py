"""How a host stands, shown."""

import json

from forwarder.node.blocking import Blocked
from forwarder.node.status import Intercepted, Piece, State, Status
from forwarder.node.telling import NOTHING, as_json, lines_for, warnings_for

STATUS = Status(
    pieces=(
        Piece("interface forwarder0", State.PRESENT, "dummy", is_well=True),
        Piece("address 192.0.2.1", State.FOREIGN, "on eth0, left alone", is_well=True),
        Piece("address 192.0.2.2", State.MISSING, "", is_well=False),
    ),
    intercepted=(Intercepted("10.43.0.100", 2.0), Intercepted("fd43::100", None)),
    blocked=(Blocked(("queries", "answers"), "table inet guard, chain input: its policy"),),
)


def test_a_line_for_each_thing() -> None:
    assert lines_for(STATUS).splitlines() == [
        "interface forwarder0  present: dummy",
        "address 192.0.2.1     foreign: on eth0, left alone",
        "address 192.0.2.2     missing",
        "10.43.0.100 is answered here, for 2 s more unless the daemon renews it",
        "fd43::100 is answered by the cluster: no living daemon of ours renews the takeover",
        "blocked by table inet guard, chain input: its policy: queries; answers. Accept it there, in front of that",
        "incomplete",
    ]


def test_what_up_could_not_make_well() -> None:
    assert warnings_for(STATUS) == [
        "address 192.0.2.2: missing",
        "blocked by table inet guard, chain input: its policy: queries; answers. Accept it there, in front of that",
    ]


def test_as_one_object() -> None:
    told = json.loads(as_json(STATUS))
    assert told["complete"] is False
    assert told["pieces"][1] == {"name": "address 192.0.2.1", "state": "foreign", "remark": "on eth0, left alone", "well": True}
    assert told["intercepted"][1] == {"address": "fd43::100", "alive": False, "seconds": None}
    assert told["blocked"][0]["traffic"] == ["queries", "answers"]


def test_nothing_to_set_up() -> None:
    assert lines_for(Status((), (), ())) == NOTHING
