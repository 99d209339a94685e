"""Everything the runbook names exists, so the person on call never looks for something that does not."""

import json
import re
import shlex
from functools import cache
from typing import Final

import click
import pytest

from gateway.cli.program import _program
from gateway.config.json_schema import config_schema, policy_schema
from gateway.core.refusal import Code, Reason
from gateway.telemetry import labels
from gateway.telemetry.events import LOG_EVENTS
from gateway.telemetry.events.peers import TlsHandshakeFailed
from gateway.telemetry.record import Record
from gateway.telemetry.status import SlotStatus
from tests.support import documents
from tests.support.documents import ROOT, settings

RUNBOOK: Final = (ROOT / "docs" / "runbook.md").read_text("utf-8")
PROSE: Final = re.sub(r"^```.*?^```", "", RUNBOOK, flags=re.DOTALL | re.MULTILINE)
SPANS: Final = sorted({" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PROSE)})
# Placeholders, and words of Kubernetes, Prometheus, Redis, HTTP or Productlane.
OTHERS: Final = {
    "DEPLOY", "NS", "namespace", "container_cpu_cfs_throttled_periods_total", "maxmemory", "up", "-", "2", "pl_v2_…",
    "GET /me", "/me", "Retry-After", "RateLimit", "X-Request-Id", "Proxy-Status", "event", "relay",
    "system:service-account-issuer-discovery",
}  # fmt: skip


def commands() -> list[str]:
    """Every command line of the gateway in the runbook, without its prompt."""
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", RUNBOOK, flags=re.DOTALL | re.MULTILINE))
    lines = [line.partition("  #")[0] for line in blocks.splitlines()] + SPANS
    found = (re.search(r"productlane-gateway (\w.*)", line) for line in lines)
    return sorted({one[1] for one in found if one} | {span for span in SPANS if span.startswith("check ")})


@cache
def known() -> set[str]:
    """Codes, reasons, errors, states, settings, fields of the log, metrics and labels."""
    config, policy = config_schema(), policy_schema()
    paths = {re.sub(r"\[\]", "", path) for schema in (config, policy) for path in settings(schema, schema)}
    names = {".".join(path.split(".")[:n]) for path in paths for n in range(1, path.count(".") + 2)}
    names |= {path.rpartition(".")[2] for path in paths}
    names |= {*map(str, Code), *map(str, Reason), *labels.FAILURES, *labels.KEY_STATES, *labels.SOURCES, *LOG_EVENTS}
    names |= {*labels.HANDSHAKE_FAILURES, *TlsHandshakeFailed.__struct_fields__}
    names |= {*Record.__struct_fields__, *SlotStatus.__struct_fields__} | {"slot", "use", "replaced", "source"}
    names |= documents.metrics()
    chart = (ROOT / "helm/productlane-gateway/README.md").read_text("utf-8")
    values = {
        path for name in re.findall(r"^\| `([\w.]+)` ", chart, re.MULTILINE) for path in (name, name.partition(".")[0])
    }
    return names | values | {"/status", "/status.json", "livez", "readyz"}


@pytest.mark.parametrize(
    "span", [span for span in SPANS if not re.match(r'"|kubectl|helm |productlane-gateway|check ', span)]
)
def test_a_name_is_known(span: str) -> None:
    """Each code, setting, field, metric, label and path that the runbook names is one of the program's."""
    name, _, value = re.split(r"(=|: )", span, maxsplit=1) if re.search("=|: ", span) else (span, "", "")

    assert name in known() | OTHERS
    if value:
        assert value.strip('"') in known() | OTHERS


@pytest.mark.parametrize("command", commands())
def test_a_command_is_one(command: str) -> None:
    """Each command of the gateway's that the runbook gives exists, with its options."""
    found, words = _program, shlex.split(command)
    while isinstance(found, click.Group):
        inner = found.get_command(click.Context(found), words.pop(0))
        assert inner is not None
        found = inner  # type: ignore[assignment]
    options = {option for parameter in found.params for option in parameter.opts}

    assert [] == [word for word in words if word.startswith("--") and word not in options]


@pytest.mark.parametrize("event", sorted(set(re.findall(r'"event":"(\w+)"', RUNBOOK))))
def test_an_event_is_logged(event: str) -> None:
    """Each event that the runbook sends to the log for is one that is written there."""
    assert event in LOG_EVENTS


@pytest.mark.parametrize("span", [span for span in SPANS if span.startswith('"')])
def test_a_piece_of_a_line_can_be_searched_for(span: str) -> None:
    """Log excerpts in the runbook have the fields of real lines, in order."""
    names = list(json.loads("{" + span.replace("…", "") + "}"))
    orders = ["event", "outcome"], [*Record.__struct_fields__]

    assert any(", ".join(names) in ", ".join(order) for order in orders)


@pytest.mark.parametrize("title", sorted(set(re.findall(r'"([A-Z0-9][^"]*)"', re.sub("`[^`]*`", "", PROSE)))))
def test_a_panel_is_on_the_dashboard(title: str) -> None:
    """Each panel that the runbook looks at is on the dashboard, by that title."""
    panels = json.loads((ROOT / "monitoring" / "dashboard.json").read_text("utf-8"))["panels"]

    assert " ".join(title.split()) in {panel["title"] for panel in panels}


def test_a_section_that_is_pointed_to_is_there() -> None:
    """Every alert that the runbook refers to has its section."""
    named = set(re.findall(r"ProductlaneGateway\w+", RUNBOOK))

    assert named == set(re.findall(r"^## (\w+)$", RUNBOOK, flags=re.MULTILINE))


def test_something_was_found() -> None:
    """The patterns above find what there is to find."""
    assert len(SPANS) > 60
    assert len(commands()) > 6
