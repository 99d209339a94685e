"""`gateway.proxy.handler`: one request from top to bottom, and one story of it for caller, log and metrics."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.core.envelope import proxy_status
from tests.support.in_process import Running, policy
from tests.support.raw_caller import Response, head
from tests.support.recording import Arrival, answer, error
from tests.support.sentinels import KEY, OTHER_KEY, TOKEN

Start = Callable[..., Any]
MIB = 1 << 20
TWO_KEYS = {
    "keys": {"main": {"secrets": ["env:MAIN_KEY"]}, "narrow": {"secrets": ["env:SECOND_KEY"]}},
    "routes": [{"path": "/**", "keys": ["main"]}, {"path": "/companies/**", "keys": ["narrow"]}],
}


async def test_an_allowed_request_reaches_the_upstream_with_the_key(run: Running) -> None:
    """A caller sends its own token; the upstream sees the key, the very target, and nothing of the caller's."""
    response = await run.ask("GET", "/api/v2/threads?a=%2F&b=%41%7e&c=x&&", "X-Forwarded-For: 1.2.3.4", "Cookie: a=b")

    (arrival,) = run.upstream.arrivals
    assert 200 == response.status
    assert b'{"ok":true}' == response.body
    assert b"/api/v2/threads?a=%2F&b=%41%7e&c=x&&" == arrival.target
    assert KEY == arrival.bearer
    assert ["host", "via", "authorization"] == [name.lower() for name, _ in arrival.fields]


@dataclass(frozen=True)
class Refusal:
    """A request that the gateway answers itself, with its answer, log line and metrics."""

    status: int
    code: str
    reason: str
    method: str = "GET"
    target: str = "/api/v2/threads"
    fields: tuple[str, ...] = ()
    token: str | None = TOKEN
    body: bytes | None = None
    caller: str = "app"
    endpoint: str = "GET /threads"
    key: str = ""
    decision: str = "deny"
    policy: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    reply: bytes | None = None


OUTSIDE: dict[str, Any] = {"caller": "-", "endpoint": "other"}
REFUSALS = {
    "ambiguous target": Refusal(400, "invalid_request", "target", target="/api/v2//threads", **OUTSIDE),
    "long target": Refusal(414, "uri_too_long", "target", target="/api/v2/threads?" + "a" * 8190, **OUTSIDE),
    "two credentials": Refusal(
        400, "invalid_request", "credential_ambiguous", fields=("Authorization: Bearer x",), **OUTSIDE
    ),
    "no credential": Refusal(401, "unauthenticated", "credential_missing", token=None, **OUTSIDE),
    "unknown credential": Refusal(401, "unauthenticated", "credential_unknown", token="wrong", **OUTSIDE),
    "v1 key": Refusal(410, "unsupported_key_version", "key_version", token="pl_v1_abcdefgh", **OUTSIDE),
    "v1 path": Refusal(410, "unsupported_api_version", "api_version", target="/api/v1/threads", endpoint="other"),
    "unknown endpoint": Refusal(404, "not_found", "endpoint_unknown", target="/api/v2/nothing", endpoint="other"),
    "other method": Refusal(405, "method_not_allowed", "method", method="PATCH", body=b"{}", endpoint="other"),
    "expired": Refusal(403, "forbidden", "expired", policy={"expires": "2020-01-01"}),
    "denied": Refusal(403, "forbidden", "denied", policy={"deny": ["GET /threads"]}),
    "guarded": Refusal(403, "forbidden", "guarded", "POST", "/api/v2/webhooks", body=b"{}", endpoint="POST /webhooks"),
    "scope not granted": Refusal(403, "scope_required", "scope_not_granted", policy={"scopes": ["companies:read"]}),
    "no route": Refusal(
        403, "forbidden", "no_route", settings={"routes": [{"path": "/companies/**", "keys": ["main"]}]}
    ),
    "scope on no key": Refusal(
        403,
        "scope_required",
        "scope_on_no_key",
        target="/api/v2/companies",
        endpoint="GET /companies",
        settings=TWO_KEYS,
    ),
    "expectation": Refusal(417, "expectation_failed", "headers", fields=("Expect: more",), **OUTSIDE),
    "loop": Refusal(508, "loop_detected", "loop", fields=("Via: 1.1 productlane-gateway",), **OUTSIDE),
    "get with body": Refusal(400, "invalid_request", "framing", body=b"x", **OUTSIDE),
    "too large": Refusal(
        413,
        "payload_too_large",
        "scope_held",
        "POST",
        body=b"x" * 2000,
        endpoint="POST /threads",
        key="main",
        decision="allow",
        settings={"limits": {"body": {"write": 1000}}},
    ),
    "upstream broken": Refusal(
        502, "upstream_broken", "scope_held", key="main", decision="allow", reply=b"HTTP/2.0 200 OK\r\n\r\n"
    ),
    "key rejected": Refusal(
        502,
        "upstream_key_rejected",
        "scope_held",
        key="main",
        decision="allow",
        reply=error(401, "unauthenticated"),
    ),
    "key unsupported": Refusal(
        502,
        "upstream_key_unsupported",
        "scope_held",
        key="main",
        decision="allow",
        reply=error(410, "unsupported_key_version"),
    ),
}


@pytest.mark.parametrize("row", REFUSALS.values(), ids=list(REFUSALS))
async def test_a_refusal_is_one_story(start: Start, row: Refusal) -> None:
    """The answer, Proxy-Status, the log line and every metric of a refusal name the same code, id and reason."""
    run: Running = await start(policies=[policy(**row.policy)], **row.settings)
    if row.reply is not None:
        run.upstream.reply = row.reply
    response = await run.ask(row.method, row.target, *row.fields, token=row.token, body=row.body)
    (line,) = await run.lines()
    labels = {"status": str(row.status), "source": "gateway", "caller": row.caller, "endpoint": row.endpoint}
    auth = {**labels, "code": row.code, "key": row.key or "-"} if row.status in (401, 403, 410) else {}
    details = proxy_status("", line["note"]).partition("; ")[2]

    assert (row.status, row.code) == (response.status, response.code)
    assert {"error"} == response.json.keys()
    assert response.json["error"]["request_id"] == response.get("x-request-id") == line["request_id"]
    assert str(response.get("proxy-status")).startswith("productlane-gateway; error=")
    assert str(response.get("proxy-status")).endswith(details)
    assert "application/json" == response.get("content-type")
    assert {
        "status": row.status,
        "code": row.code,
        "reason": row.reason,
        "source": "gateway",
        "caller": row.caller,
        "endpoint": row.endpoint,
        "decision": row.decision,
        "key": row.key,
    }.items() <= line.items()
    assert 1 == await run.metric("requests_total") == await run.metric("requests_total", **labels)
    # Productlane's own 401 or 410 counts beside the 502 that takes its place.
    counted = await run.metric("auth_responses_total", source="gateway")
    assert bool(auth) == counted == (await run.metric("auth_responses_total", **{"source": "gateway"} | auth))
    said = row.code.startswith("upstream_key")
    assert said == await run.metric("auth_responses_total", source="upstream", key="main")
    assert 1 == await run.metric("policy_decisions_total", caller=row.caller, decision=row.decision, reason=row.reason)
    assert (row.reply is not None) == bool(run.upstream.arrivals)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthenticated"), (403, "scope_required"), (403, "forbidden"), (410, "unsupported_key_version")],
)
async def test_an_upstream_refusal_is_one_story_too(start: Start, status: int, code: str) -> None:
    """A 401, 403 or 410 of Productlane's that is relayed is counted and logged as its own, under the id it gave."""
    run: Running = await start(upstream={"key_errors": "relay"})
    run.upstream.reply = error(status, code)
    response = await run.ask()
    (line,) = await run.lines()
    labels = {"status": str(status), "source": "upstream", "caller": "app", "endpoint": "GET /threads"}

    assert (status, code) == (response.status, response.code)
    assert response.get("x-request-id") == line["upstream_request_id"] == "req_00000000000000aa"
    assert (status, code, "upstream", "allow", "main", "1") == tuple(
        line[name] for name in ("status", "code", "source", "decision", "key", "slot")
    )
    assert (
        1
        == await run.metric("auth_responses_total")
        == await run.metric("auth_responses_total", **labels, code=code, key="main")
    )
    assert 1 == await run.metric("requests_total") == await run.metric("requests_total", **labels)


async def test_a_401_says_how_to_authenticate(run: Running) -> None:
    """WWW-Authenticate comes with every 401 of the gateway's."""
    response = await run.ask(token=None)

    assert 'Bearer realm="productlane-gateway"' == response.get("www-authenticate")


async def test_a_405_says_which_methods_there_are(run: Running) -> None:
    """Allow comes with every 405."""
    response = await run.ask("PATCH", body=b"{}")

    assert {"GET", "HEAD", "POST"} == set(str(response.get("allow")).split(", "))


async def test_a_v1_path_names_what_replaces_it(run: Running) -> None:
    """A version 1 call gets a 410 that names the replacement, if the vendor's migration guide has one."""
    response = await run.ask("POST", "/api/v1/threads", body=b"{}")

    assert (410, "unsupported_api_version") == (response.status, response.code)
    assert "POST /api/v2/threads" == response.json["error"]["details"]["replacement"]
    assert response.json["error"]["message"].endswith("Use POST /api/v2/threads instead.")


async def test_a_scope_refusal_says_what_is_needed(start: Start) -> None:
    """`details` list the scopes that the endpoint needs and those of the caller, as Productlane does."""
    run = await start(policies=[policy(scopes=["companies:read"])])
    response = await run.ask()

    fix = "policy app: does not grant threads:read; add `threads:read` under `scopes` in policy `app`"
    assert {
        "required": ["threads:read"],
        "granted": ["companies:read"],
        "gateway": {"decided_by": "policy app, scopes: without threads:read", "fix": fix},
    } == response.json["error"]["details"]
    assert f'details="{fix}"' in str(response.get("Proxy-Status"))
    assert (
        "This endpoint requires the `threads:read` scope. Add `threads:read` under `scopes` in policy `app`."
        == response.json["error"]["message"]
    )


async def test_audit_lets_through_and_tells(start: Start) -> None:
    """`mode: audit` forwards and counts requests that a scope rule would refuse; deny and guarded still refuse."""
    run = await start(policies=[policy(scopes=["companies:read"], mode="audit", deny=["DELETE /threads/{id}"])])
    passed = await run.ask()
    held = await run.ask()
    denied = await run.ask("DELETE", "/api/v2/threads/t_1")
    guarded = await run.ask("POST", "/api/v2/webhooks", body=b"{}")
    lines = await run.lines(4)

    assert [200, 200, 403, 403] == [response.status for response in (passed, held, denied, guarded)]
    assert ["would_deny", "would_deny", "deny", "deny"] == [line["decision"] for line in lines]
    assert 2 == await run.metric(
        "policy_decisions_total", caller="app", decision="would_deny", reason="scope_not_granted"
    )


async def test_a_grant_ends_on_its_day(start: Start) -> None:
    """`expires` is the first day (UTC) on which nothing is allowed; the second before it everything still is."""
    midnight = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    now = [midnight - 1]
    run = await start(policies=[policy(expires="2027-01-01")], clock=lambda: now[0])
    before = await run.ask()
    now[0] = midnight
    after = await run.ask()

    assert [(200, ""), (403, "forbidden")] == [(before.status, ""), (after.status, after.code)]


async def test_me_is_answered_from_memory_and_cut_to_the_caller(start: Start) -> None:
    """`GET /me` costs Productlane one question, and shows each caller its key's identity with its own scopes only."""
    run = await start(policies=[policy(scopes=["threads:read", "companies:read"])])
    first, second = await run.ask("GET", "/api/v2/me"), await run.ask("GET", "/api/v2/me?fresh=1")
    lines = await run.lines(2)

    assert [200, 200] == [first.status, second.status]
    assert {"companies:read", "threads:read"} == set(second.json["scopes"])
    assert "wks_1" == second.json["workspace_id"]
    assert (1, 0) == (len(run.upstream.lookups), len(run.upstream.arrivals))
    assert str(first.get("cache-status")).startswith("productlane-gateway; fwd=miss; fwd-status=200; stored; ttl=")
    assert str(second.get("cache-status")).startswith("productlane-gateway; hit; ttl=")
    assert "0" == second.get("age")
    assert [first.get("x-request-id"), second.get("x-request-id")] == [line["request_id"] for line in lines]
    assert [("gateway", 200, "main", "1")] * 2 == [
        (line["source"], line["status"], line["key"], line["slot"]) for line in lines
    ]


async def test_me_to_head_has_no_body(run: Running) -> None:
    """HEAD /me is GET /me without the body."""
    response = await run.ask("HEAD", "/api/v2/me")

    assert 200 == response.status
    assert 0 < int(str(response.get("content-length")))


async def test_me_of_a_key_that_cannot_be_looked_up_is_forwarded(run: Running) -> None:
    """If the key's identity is unknown, Productlane answers `GET /me`."""
    run.upstream.me = error(500, "internal_error")
    response = await run.ask("GET", "/api/v2/me")

    assert (500, "internal_error", "req_00000000000000aa") == (
        response.status,
        response.code,
        response.get("x-request-id"),
    )


async def test_an_unknown_identity_does_not_stop_requests(run: Running) -> None:
    """While `/me` fails the policy is still enforced and the first key is used; Productlane checks its scopes."""
    run.upstream.me = error(500, "internal_error")
    allowed = await run.ask()
    guarded = await run.ask("POST", "/api/v2/webhooks", body=b"{}")

    assert (200, 403) == (allowed.status, guarded.status)
    assert [KEY] == [arrival.bearer for arrival in run.upstream.arrivals]


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_key_in_a_callers_hands_is_counted_and_stays_here(run: Running, version: str) -> None:
    """A caller that sends an upstream key is refused and counted, and the key is not forwarded."""
    response = await run.ask(token=f"pl_{version}_caller-has-this")

    assert (410 if version == "v1" else 401) == response.status
    assert 1 == await run.metric("caller_supplied_keys_total", version=version)
    assert b"caller-has-this" not in run.upstream.received + response.body + response.head
    assert "caller-has-this" not in run.log_file.read_text()


async def test_where_all_are_anonymous_a_callers_credential_is_ignored(start: Start) -> None:
    """A sidecar serves an app that still sends its own key, and counts it."""
    run = await start(policies=[policy(caller="sidecar", token=None)])
    response = await run.ask(token=OTHER_KEY)

    assert 200 == response.status
    assert [KEY] == [arrival.bearer for arrival in run.upstream.arrivals]
    assert 1 == await run.metric("caller_supplied_keys_total", caller="sidecar", version="v2")


HOSTILE = [
    *(
        head("GET", f"/api/v2/threads/{'x' * 99}-sentinel{n}?sentinel{n}=sentinel{n}", f"X-Sentinel{n}: sentinel{n}")
        for n in range(10)
    ),
    *(head("GET", f"/api/v2/sentinel{n}/sentinel{n}", token=f"sentinel{n}") for n in range(10)),
    *(
        head("POST", "/api/v2/threads", "Content-Length: 11", f"traceparent: sentinel{n}") + b"sentinel%03d" % n
        for n in range(10)
    ),
    head("GET", "http://sentinel/api/v2/threads"),
    head("GET", "/api/v2/threads", token="pl_v2_sentinel"),
    head("GET", "/api/v2/threads", "Authorization: Basic sentinel"),
    head("GET", "/api/v2/threads", "Via: 1.1 productlane-gateway sentinel"),
    b"SENTINEL /sentinel HTTP/1.1\r\nsentinel\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nX: sentinel\x01\r\n\r\n",
]


async def test_neither_log_nor_metrics_hold_what_a_caller_sent(run: Running) -> None:
    """No query, header, body, path id, token or key appears in a log line or a label, and the series stay few."""
    run.upstream.reply = answer(
        418, b'{"error": {"code": "sentinel-code", "message": "sentinel"}}', fields=("X-Request-Id: sentinel \x7f",)
    )
    for data in HOSTILE:
        await run.raw(data)
    lines = await run.lines(len(HOSTILE))
    metrics = (await run.admin("/metrics")).body.decode()
    text = run.log_file.read_text()

    assert len(HOSTILE) == len(lines)
    for private in ("sentinel", "SENTINEL", TOKEN, KEY, "Bearer"):
        assert private not in text
        assert private not in metrics
    assert 12 >= metrics.count("productlane_gateway_requests_total{")
    assert {"app", "-"} == {line["caller"] for line in lines}
    assert {"GET /threads", "POST /threads", "GET /threads/{id}", "other"} >= {line["endpoint"] for line in lines}


async def test_a_fault_of_the_gateway_is_told_without_its_text(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the gateway itself fails, a caller gets a 500 in the envelope, and nothing that the failure quoted."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError(f"Bearer {KEY}")

    monkeypatch.setattr("gateway.proxy.forward.upstream_lines", fail)
    response = await run.ask()
    (line,) = await run.lines()

    assert (500, "internal_error") == (response.status, response.code)
    assert "ValueError at test_handler.py" in line["note"]
    assert KEY.encode() not in response.head + response.body
    assert KEY not in json.dumps(line)


async def test_a_request_is_counted_and_logged_once_with_its_sizes(run: Running) -> None:
    """The log line of a relayed request has its bytes, its times and the key that served it."""
    response: Response = await run.ask(
        "POST",
        "/api/v2/threads",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        body=b"hello",
    )
    (line,) = await run.lines()

    assert 200 == response.status
    assert {
        "caller": "app",
        "endpoint": "POST /threads",
        "method": "POST",
        "status": 200,
        "source": "upstream",
        "decision": "allow",
        "reason": "scope_held",
        "key": "main",
        "slot": "1",
        "lane": "write",
        "bytes_in": 5,
        "bytes_out": 11,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }.items() <= line.items()
    assert 0 < line["upstream_ms"] <= line["duration_ms"]
    assert 1 == await run.metric("requests_total", status="200", source="upstream", endpoint="POST /threads")


async def test_a_request_in_hand_is_seen(run: Running) -> None:
    """`in_flight_requests` counts only requests in progress."""
    release = asyncio.Event()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(answer())

    run.upstream.reply = reply
    asking = [asyncio.create_task(run.ask()) for _ in range(3)]
    await run.upstream.until(lambda: len(run.upstream.arrivals) == 3)
    during = await run.metric("in_flight_requests")
    release.set()
    await asyncio.gather(*asking)

    assert (3, 0) == (during, await run.metric("in_flight_requests"))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_each_request_of_a_connection_is_its_own_tokens(start: Callable[..., Any], method: str) -> None:
    """A connection that a proxy shares among callers takes none of them for the one before it, and no wrong token."""
    other = "plgw_token-of-other-0123456789"
    run = await start(policies=[policy(), policy("other", other)])
    caller = await run.connect()
    statuses = []
    for number, token in enumerate([TOKEN, TOKEN, other, TOKEN, "plgw_wrong-0123456789", other, other]):
        fields = (f"X-Request-Id: {number}", *(("Content-Length: 2",) if method == "POST" else ()))
        await caller.send(head(method, "/api/v2/threads", *fields, token=token) + (b"{}" if method == "POST" else b""))
        statuses.append((await caller.response()).status)
    lines = await run.lines(7)

    assert [200, 200, 200, 200, 401, 200, 200] == statuses
    assert ["app", "app", "other", "app", "-", "other", "other"] == [line["caller"] for line in lines]
    assert [str(number) for number in range(7)] == [line["caller_request_id"] for line in lines]
