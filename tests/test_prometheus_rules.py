"""Alerts, recording rules and the dashboard that we ship, without a daemon; with one: scenarios/test_prometheus.py."""

import re
import subprocess

import pytest
import yaml

from forwarder.observe import counters, metrics
from forwarder.observe.conntrack import Conntrack
from tests.lab.project import ROOT
from tests.lab.prometheus import RULE_TESTS, RULES, dashboard, panels, promtool, rules, selectors
from tests.lab.scraped import Scraped, scraped

SEVERITIES = {"critical", "warning", "info"}
OF_GRAFANA = {"row", "stat", "timeseries"}
"""Panels that every Grafana since 7.4 draws by itself."""
PAGE = (ROOT / "docs" / "metrics.md").read_text()


@pytest.fixture(scope="module")
def shown() -> Scraped:
    """Everything that can be on /metrics."""
    table = Conntrack(entries=1, limit=1, insert_failed=1, drop=1)
    figures = metrics.Figures(0, 0, {"192.0.2.1:53": True}, {"supervisor": 1, "worker-0": 1}, 1.0, table, "192.0.2.9:53")
    return scraped(counters.private(), figures)


@pytest.fixture(scope="module")
def known(shown: Scraped) -> dict[str, set[str]]:
    """Series -> names of its labels."""
    samples = [sample for family in shown.families.values() for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples}


def test_promtool_is_content_with_every_metric(shown: Scraped) -> None:
    assert promtool("check", "metrics", standard_input=shown.text) == ""


def test_promtool_is_content_with_the_rules() -> None:
    assert promtool("check", "rules", str(RULES)) == ""


def test_each_alert_fires_where_it_should_and_nowhere_else() -> None:
    assert promtool("test", "rules", str(RULE_TESTS)) == ""


def test_promtool_would_say_so() -> None:
    assert "no help text" in promtool("check", "metrics", standard_input="sheep_total 1\n")


def test_each_alert_was_seen_to_fire_and_not_to() -> None:
    tested = {
        test["name"]: test["promql_expr_test"]
        for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        if test.get("promql_expr_test")
    }
    for alert in (rule["alert"] for rule in rules() if "alert" in rule):
        quiet, firing = tested[alert]
        assert quiet["exp_samples"] == []
        assert firing["exp_samples"] == [{"labels": f'{{alertname="{alert}"}}', "value": 1}]


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in (rule for rule in rules() if "alert" in rule):
        assert rule["labels"]["severity"] in SEVERITIES
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"], "which daemon"
        assert rule["annotations"]["description"].rstrip().endswith(".")
        assert f"`{rule['alert']}`" in PAGE


def test_rules_and_panels_ask_for_series_that_there_are(known: dict[str, set[str]]) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [rule["expr"] for rule in rules()] + [one for expressions in panels().values() for one in expressions]
    for name, _, labels in (vector.partition("{") for expression in asked for vector in selectors(expression)):
        assert name in known or name in recorded | {"up"}, name
        wanted = set(re.findall(r"(\w+)(?==~?|!=|!~)", labels)) - {"instance"}
        assert wanted <= known.get(name, set()), (name, labels)


def test_the_dashboard_is_whole() -> None:
    made = dashboard()
    shown = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    assert {panel["type"] for panel in made["panels"]} <= OF_GRAFANA, "no plugin of others"
    assert {variable["name"] for variable in made["templating"]["list"]} == {"datasource", "instance"}
    for panel in shown:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert 'instance=~"$instance"' in target["expr"], panel["title"]
            assert target["legendFormat"], panel["title"]


def test_no_panel_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in dashboard()["panels"]):
        cells = {(place["x"] + across, place["y"] + down) for across in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken
        assert max(across for across, _ in cells) < 24
        taken |= cells


def test_the_page_tells_of_every_metric(shown: Scraped) -> None:
    names = [f"{family.name}_total" if family.type == "counter" else family.name for family in shown.families.values()]
    assert [name for name in names if f"`{name}" not in PAGE] == []


def test_the_page_makes_a_custom_resource_of_the_rules() -> None:
    (command,) = re.findall(r"^ +(\{ echo .*?) \| kubectl apply -f -$", PAGE, re.MULTILINE | re.DOTALL)
    made = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    resource = yaml.safe_load(made)
    assert (resource["apiVersion"], resource["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert resource["spec"] == yaml.safe_load(RULES.read_text())
