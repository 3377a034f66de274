"""Facts files that somebody has tampered with: each is refused in one line, or judged and told; nothing else comes of it."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from forwarder import config_file
from forwarder.doctor.facts import decoded
from forwarder.doctor.judging import judged
from forwarder.doctor.telling import as_json, as_text
from forwarder.errors import ConfigError

HEALTHY = Path(__file__).parent / "doctor" / "healthy-node.json"
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        ["", ".", "..", "a..b", "::", "[::1]:99999", "0.0.0.0:53", "999.1.1.1:53", "8.8.8.8:53", "\x1b[2J", "x" * 300]
    ),
    st.sampled_from([[], {}, [[]], {"x": 1}, [None], ["\ud7ff"]]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - whatever JSON holds
    """The path of each value in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


FACTS = json.loads(HEALTHY.read_text())
PLACES = places(FACTS)[1:]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), LEAVES), min_size=1, max_size=3))
def test_tampered_facts(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    facts = json.loads(HEALTHY.read_text())
    for path, value in changes:
        place = facts
        for key in path[:-1]:
            place = place[key] if isinstance(place, dict | list) and (key in place or isinstance(place, list)) else {}
        if isinstance(place, dict) or (isinstance(place, list) and path[-1] < len(place)):
            place[path[-1]] = value
    try:
        known = decoded(json.dumps(facts).encode(), "f.json")
        if known.config is not None:
            config_file.parsed(config_file.effective_text(known.config), "f.json: config")
    except ConfigError:
        return
    findings = judged(known)
    assert as_text(known, findings).replace("\n", "").isprintable()
    assert "findings" in json.loads(as_json(known, findings))
