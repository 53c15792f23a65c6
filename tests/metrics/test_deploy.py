"""The documented metrics are those that exist, and alerts and dashboard name no others."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
#: A word of an expression that stands for a metric, with or without the endings of a histogram.
METRIC = re.compile(r"\b(thumbwheel_[a-z_]+?)(?:_(?:bucket|sum|count))?\b")


@pytest.fixture
def exported(api):
    """The names of all metrics of ours; of a histogram, its common name."""
    text = api.get("/metrics").text
    return {name for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE) if name.startswith("thumbwheel_")}


def test_the_documentation_lists_every_metric(exported):
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(thumbwheel_\w+)", page, re.MULTILINE)) == exported


def test_alerts_and_dashboard_name_metrics_that_exist(exported):
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries = [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]

    for expression in [rule["expr"] for rule in rules] + targets + queries:
        named = set(METRIC.findall(expression)) - {"thumbwheel_"}
        assert named <= exported, expression
        assert named or expression.startswith("up{"), expression
    assert all({"alert", "expr", "labels", "annotations"} <= rule.keys() for rule in rules)


def test_prometheus_loads_the_alerts_and_scrapes_the_path_of_the_metrics():
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    assert all((DEPLOY / name).is_file() for name in config["rule_files"])
    assert [job.get("metrics_path", "/metrics") for job in config["scrape_configs"]] == ["/metrics"]
