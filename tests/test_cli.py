"""What a person types, run as a program: output, complaints and exit status."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from forwarder import cli, config_file, supervisor, usage
from forwarder.config import Config
from forwarder.control import asking, protocol
from forwarder.errors import ConfigError, ControlError
from forwarder.observe import metrics
from forwarder.succession import Source
from tests.lab.ports import free_port

ROOT = Path(__file__).parent.parent
SECONDS = 30

MINIMAL = """
zones:
  - zone: .
    upstreams: [192.0.2.1]
"""


def forwarder(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forwarder", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


def written(directory: Path, text: str) -> str:
    file = directory / "config.yaml"
    file.write_text(text)
    return str(file)


def configurations_run(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What would have been run; nothing is."""
    seen: list[Config] = []

    def run(config: Config, source: Source, *, takeover: bool) -> int:
        assert source.read() == config
        assert not takeover
        seen.append(config)
        return 0

    monkeypatch.setattr(supervisor, "run", run)
    return seen


class TestHelp:
    @pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version", "--help"), ("nonsense", "-h")])
    def test_all_of_it(self, words: tuple[str, ...]) -> None:
        ended = forwarder(*words)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, usage.ALL, "")

    @pytest.mark.parametrize("words", [("run", "--help"), ("check", "-h"), ("flush", "a.test", "-h"), ("lookup", "--help")])
    def test_of_a_command(self, words: tuple[str, ...]) -> None:
        ended = forwarder(*words)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, usage.OF[words[0]], "")

    def test_version(self) -> None:
        ended = forwarder("--version")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"forwarder {metrics.version()}\n", "")


class TestWrongCommandLine:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((), "what shall it do?"),
            (("serve",), "invalid choice: 'serve'"),
            (("check",), "required: FILE"),
            (("run", "--conf", "x"), "unrecognized arguments: --conf"),
            (("run", "--listen"), "--listen: expected one argument"),
            (("run", "file.yaml"), "unrecognized arguments: file.yaml"),
            (("reload", "file.yaml"), "unrecognized arguments: file.yaml"),
            (("reload", "--config", "a", "--control", "b"), "--control: not allowed with argument --config"),
            (("flush", "a.test", "--takeover"), "unrecognized arguments: --takeover"),
        ],
    )
    def test_one_line_and_status_2(self, words: tuple[str, ...], said: str) -> None:
        ended = forwarder(*words)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert said in ended.stderr
        assert len(ended.stderr.splitlines()) == 1

    @pytest.mark.parametrize(
        "words", [("--listen", "localhost:53"), ("--upstream", "dns.example.com"), ("--listen", "127.0.0.1:99999")]
    )
    def test_what_is_no_address(self, words: tuple[str, str]) -> None:
        ended = forwarder("run", *words)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert words[1] in ended.stderr or words[0] in ended.stderr
        assert "Traceback" not in ended.stderr


class TestCheck:
    def test_prints_every_setting_and_what_it_prints_is_the_same_configuration(self, tmp_path: Path) -> None:
        file = written(tmp_path, MINIMAL)
        ended = forwarder("check", file)
        assert (ended.returncode, ended.stderr) == (0, "")
        for key in ("listen:", "max_udp_size: 1232", "deadline: 1.8s", "memory: 32MiB", "http: ", "interface: forwarder0"):
            assert key in ended.stdout
        assert config_file.parsed(ended.stdout, "check") == config_file.load(file)

    def test_all_problems_with_their_paths_and_status_2(self, tmp_path: Path) -> None:
        file = written(tmp_path, "zones:\n  - zone: .\n    upstreams: [nonsense]\nansering: {}\ncache: {max_ttl: 5}\n")
        ended = forwarder("check", file)
        assert (ended.returncode, ended.stdout) == (2, "")
        for path in ("zones[0].upstreams[0]", "ansering", "cache.max_ttl"):
            assert any(line.startswith("forwarder: ") and path in line for line in ended.stderr.splitlines())
        assert "Traceback" not in ended.stderr

    @pytest.mark.parametrize("text", ["", "zones: [", "\t:", "zones: []", "zones:\n  - zone: .\n    upstreams: []", "\0"])
    def test_no_configuration_at_all(self, tmp_path: Path, text: str) -> None:
        ended = forwarder("check", written(tmp_path, text))
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("forwarder: ")
        assert "Traceback" not in ended.stderr

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        ended = forwarder("check", str(tmp_path / "none.yaml"))
        assert ended.returncode == 2
        assert "none.yaml" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1

    def test_a_hosts_file_that_is_not_there(self, tmp_path: Path) -> None:
        ended = forwarder("check", written(tmp_path, f"{MINIMAL}hosts: {{files: [{tmp_path}/hosts]}}\n"))
        assert ended.returncode == 2
        assert f"{tmp_path}/hosts" in ended.stderr

    def test_warnings_are_no_failure(self, tmp_path: Path) -> None:
        ended = forwarder("check", written(tmp_path, f"zones:\n  - zone: .\n    upstreams: [{tmp_path}/resolv.conf]\n"))
        assert ended.returncode == 0
        assert f"{tmp_path}/resolv.conf does not exist" in ended.stderr

    def test_nobody_reads_what_it_prints(self, tmp_path: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "forwarder", "check", written(tmp_path, MINIMAL)]
        ended = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (1, b"")


class TestRun:
    def test_an_address_that_is_taken_is_one_line_and_status_1(self, tmp_path: Path) -> None:
        file = written(tmp_path, f"{MINIMAL}observe: {{http: '127.0.0.1:{free_port()}'}}\n")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{holder.getsockname()[1]}"
            ended = forwarder("run", "--config", file, "--listen", address)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith(f"forwarder: {address} UDP: already in use")
        assert len(ended.stderr.splitlines()) == 1

    def test_a_configuration_that_is_wrong_is_status_2(self, tmp_path: Path) -> None:
        ended = forwarder("run", "--config", written(tmp_path, "zone: {}\n"))
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "zone" in ended.stderr

    def test_the_command_line_is_stronger_than_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = configurations_run(monkeypatch)
        file = written(tmp_path, f"{MINIMAL}listen: {{addresses: ['127.0.0.1:5301']}}\n")
        words = ["run", "--config", file, "--listen", "127.0.0.1:5302", "--listen", "[::1]:5302", "--upstream", "192.0.2.9"]
        assert cli.main(words) == 0
        (config,) = seen
        assert config.listen.addresses == ("127.0.0.1:5302", "[::1]:5302")
        assert [zone.upstreams for zone in config.zones] == [("192.0.2.9:53",)]

    def test_without_anything_it_is_the_complete_minimal_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = configurations_run(monkeypatch)
        assert cli.main(["run"]) == 0
        assert seen == [config_file.parsed("zones:\n  - zone: .\n    upstreams: [/etc/resolv.conf]\n", "test")]
        assert seen[0].listen.addresses == ("127.0.0.1:5300",)

    def test_with_addresses_to_listen_on_only_it_asks_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = configurations_run(monkeypatch)
        assert cli.main(["run", "--listen", "127.0.0.1:5302"]) == 0
        assert [zone.upstreams for zone in seen[0].zones] == [("/etc/resolv.conf",)]

    def test_interrupted_before_it_runs_is_no_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> int:
            signal.raise_signal(signal.SIGINT)
            return 0

        monkeypatch.setattr(supervisor, "run", interrupted)
        assert cli.main(["run"]) == 1

    def test_what_a_reload_reads_is_the_file_as_it_is_then_under_the_command_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sources: list[Source] = []

        def run(_: Config, source: Source, *, takeover: bool) -> int:
            assert takeover
            sources.append(source)
            return 0

        monkeypatch.setattr(supervisor, "run", run)
        file = written(tmp_path, MINIMAL)
        assert cli.main(["run", "--config", file, "--listen", "127.0.0.1:5302", "--takeover"]) == 0
        written(tmp_path, MINIMAL.replace("192.0.2.1", "192.0.2.2") + "listen: {addresses: ['127.0.0.1:5301'], workers: 2}\n")
        (source,) = sources
        assert source.path == file
        config = source.read()
        assert (config.listen.addresses, config.listen.workers) == (("127.0.0.1:5302",), 2)
        assert [zone.upstreams for zone in config.zones] == [("192.0.2.2:53",)]
        written(tmp_path, "zone: {}\n")
        with pytest.raises(ConfigError, match="zone"):
            source.read()

    def test_what_cannot_be_taken_over_is_one_line_and_status_1(self, tmp_path: Path) -> None:
        config = f"{MINIMAL}observe: {{http: '127.0.0.1:{free_port()}', control: {tmp_path}/none}}\n"
        ended = forwarder("run", "--takeover", "--config", written(tmp_path, config), "--listen", f"127.0.0.1:{free_port()}")
        assert (ended.returncode, ended.stdout) == (1, "")
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"forwarder: no daemon listens at {tmp_path}/none: is it running?")


class TestReload:
    """The daemon's word, and its status."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], protocol.Request]]:
        """Who was asked for what; it is done, and there is something to be said of it."""
        found: list[tuple[Sequence[str], protocol.Request]] = []

        def ask(paths: Sequence[str], request: protocol.Request) -> protocol.Answer:
            found.append((paths, request))
            return protocol.Reloaded(["observe.http: stays"])

        monkeypatch.setattr(asking, "ask", ask)
        return found

    def test_notes_are_complaints_and_the_result_is_printed(
        self, asked: list[tuple[Sequence[str], protocol.Request]], capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["reload", "--control", "/some/where"]) == 0
        assert asked == [(("/some/where",), protocol.Reload(protocol.VERSION))]
        assert capfd.readouterr() == ("configuration reloaded\n", "forwarder: observe.http: stays\n")

    def test_the_configuration_says_where_the_daemon_is(
        self, asked: list[tuple[Sequence[str], protocol.Request]], tmp_path: Path
    ) -> None:
        assert cli.main(["reload", "--config", written(tmp_path, f"{MINIMAL}observe: {{control: /else/where}}\n")]) == 0
        assert [paths for paths, _ in asked] == [("/else/where",)]

    def test_a_refusal_is_said_line_by_line_and_status_1(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def ask(*_: object) -> protocol.Answer:
            raise ControlError("config.yaml: zones: nobody\nconfiguration stays as it was")

        monkeypatch.setattr(asking, "ask", ask)
        assert cli.main(["reload", "--control", "/some/where"]) == 1
        lines = "forwarder: config.yaml: zones: nobody\nforwarder: configuration stays as it was\n"
        assert capfd.readouterr() == ("", lines)

    def test_nobody_there(self, tmp_path: Path) -> None:
        ended = forwarder("reload", "--control", str(tmp_path / "none"))
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith(f"forwarder: no daemon listens at {tmp_path}/none: is it running?")
