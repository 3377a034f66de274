"""`forwarder node`, as it is typed."""

import pytest

from forwarder.config_file import load
from forwarder.errors import ConfigError
from forwarder.node import __main__ as node
from tests.lab.host_state import config_file


def test_help_is_one_screen_and_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert node.main(["up", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    for option in ("--config", "--user", "--json"):
        assert any(option in line for line in lines)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["up"], "up needs --config F"),
        (["status"], "status needs --config F"),
        (["down", "--json"], "--json is for status alone, not for down"),
        (["up", "--config", "/nowhere/forwarder.yaml"], "/nowhere/forwarder.yaml: cannot be read"),
    ],
)
def test_what_is_typed_wrongly(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.main(words) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["sideways"], ["up", "--cnfig", "x"]])
def test_what_the_reader_refuses(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        node.main(words)
    assert end.value.code == 2
    assert "(forwarder node --help shows all there is)" in capsys.readouterr().err


def test_the_user_by_name_by_number_and_nobody() -> None:
    assert node.uid_for(None) == 0
    assert node.uid_for("nobody") == 65534
    assert node.uid_for("65532") == 65532, "a container's user needs no name"
    for user in ("no-such-user", str(1 << 32)):
        with pytest.raises(ConfigError, match=f"this host has no user {user}"):
            node.uid_for(user)


def test_a_wildcard_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with config_file(listen={"addresses": ["0.0.0.0:53"]}) as config:
        node._plan(load(config), None)  # noqa: SLF001 - what it says before it does anything
    assert "listen.addresses: 0.0.0.0 stands for every address" in capsys.readouterr().err
