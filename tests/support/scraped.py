"""A gateway in use and in trouble, and a real Prometheus that scrapes it and has the rules of ``monitoring/``.

python -m tests.support.scraped    prints each panel's queries and what they come to
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml

from gateway.simulator import Limits, SimulatedKey, Simulator
from tests.support.deadline import kill
from tests.support.deploy_tools import ROOT
from tests.support.in_process import policy
from tests.support.ports import free_port
from tests.support.raw_caller import head
from tests.support.redis_server import redis_serving
from tests.support.served import Served, started
from tests.support.simulated import catalog

RULES = ROOT / "monitoring" / "rules.yaml"
OLD, NEW, NARROW, DEAD = (f"pl_v2_{name}-sentinel-0123456789" for name in ("Old1", "New2", "Nar3", "Ded4"))
TOKENS = {name: f"plgw_token-of-{name}-0123456789" for name in ("billing", "support-bot", "trial")}
TAGS = ("tags:read", "tags:write")
ISSUER = "https://issuer.invalid"
# A service account's token with an unreachable issuer.
ACCOUNT = jwt.encode({"iss": ISSUER, "aud": "gateway", "exp": 1 << 40}, "k" * 32, headers={"kid": "1"})
JSON = "Content-Type: application/json"
THREAD = b'{"text": "The export fails"}'


@dataclass(frozen=True)
class Prometheus:
    """A server that answers queries. ``url`` has no slash at its end."""

    url: str

    async def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer of its API."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"

        def ask() -> Any:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]

        return await asyncio.to_thread(ask)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The current result of an expression. Raises `urllib.error.HTTPError` if it is malformed."""
        found: list[dict[str, Any]] = (await self.get("query", query=expression))["result"]
        return found

    async def until(self, expression: str) -> None:
        """Wait until an expression comes to something."""
        async with asyncio.timeout(30):
            while not await self.query(expression):
                await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Stage:
    """The players. `gateway` is the process, in front of `upstream`."""

    prometheus: Prometheus
    gateway: Served
    upstream: Simulator
    folder: Path

    async def ask(self, caller: str, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> None:
        """One request on a new connection, its answer ignored; ``caller`` may be unknown."""
        token = TOKENS.get(caller)
        length = (f"Content-Length: {len(body)}", JSON) if body else ()
        await self.gateway.send(head(method, target, *fields, *length, "Connection: close", token=token) + body)

    async def some_of_everything(self) -> None:
        """One of each thing that a gateway counts."""
        await self.ask("support-bot", "/api/v2/threads?limit=1")
        await self.ask("billing", "/api/v2/companies")
        await self.ask("billing", "/api/v2/me")
        await self.ask("billing", "/api/v2/threads")
        await self.ask("trial", "/api/v2/threads")
        await self.ask("support-bot", "/api/v2/changelogs/changelog_1/broadcast", method="POST")
        await self.ask("support-bot", "/api/v2/threads", method="POST", body=THREAD)
        await self.ask("support-bot", "/api/v2/companies")
        await self.ask("billing", "/api/v2/tags")
        await self.ask("nobody", "/api/v2/threads", "Authorization: Bearer plgw_unknown")
        await self.ask("nobody", "/api/v2/threads", "Authorization: Bearer pl_v1_of-the-old-days")
        await self.ask("nobody", "/api/v2/threads", f"Authorization: Bearer {NARROW}")
        await self.ask("billing", "/api/v1/threads")
        await self.ask("nobody", "/api/v2/threads", f"Authorization: Bearer {ACCOUNT}")
        self.upstream.fault("GET /companies", act="close", count=1)
        await self.ask("billing", "/api/v2/companies")
        self.upstream.fault("POST /threads", act="close", count=1)
        await self.ask("support-bot", "/api/v2/threads", method="POST", body=THREAD)
        wanted = {"required": ["snippets:all"]}
        self.upstream.fault("GET /snippets", status=403, code="scope_required", details=wanted, count=1)
        await self.ask("support-bot", "/api/v2/snippets")
        self.upstream.fault("GET /issues", status=500, code="internal_error", count=1)
        await self.ask("support-bot", "/api/v2/issues")


def _write(folder: Path, upstream: str, store: str) -> Path:
    scopes = {
        "support-bot": ["threads:read", "threads:write", "snippets:read", "issues:read", "docs:read"],
        "billing": ["companies:read", *TAGS],
        "trial": ["companies:read"],
    }
    policies = [policy(name, TOKENS[name], scopes=granted) for name, granted in scopes.items()]
    policies[1]["limits"] = {"reads_per_minute": 100_000}
    policies[1]["authenticate"]["kubernetes"] = ["billing/billing-api"]
    policies[2]["mode"] = "audit"
    policies[2]["expires"] = (datetime.now(UTC).date() + timedelta(days=3)).isoformat()
    (folder / "policies").mkdir()
    for fields in policies:
        (folder / "policies" / f"{fields['caller']}.yaml").write_text(yaml.safe_dump(fields))
    (folder / "narrow").write_text(NARROW)
    (folder / "narrow").chmod(0o600)
    path = folder / "gateway.yaml"
    settings = {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "upstream": {"url": upstream},
        "keys": {
            "support": {"secrets": ["env:OLD", "env:NEW"]},
            "billing": {"secrets": ["file:narrow"]},
            "tags": {"secrets": ["env:DEAD"]},
        },
        "routes": [
            {"path": "/tags/**", "callers": ["billing"], "keys": ["tags"]},
            {"path": "/**", "callers": ["billing"], "keys": ["billing"]},
            {"path": "/**", "keys": ["support"]},
        ],
        "callers": {"kubernetes": {"issuer": ISSUER, "audience": "gateway"}},
        "identity": {"ttl": "1s", "refused_ttl": "1s"},
        "pacing": {"max_wait": "200ms"},
        "store": store,
        "drain": {"delay": "0s", "timeout": "1s"},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@contextlib.asynccontextmanager
async def _prometheus(folder: Path, target: str) -> AsyncIterator[Prometheus]:
    """Prometheus with the rules, which scrapes one target each second under the job and namespace of a cluster."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    scrape = {
        "job_name": "productlane-gateway",
        "static_configs": [{"targets": [target], "labels": {"namespace": "apps"}}],
    }
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}", stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
    server = Prometheus(f"http://{address}")
    try:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    await server.query("vector(1)")
                    break
                assert process.returncode is None, (folder / "prometheus.log").read_text()
                await asyncio.sleep(0.1)
        yield server
    finally:
        await kill(process)


@contextlib.asynccontextmanager
async def scraped(folder: Path) -> AsyncIterator[Stage]:
    """A gateway to which everything has happened that it counts, and Prometheus that has seen it happen.

    At the end one key is revoked, another serves by its second secret, the file of a third is gone, ``/me`` and the store fail, and the
    configuration is broken.
    """
    limits = Limits(reads=1000, writes=20, uploads=30, uploads_per_day=500, burst=6)
    known = [
        SimulatedKey(OLD, frozenset(catalog().scopes)),
        SimulatedKey(NEW, frozenset({"threads:read", "threads:write", "snippets:read", "issues:read"})),
        SimulatedKey(NARROW, frozenset({"companies:read", "contacts:read", "portal:admin"})),
        SimulatedKey(DEAD, frozenset(TAGS)),
    ]
    secrets = {"OLD": OLD, "NEW": NEW, "DEAD": DEAD}
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_serving(folder))
        upstream = await stack.enter_async_context(Simulator(catalog(), known, limits=limits))
        config = _write(folder, upstream.url, f"redis://127.0.0.1:{redis.at.port}/0")
        gateway = await stack.enter_async_context(started("serve", "--config", config, cwd=folder, environ=secrets))
        prometheus = await stack.enter_async_context(_prometheus(folder, gateway.admin))
        stage = Stage(prometheus, gateway, upstream, folder)
        await prometheus.until("productlane_gateway_build_info")
        await stage.some_of_everything()
        # A series that begins with its whole value has no rate.
        await prometheus.until('productlane_gateway_auth_responses_total{status="410"}')
        upstream.keys.revoke(OLD)
        upstream.keys.revoke(DEAD)
        await stage.some_of_everything()
        for _ in range(40):
            await stage.ask("support-bot", "/api/v2/threads", method="POST", body=THREAD)
            await stage.ask("support-bot", "/api/v2/companies")
            await stage.ask("nobody", "/api/v2/companies")
            upstream.fault("GET /issues", status=500, code="internal_error", count=1)
            await stage.ask("support-bot", "/api/v2/issues")
        await prometheus.until('ALERTS{alertname="ProductlaneGatewayScopesMissing"}')
        (folder / "narrow").unlink()
        config.write_text(config.read_text() + "unknown: 1\n")
        upstream.fault("GET /me", status=500, code="internal_error")
        await redis.kill()
        await prometheus.until("productlane_gateway_config_last_reload_successful == 0")
        await prometheus.until("productlane_gateway_key_source_fault == 1")
        for _ in range(3):
            await stage.some_of_everything()
            await asyncio.sleep(1)
        await prometheus.until('rate(productlane_gateway_identity_lookups_total{result="stale"}[1m]) > 0')
        yield stage


def panels() -> list[tuple[str, str]]:
    """Title and query of each panel, as Grafana sends it for all gateways and the last minute."""
    found = json.loads((ROOT / "monitoring" / "dashboard.json").read_text("utf-8"))["panels"]
    queries = [(panel["title"], query["expr"]) for panel in found for query in panel.get("targets", ())]
    said = {"$namespace": ".*", "$job": ".*", "$instance": ".*", "$__rate_interval": "1m"}
    return [(title, re.sub(r"\$\w+", lambda name: said[name[0]], query)) for title, query in queries]


def alerts() -> dict[str, str]:
    """The expression of each alert."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"] if "alert" in rule}


def selectors(expression: str) -> set[str]:
    """The series that an expression is about."""
    return set(
        re.findall(r"(?<![\w:])(?:(?:productlane_gateway_|namespace_job_)[\w:]+|up)(?:\{[^}]*\})?(?![\w:])", expression)
    )


@dataclass(frozen=True)
class Evidence:
    """The answers of a Prometheus: for each panel's queries, each series that alerts use, and pending alerts.

    ``panels`` has title, query and result; ``series`` the number of those found; ``alerts`` the names of those whose
    expression held, and ``gone`` of those that hold once the gateway has gone.
    """

    panels: list[tuple[str, str, list[dict[str, Any]]]]
    series: dict[str, int]
    alerts: set[str]
    gone: set[str]


async def evidence(folder: Path) -> Evidence:
    """Ask everything that can be asked, once everything has happened."""
    async with scraped(folder) as stage:
        ask = stage.prometheus.query
        found = [(title, query, await ask(query)) for title, query in panels()]
        wanted = {one for expression in alerts().values() for one in selectors(expression)}
        series = {one: len(await ask(f"last_over_time({one}[5m])")) for one in wanted}
        held = {one["metric"]["alertname"] for one in await ask("last_over_time(ALERTS[5m])")}
        stage.gateway.process.kill()
        await stage.prometheus.until('ALERTS{alertname="ProductlaneGatewayAbsent"}')
        gone = {one["metric"]["alertname"] for one in await ask("ALERTS")}
        return Evidence(found, series, held, gone)


def main() -> None:
    """Print each panel's queries and their results."""
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(evidence(Path(folder)))
    for title, query, result in seen.panels:
        print(f"\n{title}\n  {query}")
        for one in result[:4]:
            labels = ", ".join(
                f"{name}={value}" for name, value in one["metric"].items() if name not in ("job", "namespace")
            )
            print(f"    {labels or '-'}: {one['value'][1]}")
        if len(result) > 4:
            print(f"    … {len(result) - 4} more")
    print(
        f"\nAlerts that held: {', '.join(sorted(seen.alerts))}; with the gateway gone: {', '.join(sorted(seen.gone - seen.alerts))}"
    )


if __name__ == "__main__":
    main()
