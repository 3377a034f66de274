"""`forwarder top` and `forwarder stats`, typed while the daemon runs: what it does is seen, and the terminal is given back."""

import json
import signal
from pathlib import Path

import pytest

from tests.lab.behaviours import answer
from tests.lab.clients import ask, query
from tests.lab.daemon import run_to_end
from tests.lab.instances import Instances
from tests.lab.screen import Screen
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import staged


def test_it_is_live_over_a_takeover_and_leaves_the_terminal_as_it_was() -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = answer("@ 300 IN A 192.0.2.1")
        config = f"listen: {{workers: 2}}\nzones: [{{zone: ., upstreams: ['{upstream.address}']}}]"
        with Instances(config) as daemon, Screen("top", "--interval", "0.2", "--control", daemon.control) as screen:
            screen.wait_for(lambda seen: "2 of 2 serving" in seen and upstream.address in seen, "the daemon")
            for _ in range(50):
                ask(daemon.server, query("a.test"))
            screen.wait_for(lambda seen: "positive 1" in seen, "what it remembers")
            daemon.hand_over()
            for _ in range(50):
                ask(daemon.server, query("b.test"))
            screen.wait_for(lambda seen: "positive 2" in seen, "the one that took over")
            daemon.stop()
            screen.wait_for(lambda seen: "no answer, asking again" in seen and "hit ratio" in seen, "that it is gone")
            daemon.start_again()
            screen.wait_for(lambda seen: "no answer" not in seen and "2 of 2 serving" in seen, "that it is back")
            screen.type(b"q")
            assert screen.status() == 0
            assert screen.is_as_before()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_the_terminal_as_it_was(number: signal.Signals) -> None:
    with staged() as stage, Screen("top", "--control", stage.daemon.control) as screen:
        screen.wait_for(lambda seen: "1 of 1 serving" in seen, "the daemon")
        screen.signal(number)
        assert screen.status() == 0
        assert screen.is_as_before()


def test_stats_are_the_same_once(tmp_path: Path) -> None:
    with staged() as stage:
        stage.upstream.default = answer("@ 300 IN A 192.0.2.1")
        for _ in range(4):
            stage.ask("a.test")
        ended = run_to_end("stats", "--control", stage.daemon.control)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert any(line.split()[:1] == ["queries"] and line.split()[-1] == "5" for line in ended.stdout.splitlines())
        told = json.loads(run_to_end("stats", "--json", "--control", stage.daemon.control).stdout)
        sources = told["overview"]["sources"]
        assert sources["upstream"] == stage.daemon.metric("forwarder_responses_total", source="upstream") == 1
        assert sum(sources.values()) == stage.daemon.metric("forwarder_responses_total")
        assert run_to_end("stats", "--config", stage.daemon.config_file).returncode == 0
    ended = run_to_end("stats", "--control", str(tmp_path / "none"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "no daemon listens" in ended.stderr
