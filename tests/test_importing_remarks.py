"""There is a sentence for everything that has no setting."""

import pytest

from forwarder.importing import remarks


@pytest.mark.parametrize("name", [*remarks.PLUGINS, "frobnicate"])
def test_plugins(name: str) -> None:
    sentence = remarks.for_plugin(name)
    assert sentence.strip()
    assert not sentence.endswith(".")


@pytest.mark.parametrize("plugin", ["forward", "proxy", "cache", "frobnicate"])
def test_options(plugin: str) -> None:
    assert remarks.for_option(plugin, "frobnicate") == f"an option of {plugin} that is not known here, and was not carried over"
    assert remarks.for_option("forward", "expire") == remarks.for_option("proxy", "expire") == remarks.FORWARD["expire"]


def test_what_is_about_the_server_is_known() -> None:
    assert set(remarks.PLUGINS) >= remarks.SERVER_WIDE
