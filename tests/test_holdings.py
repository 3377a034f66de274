"""What the daemon holds: all that the configuration names, or nothing and a sentence."""

import os
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from forwarder import holdings
from forwarder.config import Config, Listen, ObserveSettings, Zone
from forwarder.errors import ConfigError, ControlError, ListenError
from forwarder.observe import counters
from tests.lab.generations import open_descriptors
from tests.lab.ports import free_port


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        zones=(Zone(zone=".", upstreams=("192.0.2.1:53",)),),
        listen=Listen(addresses=(f"127.0.0.1:{free_port()}",), workers=2, receive_buffer=1 << 17),
        observe=ObserveSettings(http=f"127.0.0.1:{free_port()}", control=f"{tmp_path}/run/control.sock"),
    )


def test_all_of_it_and_nothing_afterwards(config: Config, tmp_path: Path) -> None:
    before = open_descriptors()
    with ExitStack() as held:
        found = holdings.acquired(config, held, takeover=False)
        assert [len(group) for group in found.doors.udp] == [2]
        host, port = found.http.getsockname()
        assert f"{host}:{port}" == config.observe.http
        assert os.fstat(found.past).st_size == counters.SIZE * 8
        assert found.place is not None
        assert found.place.path.is_socket()
        assert (found.legacy, found.complaints) == (None, ())
    assert open_descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_what_a_worker_can_hand_over_without_us(config: Config, tmp_path: Path) -> None:
    with ExitStack() as held:
        found = holdings.acquired(config, held, takeover=False)
        estate = found.estate(found.doors, 2)
        assert estate is not None
        assert found.place is not None
        assert estate.sockets == [*found.doors.descriptors, found.http.fileno()]
        assert (estate.control, estate.past) == (found.place.listener.fileno(), found.past)
        assert (estate.control_path, estate.workers) == (config.observe.control, 2)
        assert estate.removable == (f"{tmp_path}/run", str(tmp_path)), "the last to leave removes what we made"
    (tmp_path / "run").mkdir()
    with ExitStack() as held:
        found = holdings.acquired(config, held, takeover=False)
        estate = found.estate(found.doors, 1)
        assert estate is not None
        assert estate.removable == (f"{tmp_path}/run", ""), "what was there stays"


def test_without_a_place_nobody_can_ask_for_it(config: Config, capfd: pytest.CaptureFixture[str]) -> None:
    observe = msgspec.structs.replace(config.observe, control="/proc/none/control.sock")
    with ExitStack() as held:
        found = holdings.acquired(msgspec.structs.replace(config, observe=observe), held, takeover=False)
        assert (found.place, found.estate(found.doors, 1)) == (None, None)
    complaint = "forwarder: there is no control socket, DNS goes on without: /proc/none/control.sock"
    assert capfd.readouterr().err.startswith(complaint)


@pytest.mark.parametrize("taken", ["listen", "http"])
def test_an_address_that_a_stranger_has(config: Config, taken: str, capfd: pytest.CaptureFixture[str]) -> None:
    address = config.listen.addresses[0] if taken == "listen" else config.observe.http
    host, _, port = address.rpartition(":")
    before = open_descriptors()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if taken == "listen" else socket.SOCK_STREAM) as stranger:
        stranger.bind((host, int(port)))
        if taken == "http":
            stranger.listen()
        with ExitStack() as held, pytest.raises(ListenError, match=f"^{address} .* already in use"):
            holdings.acquired(config, held, takeover=False)
    assert open_descriptors() == before
    assert capfd.readouterr().err == "", "nobody was asked for it"


def test_nobody_to_take_over_from(config: Config) -> None:
    before = open_descriptors()
    with ExitStack() as held, pytest.raises(ControlError, match=f"no daemon listens at {config.observe.control}"):
        holdings.acquired(config, held, takeover=True)
    assert open_descriptors() == before


def test_a_place_that_we_may_not_look_at_is_no_traceback(config: Config) -> None:
    """As that of the system's daemon is for an ordinary user who starts one of his own."""
    with tempfile.TemporaryDirectory(prefix="forwarder-place-") as directory:
        Path(directory).chmod(0o755)
        place = Path(directory) / "run"
        place.mkdir(0)
        observe = msgspec.structs.replace(config.observe, control=f"{place}/control.sock")
        assert_says_what_is_taken(msgspec.structs.replace(config, observe=observe))


def assert_says_what_is_taken(config: Config) -> None:
    """To a user who may not look into the place."""
    child = os.fork()
    if child == 0:
        said = ""
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger, ExitStack() as held:
                host, _, port = config.listen.addresses[0].rpartition(":")
                stranger.bind((host, int(port)))
                holdings.acquired(config, held, takeover=False)
        except ListenError as error:
            said = str(error)
        finally:
            os._exit(0 if "already in use" in said else 1)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0


def test_a_user_that_there_is_not(config: Config) -> None:
    with pytest.raises(ConfigError, match="user: this host has no user nobody-at-all"):
        holdings.become(msgspec.structs.replace(config, user="nobody-at-all"))


def test_without_a_user_nothing_is_made(config: Config, tmp_path: Path) -> None:
    holdings.become(config)
    assert list(tmp_path.iterdir()) == []
