"""A real Prometheus that scrapes one target each second and evaluates our rules, and what its expressions give."""

import json
import math
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.needs import needs_program
from tests.lab.ports import free_port
from tests.lab.project import ROOT

RULES = ROOT / "config" / "prometheus" / "rules.yaml"
RULE_TESTS = ROOT / "config" / "prometheus" / "rules_test.yaml"
DASHBOARD = ROOT / "config" / "grafana" / "forwarder.json"
START_SECONDS = 30.0
END_SECONDS = 10.0
ANSWER_SECONDS = 10.0

_SELECTOR = re.compile(r"\b(?:up|(?:instance:)?(?:forwarder|coredns|process)_[a-z0-9_:]+)\b(?:\{[^}]*\})?")
"""A vector selector of ours: `name` or `name{labels}`."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs, on loopback."""

    port: int

    def values(self, expression: str) -> list[float]:
        """What an expression gives now, NaN left out; empty when it has no data. Raises ValueError when it is none."""
        arguments = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{arguments}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:
                found = json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{expression}: {json.load(error).get('error')}") from error
        values = [float(series["value"][1]) for series in found["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=ANSWER_SECONDS) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(target: str) -> Iterator[Prometheus]:
    """Scrape this target (`host:port`) each second, with our rules."""
    program = needs_program("prometheus")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="prometheus-") as directory:
        config = Path(directory) / "prometheus.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(RULES)],
                    "scrape_configs": [{"job_name": "forwarder", "static_configs": [{"targets": [target]}]}],
                }
            )
        )
        command = [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        log = Path(directory) / "log"
        with log.open("wb") as written, subprocess.Popen(command, stdout=written, stderr=written) as process:
            try:
                made = Prometheus(port)
                until = time.monotonic() + START_SECONDS
                while not made.is_ready():
                    if process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError(f"prometheus does not answer: {log.read_text()}")
                    time.sleep(0.1)
                yield made
            finally:
                process.terminate()
                process.wait(END_SECONDS)


def promtool(*arguments: str, standard_input: str | None = None) -> str:
    """What it complains of; empty when it is content."""
    command = [needs_program("promtool", package="prometheus"), *arguments]
    done = subprocess.run(command, input=standard_input, capture_output=True, text=True, check=False, timeout=60)
    said = done.stdout + done.stderr
    return said if done.returncode or (arguments[:2] == ("check", "metrics") and said.strip()) else ""


def relabelled(
    relabelings: Sequence[Mapping[str, Any]], targets: Sequence[tuple[str, Mapping[str, str]]], directory: Path
) -> list[dict[str, str]]:
    """What Prometheus makes of each target (address and labels that were found) by these relabel_configs; empty: dropped."""
    found: list[dict[str, Any]] = [{"targets": [address], "labels": dict(labels)} for address, labels in targets]
    job = {"job_name": "pods", "relabel_configs": list(relabelings), "static_configs": found}
    config = directory / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    program = needs_program("promtool", package="prometheus")
    command = [program, "check", "service-discovery", "--timeout=1s", str(config), "pods"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    made = {json.dumps(one["discoveredLabels"], sort_keys=True): one.get("labels") or {} for one in json.loads(done.stdout)}
    of_each = []
    for one in found:
        (labels,) = (made[key] for key in made if one["labels"].items() <= json.loads(key).items())
        of_each.append(labels)
    return of_each


def dashboard() -> dict[str, Any]:
    """The one we ship."""
    made: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return made


def panels() -> Mapping[str, list[str]]:
    """Title of each panel -> its expressions, as Grafana would send them for a window of a few seconds."""
    shown = {panel["title"]: panel["targets"] for panel in dashboard()["panels"] if panel["type"] != "row"}
    return {title: [as_sent(target["expr"]) for target in targets] for title, targets in shown.items()}


def as_sent(expression: str) -> str:
    """Grafana's variables filled in."""
    for variable, value in (("$__rate_interval", "10s"), ("$__range", "1m"), ("$instance", ".+")):
        expression = expression.replace(variable, value)
    return expression


def rules() -> list[dict[str, Any]]:
    """Every rule of every group."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def selectors(expression: str) -> list[str]:
    """The vectors that an expression is made of."""
    return _SELECTOR.findall(expression)
