"""Who may ask for what tells of names: whoever calls the daemon by its address."""

import pytest

from forwarder.observe.addressing import MISDIRECTED, is_address
from tests.lab.pages import Shown, answer

GUARDED = ["/", "/page.js", "/api/", "/api/overview", "/api/history"]
OPEN = ["/metrics", "/health", "/ready"]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:9253", "10.1.2.3:80", "[::1]", "[::1]:9253", "[fd00::10]:53", "127.0.0.1:"),
        *("localhost", "localhost:8080", "LocalHost", "localhost.:9253"),
    ],
)
def test_an_address_or_localhost(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "evil.example:9253", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost:1"),
        *("::1", "[::1", "[::1].evil.example", "[evil.example]", "127.0.0.1:9253:1", "127.0.0.1:x", "0x7f000001", "2130706433"),
        *("127.1", "127.0.0.1 ", "127.0.0.1/", "user@127.0.0.1", "[127.0.0.1]"),
    ],
)
def test_another_name(host: str) -> None:
    assert not is_address(host)


@pytest.mark.parametrize("path", GUARDED)
def test_who_calls_us_by_another_name_is_told_nothing(path: str) -> None:
    got = answer(Shown(), path, host="evil.example:9253")
    assert got.status == MISDIRECTED
    assert b"found by address" in got.body


@pytest.mark.parametrize("path", OPEN)
def test_scrapers_and_probes_may_use_a_name(path: str) -> None:
    assert answer(Shown(), path, host="forwarder.kube-system.svc:9253").status == 200
