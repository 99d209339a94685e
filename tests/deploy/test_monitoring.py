"""Alerts, runbook and dashboard, against a real promtool and a real Prometheus that scrapes a real gateway."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import documents
from tests.support.deploy_tools import ROOT, run
from tests.support.redis_server import NEEDS_REDIS
from tests.support.scraped import Evidence, alerts, evidence

MONITORING = ROOT / "monitoring"
RULES = yaml.safe_load((MONITORING / "rules.yaml").read_text("utf-8"))["groups"]
ALERTS = [rule for group in RULES for rule in group["rules"] if "alert" in rule]
CASES = yaml.safe_load((MONITORING / "rules.test.yaml").read_text("utf-8"))["tests"]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
NEEDS_PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
NEEDS_PROMETHEUS = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")

# What the scene cannot cause in seconds: ten timeouts open a circuit, the simulator's v2 keys never get 410, it serves
# without TLS, and the rest is a matter of minutes or of a full pipe. `rules.test.yaml` has them all.
UNSTAGED = {
    "CertificateEnds",
    "CircuitOpen",
    "HandshakesRefused",
    "RestartNeeded",
    "KeyUnsupported",
    "KeyUnusable",
    "LogLinesDropped",
    "Slow",
    "UpstreamSlow",
}
# Series that the scene does not have: it serves without TLS, and its issuer never answers.
UNSEEN = ("certificate_expires_timestamp_seconds", "certificate_issued_timestamp_seconds", "issuer_keys_age_seconds")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What Prometheus says of a gateway to which everything has happened."""
    return asyncio.run(evidence(tmp_path_factory.mktemp("scraped")))


@NEEDS_PROMTOOL
def test_the_rules_are_rules() -> None:
    """Prometheus takes the file, and its linter has nothing to say."""
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", MONITORING / "rules.yaml")


def without_texts(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules whose alerts have no texts: promtool compares them word by word, and cases are about when an alert fires."""
    return [{name: part for name, part in rule.items() if name != "annotations"} for rule in rules]


def promtool(
    folder: Path, rules: list[dict[str, Any]], cases: list[dict[str, Any]]
) -> subprocess.CompletedProcess[str]:
    """What `promtool test rules` says about rules and cases."""
    text = yaml.safe_dump({"groups": [{"name": "one", "rules": without_texts(rules)}]})
    (folder / "rules.yaml").write_text(text)
    (folder / "cases.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": cases}))
    return run("promtool", "test", "rules", folder / "cases.yaml", check=False)


@NEEDS_PROMTOOL
def test_alerts_fire_as_their_cases_say(tmp_path: Path) -> None:
    """Each alert fires in its cases, and not in similar harmless ones."""
    done = promtool(tmp_path, [rule for group in RULES for rule in group["rules"]], CASES)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_names_what_it_is_about(rule: dict[str, Any]) -> None:
    """The texts of an alert name its namespace, and no label that the alert does not have."""
    held = [
        set(alert["exp_labels"])
        for case in CASES
        for one in case["alert_rule_test"]
        if one["alertname"] == rule["alert"]
        for alert in one["exp_alerts"]
    ]
    named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))

    assert "{{ with $labels.namespace }} in {{ . }}{{ end }}" in rule["annotations"]["summary"]
    assert all(named <= labels | {"namespace"} for labels in held)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_has_both_cases(rule: dict[str, str]) -> None:
    """No alert is without a case in which it fires and one in which it does not."""
    expected = [
        bool(one["exp_alerts"])
        for case in CASES
        for one in case["alert_rule_test"]
        if one["alertname"] == rule["alert"]
    ]

    assert {True, False} == set(expected)


@NEEDS_PROMTOOL
@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_the_cases_would_notice(rule: dict[str, str], tmp_path: Path) -> None:
    """The cases of an alert fail if it never fires and if it always fires."""
    cases = [
        {**case, "alert_rule_test": [one for one in case["alert_rule_test"] if one["alertname"] == rule["alert"]]}
        for case in CASES
        if case["alert_rule_test"][0]["alertname"] == rule["alert"]
    ]
    recorded = [one for group in RULES for one in group["rules"] if "record" in one]
    results = []
    for expression in (rule["expr"], "vector(0) > 1", f"vector(1) or {rule['expr']}"):
        results.append(promtool(tmp_path, [*recorded, {**rule, "expr": expression}], cases).returncode)

    assert [0, 1, 1] == results


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_section(rule: dict[str, dict[str, str]]) -> None:
    """For each alert the runbook says what to look at and what to do, under the alert's own name."""
    anchor = rule["annotations"]["runbook_url"].removeprefix("docs/runbook.md#")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.DOTALL | re.MULTILINE))
    (section,) = [text for name, text in sections.items() if name.lower() == anchor]

    assert str(rule["alert"]).lower() == anchor
    assert "**Look.**" in section
    assert "**Do.**" in section


def test_the_runbook_has_no_section_without_an_alert() -> None:
    """What the runbook is about can happen."""
    named = set(re.findall(r"^## (ProductlaneGateway\w+)$", RUNBOOK, re.MULTILINE))

    assert {rule["alert"] for rule in ALERTS} == named


@NEEDS_REDIS
@NEEDS_PROMETHEUS
def test_every_panel_shows_something(seen: Evidence) -> None:
    """Each query of the dashboard returns figures from a gateway that has something to show."""
    empty = [
        f"{title}: {query}"
        for title, query, result in seen.panels
        if all(one["value"][1] == "NaN" for one in result) and not any(name in query for name in UNSEEN)
    ]

    assert len(seen.panels) > 40
    assert [] == empty


@NEEDS_REDIS
@NEEDS_PROMETHEUS
def test_alerts_look_at_what_is_there(seen: Evidence) -> None:
    """Each series that an alert looks at, with its labels, is one that a gateway has."""
    assert len(seen.series) > 20
    assert [] == [series for series, count in seen.series.items() if not count and not series.endswith(UNSEEN)]


@NEEDS_REDIS
@NEEDS_PROMETHEUS
def test_alerts_see_what_a_gateway_says(seen: Evidence) -> None:
    """Faults of a real gateway make the expressions of its alerts true in a real Prometheus."""
    staged = {name for name in alerts() if name.removeprefix("ProductlaneGateway") not in UNSTAGED}

    assert staged == seen.alerts | seen.gone


def test_the_dashboard_is_what_its_code_makes() -> None:
    """``dashboard.json`` is the one that ``monitoring/dashboard.py`` writes."""
    done = subprocess.run(
        [sys.executable, "-m", "monitoring.dashboard", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        timeout=60,
    )

    assert (0, b"") == (done.returncode, done.stdout)


def test_every_metric_is_somewhere() -> None:
    """Every metric is used by a panel or an alert."""
    names = documents.metrics()
    used = (MONITORING / "dashboard.json").read_text("utf-8") + (MONITORING / "rules.yaml").read_text("utf-8")

    assert len(names) > 25
    assert [] == [name for name in names if f"productlane_gateway_{name}" not in used]


def test_panels_have_places_of_their_own() -> None:
    """No two panels overlap, and each has a description."""
    found = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))["panels"]
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (one["gridPos"] for one in found)
        for x in range(place["w"])
        for y in range(place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)
    assert [] == [one["title"] for one in found if one["type"] != "row" and not one["description"]]
