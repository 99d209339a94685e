"""The README is right at every line that can be tried."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.config.schema.json_schema import config_schema, policy_schema
from gateway.core.refusal import ANSWERS, Code
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text("utf-8")
DEADLINE: Final = 30.0


def section(title: str) -> str:
    """The text below a heading of the second rank."""
    return re.split(r"^## ", README.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def settings(schema: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every setting of a schema as a dotted path."""
    if "anyOf" in node:
        for one in node["anyOf"]:
            yield from settings(schema, one, path)
        return
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if node.get("type") == "array" and isinstance(node.get("items"), dict):
        inner = list(settings(schema, node["items"], f"{path}[]"))
        yield from inner if inner != [f"{path}[]"] else [path]
    elif node.get("properties"):
        for name, below in node["properties"].items():
            yield from settings(schema, below, f"{path}.{name}" if path else name)
    elif isinstance(node.get("additionalProperties"), dict) and node["additionalProperties"]:
        yield from settings(schema, node["additionalProperties"], f"{path}.NAME")
    else:
        yield path


def told(title: str) -> set[str]:
    """The settings that the first column of a section's table names; `.audience` goes on from the one before."""
    names: set[str] = set()
    for row in re.findall(r"^\| (`[^|]*) \|", section(title), flags=re.MULTILINE):
        stem = ""
        for name in re.findall(r"`([^`]+)`", row):
            full = stem + name if name.startswith(".") else name
            stem = full.rpartition(".")[0]
            names.add(full)
    return names


@pytest.mark.parametrize(
    ("title", "schema"), [("gateway.yaml", config_schema()), ("Policies", policy_schema())], ids=["config", "policy"]
)
def test_every_setting_is_told(title: str, schema: dict[str, Any]) -> None:
    """The README's table names each setting that the parser reads, and none that it does not."""
    assert sorted(set(settings(schema, schema))) == sorted(told(title))


def test_every_code_is_told() -> None:
    """What a caller sees lists each code with its status."""
    rows = re.findall(r"^\| ([\d, ]+) \| (.*?) \|", section("What a caller sees"), flags=re.MULTILINE)
    pairs = {
        (code, status.strip())
        for statuses, codes in rows
        for status in statuses.split(",")
        for code in re.findall(r"`(\w+)`", codes)
    }

    for code in Code:
        assert (code.value, str(ANSWERS[code].status)) in pairs, code


def test_every_metric_is_told() -> None:
    """The table of metrics names each one that the gateway exports, with its labels, and no other."""
    rows = re.findall(r"^\| (`.*?) \| [a-z0-9/ ]+ \|", section("Metrics"), flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    metrics = Metrics()
    metrics.watch_log(lambda: 0)
    metrics.config_loaded(ok=True)
    prefix = "productlane_gateway_"
    exported = {
        family.name.removeprefix(prefix) + ("_total" if family.type == "counter" else "")
        for family in metrics.collect()
    }

    assert sorted(exported) == sorted(named)
    assert list(text_string_to_metric_families(metrics.render().decode()))


def test_every_field_of_the_log_is_told(tmp_path: Path) -> None:
    """The section on the log names the fields of a request's line, in their order."""
    file = tmp_path / "log"
    fd = os.open(file, os.O_CREAT | os.O_WRONLY)
    log = Log(fd)
    log.request(Record())
    log.close()
    os.close(fd)
    fields = list(msgspec.json.decode(file.read_bytes()))

    assert fields == re.findall(r"`(\w+)`", section("Log"))[: len(fields)]


def test_every_command_is_told() -> None:
    """The table of commands is that of `--help`."""
    shown = subprocess.run([sys.executable, "-m", "gateway", "--help"], capture_output=True, text=True, check=True)
    commands = re.findall(r"^  (\w[\w-]*) ", shown.stdout.partition("Commands:")[2], flags=re.MULTILINE)

    assert sorted(commands) == sorted(
        re.findall(r"^\| `productlane-gateway ([\w -]+?)`", section("Commands"), flags=re.MULTILINE)
    )


def test_the_first_command_starts_the_demo() -> None:
    """`make run` is the demo, whose lines another test pastes."""
    shown = subprocess.run(["make", "-n", "-C", str(ROOT), "run"], capture_output=True, text=True, check=True)

    assert blocks("sh", section("Run it in a minute")) == ["make run\n"]
    assert "productlane-gateway demo" in shown.stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def started(script: str, ready: str, folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """A block that does not end by itself, once it answers at a URL; SIGTERM ends it."""
    process = subprocess.Popen(["bash", "-c", f"exec env {script}"], cwd=folder, env=environ, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE
        while not answers(ready):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def test_a_gateway_of_your_own_is_as_it_is_told(tmp_path: Path) -> None:
    """Whoever types and pastes what the section says gets a gateway that allows, refuses and counts."""
    text = section("A gateway of your own")
    ports = {7070: free_port(), 8080: free_port(), 9090: free_port()}
    for written, free in ports.items():
        text = text.replace(str(written), str(free))
    token, before, simulate, serve, curls = blocks("sh", text)
    policy, cases, config = blocks("yaml", text)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "productlane-gateway"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    command.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PRODUCTLANE_GATEWAY_LISTEN": f"127.0.0.1:{ports[8080]}",
        "PRODUCTLANE_GATEWAY_ADMIN": f"127.0.0.1:{ports[9090]}",
        "PRODUCTLANE_GATEWAY_DRAIN_DELAY": "0s",
    }

    def run(script: str, **more: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, env=environ | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = run(token)
    secret = re.search(r"plgw_\S+", shown)
    digest = re.search(r"sha256:[0-9a-f]{64}", shown)
    assert secret is not None
    assert digest is not None
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/support-bot.yaml").write_text(re.sub(r"sha256:[0-9a-f]{64}", digest[0], policy))
    (tmp_path / "policies/support-bot.cases.yaml").write_text(cases)
    (tmp_path / "gateway.yaml").write_text(config)
    checked = run(before)
    with (
        started(simulate, f"http://127.0.0.1:{ports[7070]}/", tmp_path, environ),
        started(serve, f"http://127.0.0.1:{ports[9090]}/readyz", tmp_path, environ),
    ):
        curled = run(curls, TOKEN=secret[0])

    assert "guarded" in checked
    for expected in (
        "200",
        '"data"',
        "403",
        '"forbidden"',
        "policy support-bot: `deny`",
        "ok\n# HELP",
        'code="forbidden"',
    ):
        assert expected in curled, expected
