"""The example of inhibition in a real Alertmanager: while a cause fires, its consequences are muted."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.deploy_tools import ROOT, eventually, run
from tests.support.deploy_upstream import ask
from tests.support.ports import free_port

EXAMPLE = ROOT / "monitoring" / "alertmanager.example.yaml"
RULES = yaml.safe_load(EXAMPLE.read_text("utf-8"))["inhibit_rules"]
GROUPS = yaml.safe_load((ROOT / "monitoring" / "rules.yaml").read_text("utf-8"))["groups"]
NAMES = [rule["alert"] for group in GROUPS for rule in group["rules"] if "alert" in rule]


def chosen(matchers: list[str]) -> list[str]:
    """The alerts whose names a list of matchers chooses."""
    patterns = [one.split(maxsplit=2)[2].strip('"') for one in matchers]
    return [name for name in NAMES if all(re.fullmatch(pattern, name) for pattern in patterns)]


PAIRS = [
    (source, target, place)
    for place, rule in enumerate(RULES)
    for source in chosen(rule["source_matchers"])
    for target in chosen(rule["target_matchers"])
]


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an Alertmanager that serves with the example."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("prometheus-alertmanager is not installed")
    port = free_port()
    options = [f"--config.file={EXAMPLE}", f"--storage.path={tmp_path_factory.mktemp('alertmanager')}"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(30, lambda: ask(f"http://127.0.0.1:{port}/-/ready")[0] == 200)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def fire(url: str, *alerts: dict[str, str]) -> dict[str, str]:
    """Fire alerts with these labels; returns the state of each alert of the namespaces, by namespace and name."""
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass
    wanted = {(one["namespace"], one["alertname"]) for one in alerts}

    def states() -> dict[str, str]:
        found: list[dict[str, Any]] = ask(f"{url}/api/v2/alerts")[1]
        return {
            f"{one['labels']['namespace']} {one['labels']['alertname']}": "muted"
            if one["status"]["inhibitedBy"]
            else "fires"
            for one in found
            if (one["labels"]["namespace"], one["labels"]["alertname"]) in wanted
        }

    result: dict[str, str] = eventually(10, lambda: len(found := states()) == len(wanted) and found)
    return result


def test_every_rule_is_about_alerts_that_exist() -> None:
    """No rule of the example is without a cause and a consequence."""
    assert set(range(len(RULES))) == {place for _, _, place in PAIRS}


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
def test_alertmanager_takes_the_example() -> None:
    """The example is a configuration of Alertmanager."""
    run("amtool", "check-config", EXAMPLE)


@pytest.mark.parametrize(("source", "target", "place"), PAIRS)
def test_a_consequence_is_muted_where_its_cause_fires(alertmanager: str, source: str, target: str, place: int) -> None:
    """The cause notifies, its consequence in the same namespace does not, and one in another namespace does."""
    here, there = f"{source}-{target}-here", f"{source}-{target}-there"
    labels = {"job": "productlane-gateway", **dict.fromkeys(RULES[place]["equal"], "same")}
    states = fire(
        alertmanager,
        labels | {"alertname": source, "namespace": here},
        labels | {"alertname": target, "namespace": here},
        labels | {"alertname": target, "namespace": there},
    )

    assert {f"{here} {source}": "fires", f"{here} {target}": "muted", f"{there} {target}": "fires"} == states
