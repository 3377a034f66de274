"""Which daemon a command means."""

from pathlib import Path

import pytest

from forwarder.control.protocol import SYSTEM_PATH
from forwarder.errors import ConfigError
from forwarder.meant import control_paths


def test_a_path_is_the_one_place() -> None:
    assert control_paths(None, "/tmp/socket") == ("/tmp/socket",)  # noqa: S108 - nothing is made there


def test_a_configuration_says_it(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("zones: [{zone: ., upstreams: [192.0.2.1]}]\nobserve: {control: /run/other.sock}")
    assert control_paths(str(config), None) == ("/run/other.sock",)


def test_without_either_it_is_the_systems_or_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert control_paths(None, None) == (SYSTEM_PATH, "/run/user/7/forwarder/control.sock")


def test_a_wrong_configuration_is_an_error_of_it() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        control_paths("/nowhere/config.yaml", None)
