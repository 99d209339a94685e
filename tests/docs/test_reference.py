"""`docs/reference.md` names every setting, field, code, metric, log field and command."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.config.json_schema import config_schema, policy_schema
from gateway.core.refusal import Code
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record
from gateway.telemetry.series import PREFIX
from tests.support import documents
from tests.support.documents import ROOT, section, settings


@pytest.mark.parametrize(
    ("title", "schema"), [("gateway.yaml", config_schema()), ("Policies", policy_schema())], ids=["config", "policy"]
)
def test_every_setting_is_in_the_table(title: str, schema: dict[str, Any]) -> None:
    """The table names each setting that the parser reads, and none that it does not."""
    assert sorted(set(settings(schema, schema))) == sorted(documents.named(title))


def test_every_code_is_in_the_table() -> None:
    """What a caller sees lists each code with its status."""
    rows = re.findall(r"^\| ([\d, ]+) \| (.*?) \|", section("What a caller sees"), flags=re.MULTILINE)
    pairs = {
        (code, status.strip())
        for statuses, codes in rows
        for status in statuses.split(",")
        for code in re.findall(r"`(\w+)`", codes)
    }

    for code in Code:
        assert (code.value, str(code.status)) in pairs, code


def test_every_metric_is_in_the_table() -> None:
    """The table of metrics names each one that the gateway exports, and no other."""
    metrics = Metrics()
    exported = {
        metric.name + ("_total" if metric.kind == "counter" else "")
        for metric, _ in metrics.families()
        if metric.full.startswith(PREFIX)
    }

    assert sorted(exported) == sorted(documents.metrics())
    assert list(text_string_to_metric_families(metrics.render().decode()))


def test_every_field_of_the_log_is_named(tmp_path: Path) -> None:
    """The section on the log names the fields of a request's line, in their order."""
    file = tmp_path / "log"
    fd = os.open(file, os.O_CREAT | os.O_WRONLY)
    log = Log(fd)
    log.request(Record())
    log.close()
    os.close(fd)
    fields = list(msgspec.json.decode(file.read_bytes()))

    assert fields == re.findall(r"`(\w+)`", section("Log"))[: len(fields)]


def test_the_generated_tables_are_those_of_the_program() -> None:
    """`make docs` has been run since a setting, a policy field, a code or an event was changed last."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "", "") == (run.returncode, run.stdout, run.stderr)


def test_every_command_is_in_the_table() -> None:
    """The table of commands is that of `--help`."""
    shown = subprocess.run(
        [sys.executable, "-m", "gateway", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    commands = re.findall(r"^  (\w[\w-]*) ", shown.stdout.partition("Commands:")[2], flags=re.MULTILINE)

    assert sorted(commands) == sorted(
        re.findall(r"^\| `productlane-gateway ([\w -]+?)`", section("Commands"), flags=re.MULTILINE)
    )
