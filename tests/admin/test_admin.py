"""`gateway.admin`: probes, metrics and status over a real socket, with previews and never a secret."""

import asyncio
import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from datetime import date
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, ClientTimeout
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.admin.health import Fact, Health
from gateway.admin.page import page
from gateway.admin.pages import Pages
from gateway.admin.status import caller_statuses
from gateway.core.catalog import Endpoint, Lane
from gateway.core.policy import Policy
from gateway.net.listen_address import Address
from gateway.net.sockets import bound, listen
from gateway.runtime.admin_listener import AdminListener
from gateway.telemetry.event import Emit, Event
from gateway.telemetry.events.process import ConnectionFault
from gateway.telemetry.gauge import State
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record
from gateway.telemetry.status import (
    BudgetStatus,
    KeyStatus,
    ReloadStatus,
    ShareStatus,
    SlotStatus,
    Status,
    StoreStatus,
    UseStatus,
    moment,
    text,
)
from gateway.telemetry.usage import Usage
from tests.support.deadline import DEADLINE

NOON = 1_790_000_000.0
MERGE = Endpoint("POST", "/companies/{id}/merge", frozenset({"companies:write"}), Lane.WRITE, guarded=True)
DELETE = Endpoint("DELETE", "/companies/{id}", frozenset({"companies:write"}), Lane.WRITE)


def status() -> Status:
    """A gateway with one key of two secrets, and a caller that used one endpoint."""
    usage = Usage(clock=lambda: NOON)
    for decision in ("allow", "allow", "deny"):
        usage.count(Record(caller="billing", endpoint="GET /companies", decision=decision))
    usage.count(Record(decision="deny"))
    policy = Policy(
        "billing",
        frozenset({"companies:write", "companies:read"}),
        frozenset({MERGE}),
        frozenset({DELETE}),
        audit=True,
        expires=date(2027, 1, 1),
    )
    main = SlotStatus(
        "1",
        "active",
        "abcd",
        "wks_1",
        "key_1",
        ("companies:read",),
        3.0,
        moment(NOON),
        source="file:/run/secrets/main/current",
        since=moment(NOON - 60),
        requests_last_hour=7,
        identity_fault="no connection",
    )
    absent = SlotStatus("2", "missing", fault="the file x does not exist")
    return Status(
        version=__version__,
        config="gateway.yaml",
        upstream="https://productlane.com/api/v2",
        listeners={"traffic": "127.0.0.1:8080", "admin": "127.0.0.1:9090"},
        not_ready=(),
        started=moment(NOON - 60),
        now=moment(NOON),
        callers=caller_statuses({"billing": policy}, usage, {}),
        keys=(
            KeyStatus(
                "main",
                (main, absent),
                missing=("companies:write",),
                excess=(),
                unknown=("loyalty:read",),
                wide=True,
                advice=("take <loyalty:read> from it",),
                budgets={
                    "read": BudgetStatus(1000, 998, moment(NOON), 990, 17, 3, (ShareStatus("billing", 2, 500, 2, 3),))
                },
            ),
        ),
        reload=ReloadStatus(False, ("policies/a.yaml:1: scopes: <wrong>",), moment(NOON - 30), ("listen",)),
        store=StoreStatus("redis", "redis://<r>:6379/0", {"read": "ConnectionError"}),
    )


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def health() -> Health:
    return Health()


@contextlib.asynccontextmanager
async def listening(pages: Pages, emit: Emit = lambda _: None) -> AsyncIterator[tuple[AdminListener, ClientSession]]:
    """An admin listener and a client of it."""
    listener, anywhere = AdminListener(pages, emit), Address("127.0.0.1", 0)
    server = await listen(listener, anywhere, "admin")
    try:
        async with ClientSession(f"http://{bound(anywhere, server)}", timeout=ClientTimeout(DEADLINE)) as session:
            yield listener, session
    finally:
        server.close()
        await listener.finish()
        await pages.close()


@pytest.fixture
async def admin(metrics: Metrics, health: Health) -> AsyncIterator[ClientSession]:
    async with listening(Pages(metrics, health, status)) as (_, session):
        yield session


async def test_liveness_says_only_that_the_loop_turns(admin: ClientSession) -> None:
    """A process that is not ready is still alive, so Kubernetes does not restart it."""
    answer = await admin.get("/livez")

    assert (200, "ok\n") == (answer.status, await answer.text())


async def test_readiness_names_each_fact_that_is_missing(admin: ClientSession, health: Health) -> None:
    """A process takes traffic when its config is loaded, its listener open and it is not draining; else it says why."""
    seen = []
    issuers = "the keys of an issuer of callers' tokens have not been fetched yet\n"
    steps: list[tuple[Fact, bool]] = [("config_loaded", True), ("listener_open", True)]
    steps += [("issuers_asked", True), ("not_draining", False)]
    for step in [None, *steps]:
        if step:
            health.mark(*step)
        answer = await admin.get("/readyz")
        seen.append((answer.status, await answer.text()))

    assert [
        (503, f"the config is not loaded\nthe traffic listener is not open\n{issuers}"),
        (503, f"the traffic listener is not open\n{issuers}"),
        (503, issuers),
        (200, "ok\n"),
        (503, "draining: the process is about to end\n"),
    ] == seen


async def test_metrics_come_in_the_format_that_is_asked_for(admin: ClientSession) -> None:
    """The default is Prometheus' text format; a scraper that accepts OpenMetrics gets it. Media types match."""
    plain = await admin.get("/metrics")
    open_ = await admin.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    text = await plain.text()

    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "productlane_gateway_build_info" in {family.name for family in text_string_to_metric_families(text)}
    assert open_.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (await open_.text()).endswith("# EOF\n")


async def test_a_version_that_is_none_is_no_reason_to_tell_nothing(admin: ClientSession) -> None:
    """A malformed ``Accept`` gets the text format."""
    told = await admin.get("/metrics", headers={"Accept": "application/openmetrics-text; version=newest"})

    assert (200, True) == (told.status, told.headers["Content-Type"].startswith("text/plain; version=0.0.4"))


async def test_a_scrape_sees_the_keys_as_they_are_now(admin: ClientSession, metrics: Metrics) -> None:
    """A key that changed its state a moment ago shows the new one at the next scrape, and only that."""
    state = "active"
    metrics.watch(lambda: State(keys=(KeyStatus("main", (SlotStatus("1", state),)),)))
    shown = []
    for state in ("active", "rejected"):  # noqa: B007  the facts above read it
        text = await (await admin.get("/metrics")).text()
        shown.append(re.findall(r'key_state\{key="main",slot="1",state="(\w+)"\} 1$', text, flags=re.MULTILINE))

    assert [["active"], ["rejected"]] == shown


async def test_the_status_tells_everything_but_the_secret(admin: ClientSession) -> None:
    """``/status.json`` shows each key by preview, with drift and budget, and each caller with its grant and its use."""
    told = await (await admin.get("/status.json")).json()
    used = {"allowed": 2, "denied": 1, "would_deny": 0, "last": "2026-09-21T14:13:20Z"}
    no_policy: dict[str, Any] = {
        "caller": "-",
        "mode": None,
        "expires": None,
        "scopes": [],
        "endpoints": [],
        "deny": [],
        "authenticate": [],
    }

    assert {
        "version": __version__,
        "started": "2026-09-21T14:12:20Z",
        "now": "2026-09-21T14:13:20Z",
        "config": "gateway.yaml",
        "upstream": "https://productlane.com/api/v2",
        "listeners": {"traffic": "127.0.0.1:8080", "admin": "127.0.0.1:9090"},
        "not_ready": [],
        "reload": {
            "ok": False,
            "problems": ["policies/a.yaml:1: scopes: <wrong>"],
            "failing_since": "2026-09-21T14:12:50Z",
            "restart_needed": ["listen"],
            "narrowed": [],
        },
        "store": {"kind": "redis", "place": "redis://<r>:6379/0", "faults": {"read": "ConnectionError"}},
        "keys": [
            {
                "key": "main",
                "slots": [
                    {
                        "slot": "1",
                        "state": "active",
                        "preview": "abcd",
                        "workspace": "wks_1",
                        "api_key_id": "key_1",
                        "scopes": ["companies:read"],
                        "identity_age": 3.0,
                        "last_used": "2026-09-21T14:13:20Z",
                        "source": "file:/run/secrets/main/current",
                        "since": "2026-09-21T14:12:20Z",
                        "requests_last_hour": 7,
                        "note": None,
                        "fault": None,
                        "identity_fault": "no connection",
                        "source_fault": False,
                    },
                    {"slot": "2", "state": "missing", "requests_last_hour": 0, "fault": "the file x does not exist"}
                    | {"source_fault": False}
                    | dict.fromkeys(("preview", "workspace", "api_key_id", "scopes", "identity_age", "last_used"))
                    | dict.fromkeys(("source", "since", "note", "identity_fault")),
                ],
                "missing": ["companies:write"],
                "excess": [],
                "unknown": ["loyalty:read"],
                "wide": True,
                "advice": ["take <loyalty:read> from it"],
                "budgets": {
                    "read": {
                        "limit": 1000,
                        "remaining": 998,
                        "reset": "2026-09-21T14:13:20Z",
                        "lowest": 990,
                        "expected": 17,
                        "waiting": 3,
                        "callers": [{"caller": "billing", "weight": 2, "share": 500, "used": 2, "waiting": 3}],
                    }
                },
            }
        ],
        "callers": [
            {
                "caller": "billing",
                "mode": "audit",
                "expires": "2027-01-01",
                "scopes": ["companies:read", "companies:write"],
                "endpoints": ["POST /companies/{id}/merge"],
                "deny": ["DELETE /companies/{id}"],
                "used": {"GET /companies": used},
                "authenticate": [],
            },
            no_policy | {"used": {"other": used | {"allowed": 0}}},
        ],
        "instance": "",
        "issuers": [],
    } == told


async def test_commands_read_the_status_by_the_type_that_made_it(admin: ClientSession) -> None:
    """A command decodes the same status that the process encoded; unknown values are None."""
    told = await (await admin.get("/status.json")).read()

    assert status() == msgspec.json.decode(told, type=Status)


class Shape(HTMLParser):
    """The text and tags of a page, and whether each opened tag is closed."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.style = "", ""
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links |= {value or "" for name, value in attrs if name in ("href", "src")}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += f"{data} "


async def test_the_page_shows_the_same_facts_and_runs_nothing(admin: ClientSession) -> None:
    """``/status`` is one well-formed page; its security policy allows its own style, and nothing else is in it."""
    answer = await admin.get("/status")
    shape = Shape(await answer.text())
    style = base64.b64encode(hashlib.sha256(shape.style.encode()).digest()).decode()
    shown = [
        "ready",
        "pl_v2_abcd…",
        "wks_1",
        "read 998/1000",
        "billing: 2 of 500",
        "companies:write",
        "GET /companies",
        "billing",
        "audit",
    ]
    shown += ["redis://<r>:6379/0", "read: ConnectionError", "main: take <loyalty:read> from it"]
    shown += ["the gateway cannot ask /me (no connection); still using the answer from 3 s ago"]
    policy = answer.headers["Content-Security-Policy"]

    assert [] == shape.open
    assert [] == [fact for fact in shown if fact not in shape.text]
    assert not {"script", "iframe", "form", "img"} & shape.tags
    assert {"data:,", "/status.json"} == shape.links
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{style}';")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


EVIL = '"><script>alert(1)</script>'
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT")


def spoiled(value: Any) -> Any:
    """The same value with markup in every text. Moments stay, because their type allows nothing else."""
    if isinstance(value, dict):
        return {name: spoiled(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [spoiled(one) for one in value]
    return EVIL if isinstance(value, str) and not MOMENT.match(value) else value


def test_no_name_can_break_out_of_the_page() -> None:
    """Whatever a workspace, a config or a scope is called, the page shows it as text."""
    told = spoiled(msgspec.to_builtins(status()))
    told["listeners"], told["not_ready"] = {EVIL: EVIL}, [EVIL]
    told["keys"][0]["budgets"] = {EVIL: told["keys"][0]["budgets"]["read"]}
    told["callers"][0]["used"] = {EVIL: told["callers"][0]["used"]["GET /companies"]}
    shape = Shape(page(msgspec.convert(told, Status)))

    assert "script" not in shape.tags
    assert shape.text.count(EVIL) >= 20


def test_a_page_of_many_callers_shows_the_latest() -> None:
    """With thousands of callers the page stays small, shows the most recent ones and links to the others."""
    told = status()
    callers = [
        structs.replace(told.callers[0], caller=f"caller-{n:04d}", used={"GET /me": UseStatus(1, 0, 0, moment(n))})
        for n in range(300)
    ]
    shape = Shape(page(structs.replace(told, callers=tuple(callers))))
    shown = re.findall(r"caller-(\d{4})", shape.text)

    assert [f"{n:04d}" for n in range(299, 99, -1)] == shown
    assert "100 more callers are in /status.json." in shape.text


@pytest.mark.parametrize(
    ("method", "path", "status_", "code", "allow"),
    [
        ("GET", "/", 404, "not_found", None),
        ("GET", "/api/v2/threads", 404, "not_found", None),
        ("POST", "/metrics", 405, "method_not_allowed", "GET,HEAD"),
        ("DELETE", "/status.json", 405, "method_not_allowed", "GET,HEAD"),
    ],
)
async def test_what_is_not_there_is_said_in_json(
    admin: ClientSession, method: str, path: str, status_: int, code: str, allow: str | None
) -> None:
    """The admin listener serves its own five paths, to read, and answers anything else in plain JSON."""
    answer = await admin.request(method, path)
    body = await answer.json()

    assert (status_, code, allow) == (answer.status, body["error"]["code"], answer.headers.get("Allow"))


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/status", "/nothing"])
async def test_a_head_request_gets_the_head_of_the_answer(admin: ClientSession, path: str) -> None:
    """HEAD is answered as GET is, with the type and the length of a body that does not come."""
    got, told = await admin.get(path), await admin.head(path)
    length = len(await got.read())

    assert (got.status, got.headers["Content-Type"]) == (told.status, told.headers["Content-Type"])
    assert b"" == await told.read()
    assert path == "/metrics" or str(length) == told.headers["Content-Length"]


async def test_an_answer_that_is_being_made_arrives(metrics: Metrics, health: Health) -> None:
    """A status that is being made when the process ends is still sent whole, and its connection ends."""
    asked = asyncio.Event()

    def told() -> Status:
        asked.set()
        return status()

    async with listening(Pages(metrics, health, told)) as (listener, session):
        async with asyncio.timeout(DEADLINE):
            wanted = asyncio.ensure_future(session.get("/status.json"))
            await asked.wait()
            await listener.finish()
            answer = await wanted

        assert (200, "close", __version__) == (
            answer.status,
            answer.headers["Connection"],
            (await answer.json())["version"],
        )


async def test_a_fault_of_the_program_is_told_by_its_kind(metrics: Metrics, health: Health) -> None:
    """A page that cannot be made is a 500 without the text of the error, and an event; the listener goes on."""
    events: list[Event] = []

    def broken() -> Status:
        raise ValueError("pl_v2_secret")

    async with listening(Pages(metrics, health, broken), events.append) as (_, session):
        failed, alive = await session.get("/status"), await session.get("/livez")

        assert (500, 200) == (failed.status, alive.status)
        assert "internal_error" == (await failed.json())["error"]["code"]
        assert [ConnectionFault("ValueError")] == events


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/status", "/status.json", "/nothing"])
async def test_answers_name_no_software_and_are_not_kept(admin: ClientSession, path: str) -> None:
    """No answer names its server software, allows sniffing of its type, or may be cached."""
    headers = (await admin.get(path)).headers

    assert "Server" not in headers
    assert ("nosniff", "no-store") == (headers["X-Content-Type-Options"], headers["Cache-Control"])


@pytest.mark.parametrize(
    ("unix", "expected"), [(None, None), (0.0, "1970-01-01T00:00:00Z"), (1e15, None), (float("nan"), None)]
)
def test_a_time_that_is_none_is_null(unix: float | None, expected: str | None) -> None:
    """A moment that an upstream made up (a reset in the year 30 million) cannot break the status."""
    assert expected == text(moment(unix))
