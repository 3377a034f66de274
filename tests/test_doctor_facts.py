"""Facts files: written and read as the same facts; anything else is said in one line."""

import json

import pytest

from forwarder.doctor.facts import MAX_FILE, Facts, decoded, encoded
from forwarder.errors import ConfigError
from tests.lab.facts import bare, node, server, silent


@pytest.mark.parametrize("facts", [node(), bare(server()), bare(silent(), unknown={"the firewall's rules": "not permitted"})])
def test_what_is_written_is_read(facts: Facts) -> None:
    assert decoded(encoded(facts), "f.json") == facts


def changed(**changes: object) -> bytes:
    """Facts of a pod with other values."""
    return json.dumps(json.loads(encoded(bare(server()))) | changes).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no facts of this version"),
        (b"{", "no facts of this version"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "no facts of this version"),
        (b'{"version": 1}', "missing required field"),
        (changed(version=2), "Invalid enum value 2"),
        (changed(at="now"), "Expected `float`"),
        (changed(at=1e300), "<= "),
        (changed(at=-1), ">= 0"),
        (changed(surprise=1), "unknown field `surprise`"),
        (changed(servers=[{"address": "nowhere", "roles": []}]), "regex"),
        (changed(servers=[{"address": "192.0.2.1:53", "roles": ["master"]}]), "roles"),
        (changed(texts={"/etc/resolv.conf": 7}), "Expected `str`"),
        (changed(kernel="x" * 100_000), "length <= 65536"),
        (changed(kernel="\udc00"), "no facts of this version"),
        (b"[" * 100_000, "no facts of this version"),
        (b'{"x": "' + b"\xe2\x80\xae" + b'"}', "no facts of this version"),
        (b" " * (MAX_FILE + 1), "larger than 4 MiB"),
    ],
    ids=range(18),
)
def test_what_is_no_facts_file_is_said_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        decoded(data, "f.json")
    (problem,) = raised.value.problems
    assert problem.where == "f.json"
    assert said in problem.what
    assert problem.what.isascii()
    assert "\n" not in problem.what


def test_a_server_that_says_nothing_is_silent_and_one_answer_is_enough() -> None:
    assert silent().is_silent
    assert not server().is_silent
    assert not silent(apart=server().apart).is_silent
    assert not silent(large=server().large).is_silent
