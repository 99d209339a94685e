"""The simulator as a whole: every endpoint, the keys and scopes, pages, errors, TLS."""

import asyncio
import gzip
import hashlib
import re
import ssl
from typing import Any

import aiohttp
import pytest
import trustme

from gateway.core.catalog import Catalog, Endpoint, Lane, plain
from gateway.simulator import Limits, SimulatedKey, Simulator
from gateway.simulator.resources import RESOURCES
from tests.support.clock import Clock
from tests.support.simulated import SECRET, Answered, Client, catalog, full_key, running

IDS = {
    "/threads/{}": "thread_1",
    "/threads/{}/comments/{}": "comment_1",
    "/contacts/{}": "contact_1",
    "/contacts/blocked-senders/{}": "blocked_1",
    "/companies/{}": "company_1",
    "/members/{}": "member_2",
    "/members/invites/{}": "invite_1",
    "/docs/drafts/{}": "draft_1",
}
BODIES: dict[str, Any] = {
    "POST /threads": {"text": "<p>Hi</p>", "contact_email": "new@example.com", "pain_level": "LOW"},
    "POST /threads/{}/messages": {"content": "<p>Hello</p>"},
    "POST /threads/{}/comments": {"content": "note"},
    "POST /contacts": {"email": "someone@example.com", "company_id": "company_1"},
    "POST /contacts/blocked-senders": {"type": "EMAIL", "value": "spam@example.com"},
    "POST /companies": {"name": "New Ltd"},
    "POST /projects": {"name": "P", "team_id": "team_1"},
    "POST /issues": {"title": "I", "team_id": "team_1", "state_id": "state_1", "priority": 0},
    "POST /tags": {"name": "t", "color": "#000", "icon": "Tag", "tag_group_id": "taggroup_1"},
    "POST /tags/groups": {"name": "g", "color": "#000"},
    "POST /snippets": {"title": "s", "html": "<p>s</p>"},
    "POST /changelogs": {"title": "c", "content": "c"},
    "POST /changelog-tags": {"name": "n", "color": "#000"},
    "POST /docs/articles": {"title": "a", "content": "# a", "group_id": "group_1"},
    "POST /docs/groups": {"name": "g"},
    "POST /docs/drafts": {"kind": "create", "title": "d"},
    "POST /members/invites": {"email": "invited@example.com", "role": "USER"},
    "POST /webhooks": {"url": "https://hooks.example/x", "events": ["thread.*"]},
}
QUERIES = {
    "GET /contacts/by-email": "?email=ada.12@example.com",
}
ENDPOINTS = pytest.mark.parametrize("endpoint", catalog().endpoints, ids=lambda endpoint: str(endpoint.name))


def path_of(endpoint: Endpoint) -> str:
    """The endpoint's path with ids of rows that are there from the start."""
    made, shape = "", ""
    for segment in endpoint.segments:
        shape += "/{}" if segment.startswith("{") else f"/{segment}"
        if segment.startswith("{"):
            collection = RESOURCES.get(shape.removesuffix("/{}"))
            made += f"/{IDS.get(shape) or (f'{collection.prefix}_1' if collection else 'any')}"
        else:
            made += f"/{segment}"
    return made + QUERIES.get(plain(endpoint.name), "")


async def ask_endpoint(client: Client, endpoint: Endpoint, **parts: Any) -> Answered:
    """Ask an endpoint in a way that it accepts."""
    if endpoint.lane is Lane.UPLOAD:
        form = aiohttp.FormData()
        form.add_field("file", b"hello", filename="hello.txt", content_type="text/plain")
        return await client("POST", "/files", data=form, **parts)
    body = BODIES.get(plain(endpoint.name), {} if endpoint.method == "PATCH" else None)
    return await client(endpoint.method, path_of(endpoint), json=body, **parts)


@ENDPOINTS
async def test_every_endpoint_answers(endpoint: Endpoint) -> None:
    """A key with all scopes gets a 2xx with JSON, a request id and its budget from each of the endpoints."""
    async with running(full_key()) as client:
        answered = await ask_endpoint(client, endpoint)

    assert answered.status in (200, 201), answered.body
    assert isinstance(answered.json, dict)
    assert re.fullmatch("req_[0-9a-f]{16}", answered.headers["X-Request-Id"])
    assert "X-RateLimit-Remaining" in answered.headers


@pytest.mark.parametrize("endpoint", [one for one in catalog().endpoints if one.scopes], ids=lambda one: str(one.name))
async def test_every_endpoint_refuses_a_key_that_lacks_one_of_its_scopes(endpoint: Endpoint) -> None:
    """A key that lacks one needed scope gets 403, with the needed and the granted scopes in the details."""
    for missing in sorted(endpoint.scopes):
        granted = frozenset(catalog().scopes) - {missing}
        async with running(SimulatedKey(SECRET, granted)) as client:
            answered = await ask_endpoint(client, endpoint)

        details = {"required": sorted(endpoint.scopes), "granted": sorted(granted)}
        assert (403, "scope_required") == (answered.status, answered.code)
        assert details == answered.json["error"]["details"]
        assert f"`{missing}`" in answered.json["error"]["message"]


def test_the_catalog_has_99_endpoints() -> None:
    """The tables above are about the whole API."""
    assert 99 == len(catalog().endpoints)


async def test_me_tells_who_the_key_is() -> None:
    """`GET /me` answers any key with its workspace, id and scopes."""
    key = SimulatedKey(SECRET, frozenset({"tags:read", "admin"}), workspace="wks_1", api_key_id="key_1")
    async with running(key) as client:
        answered = await client("GET", "/me")

    assert {
        "workspace_id": "wks_1",
        "api_key_id": "key_1",
        "scopes": ["admin", "tags:read"],
        "linear_team_ids": ["team_1"],
        "default_linear_team_id": "team_1",
    } == answered.json


@pytest.mark.parametrize("limit", [1, 7, 50, 120, 200])
async def test_walking_the_pages_meets_every_row_once_and_newest_first(limit: int) -> None:
    """The pages neither repeat nor skip a row, even if rows are added and the cursor's row is deleted meanwhile."""
    async with running() as client:
        expected = (await client("GET", "/threads?limit=200")).json["data"]
        met: list[Any] = []
        cursor, more = "", True
        while more:
            answered = (await client("GET", f"/threads?limit={limit}{cursor}")).json
            met += answered["data"]
            more, cursor = answered["page"]["has_more"], f"&cursor={answered['page']['cursor']}"
            if len(met) == limit:
                await client("POST", "/threads", json=BODIES["POST /threads"])
                await client("DELETE", f"/threads/{met[-1]['id']}")

    keys = [(row["created_at"], row["id"]) for row in met]
    assert [row["id"] for row in expected] == [row["id"] for row in met]
    assert sorted(keys, reverse=True) == keys
    assert len({row["created_at"] for row in met}) < len(met)
    assert "&cursor=None" == cursor


async def test_pages_hold_50_rows_unless_told() -> None:
    """The default limit is 50, and the page says which limit held."""
    async with running() as client:
        answered = (await client("GET", "/threads")).json

    assert (50, 50, True) == (len(answered["data"]), answered["page"]["limit"], answered["page"]["has_more"])


@pytest.mark.parametrize("path", ["/projects/statuses", "/changelog-tags", "/docs/groups", "/portal/instances"])
async def test_unpaged_lists_come_whole(path: str) -> None:
    """Lists that the API does not page have no page object."""
    async with running() as client:
        answered = await client("GET", path)

    assert {"data"} == set(answered.json)
    assert answered.json["data"]


async def test_messages_come_oldest_first() -> None:
    """A conversation reads from its start, or from its end on request."""
    async with running() as client:
        first = (await client("GET", "/threads/thread_1/messages")).json["data"]
        last = (await client("GET", "/threads/thread_1/messages?order=desc")).json["data"]

    assert first == last[::-1]
    assert first == sorted(first, key=lambda row: (row["created_at"], row["id"]))


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("status=done", "status", "done"),
        ("contact_id=contact_3", "contact_id", "contact_3"),
        ("tag_id=tag_2", "tag_ids", ["tag_2"]),
        ("is_read=true", "is_read", True),
        ("title_contains=FEEDBACK%2012", "title", None),
        ("created_after=2026-01-06T00:00:00.000Z", "created_at", None),
    ],
)
async def test_lists_are_filtered(query: str, field: str, value: Any) -> None:
    """A filter keeps the rows it names and drops others."""
    async with running() as client:
        rows = (await client("GET", f"/threads?limit=200&{query}")).json["data"]

    assert 0 < len(rows) < 120
    assert value is None or all(value == row[field] for row in rows)


async def test_what_is_written_can_be_read() -> None:
    """A created row can be read, changed (null is a value), and deleted."""
    async with running() as client:
        made = (await client("POST", "/companies", json={"name": "Mine", "x_new_field": 1, "id": "forged"})).json
        path = f"/companies/{made['id']}"
        listed = (await client("GET", "/companies?limit=200")).json["data"]
        changed = (await client("PATCH", path, json={"name": "Yours", "x_new_field": None})).json
        read = (await client("GET", path)).json
        deleted = await client("DELETE", path)
        gone = await client("GET", path)

    assert "forged" != made["id"]
    assert made in listed
    assert ("Yours", None) == (changed["name"], changed["x_new_field"])
    assert changed == read
    assert {"id": made["id"], "deleted": True} == deleted.json
    assert (404, "not_found") == (gone.status, gone.code)


async def test_a_thread_makes_its_contact_and_embeds_it() -> None:
    """`threads:write` alone upserts a contact; the thread's row embeds it, and expands to messages and comments."""
    async with running(SimulatedKey(SECRET, frozenset({"threads:write", "threads:read", "contacts:read"}))) as client:
        made = (await client("POST", "/threads", json=BODIES["POST /threads"])).json
        again = (await client("POST", "/threads", json=BODIES["POST /threads"])).json
        contact = (await client("GET", "/contacts/by-email?email=new@example.com")).json
        expanded = (await client("GET", "/threads/thread_1?expand=messages,comments,typo")).json

    assert contact == made["contact"] == again["contact"]
    assert (4, 2) == (len(expanded["messages"]), len(expanded["comments"]))
    assert "typo" not in expanded


async def test_workspaces_do_not_see_each_other() -> None:
    """A key reaches the data of its own workspace only."""
    other = SimulatedKey("pl_v2_otherotherother", frozenset(catalog().scopes), workspace="wks_other")
    async with running(full_key(), other) as client:
        made = (await client("POST", "/companies", json={"name": "Mine"})).json
        theirs = await client("GET", f"/companies/{made['id']}", secret=other.secret)

    assert 404 == theirs.status


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic x", f"Token {SECRET}", "Bearer pl_v2_unknown", "Bearer "]
)
async def test_a_missing_malformed_and_unknown_key_are_one_401(header: str | None) -> None:
    """The answer does not say which of them it was, and has no budget fields."""
    async with running() as client:
        headers = {} if header is None else {"Authorization": header}
        answered = await client("GET", "/me", secret=None, headers=headers)

    assert (401, "unauthenticated") == (answered.status, answered.code)
    assert answered.headers["X-Request-Id"] == answered.json["error"]["request_id"]
    assert "X-RateLimit-Limit" not in answered.headers


async def test_two_credentials_are_none() -> None:
    """A repeated Authorization field is refused, so that nothing can hide behind the first."""
    async with running() as client:
        pairs = [("Authorization", f"Bearer {SECRET}"), ("Authorization", f"Bearer {SECRET}")]
        async with client.session.get(client.simulator.url + "/me", headers=pairs) as answer:
            status = answer.status

    assert 401 == status


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/threads", {"text": ""}, (400, "validation_failed")),
        ("GET", "/threads?limit=201", None, (400, "validation_failed")),
        ("GET", "/threads?limit=0", None, (400, "validation_failed")),
        ("GET", "/threads?limit=ten", None, (400, "validation_failed")),
        ("GET", "/threads/thread_1/messages?order=up", None, (400, "validation_failed")),
        (
            "POST",
            "/issues",
            {"title": "t", "team_id": "t", "state_id": "s", "priority": True},
            (400, "validation_failed"),
        ),
        ("GET", "/threads/nope", None, (404, "not_found")),
        ("GET", "/threads/nope/messages", None, (404, "not_found")),
        ("PATCH", "/threads/thread_2/comments/comment_1", {"content": "x"}, (404, "not_found")),
        ("GET", "/nothing/here", None, (404, "not_found")),
        ("GET", "/threads/", None, (404, "not_found")),
        ("PUT", "/threads", {}, (405, "not_found")),
        ("POST", "/contacts", {"email": "ada.12@example.com"}, (409, "conflict")),
        ("GET", "/threads?cursor=nonsense", None, (422, "unprocessable")),
        ("GET", "/threads?cursor=%00", None, (422, "unprocessable")),
    ],
)
async def test_errors_have_their_codes(method: str, path: str, body: Any, expected: tuple[int, str]) -> None:
    """Each way to be wrong has the status and code that the API documents for it."""
    async with running() as client:
        answered = await client(method, path, json=body)

    assert expected == (answered.status, answered.code)
    assert answered.headers["X-Request-Id"] == answered.json["error"]["request_id"]


async def test_validation_names_every_wrong_field() -> None:
    """The details list all problems at once, each with its path."""
    async with running() as client:
        answered = await client("POST", "/threads", json={"text": 5, "pain_level": "HUGE"})

    assert [
        {"path": "contact_email", "message": "Required."},
        {"path": "text", "message": "Expected non-empty string."},
        {"path": "pain_level", "message": "Expected UNKNOWN or LOW or MEDIUM or HIGH."},
    ] == answered.json["error"]["details"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff", b"", b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_400(body: bytes) -> None:
    """Broken, absent and absurdly nested bodies are the caller's error, never a 500."""
    async with running() as client:
        answered = await client("POST", "/companies", data=body)

    assert (400, "validation_failed") == (answered.status, answered.code)


async def test_a_cursor_belongs_to_its_filters() -> None:
    """A cursor used with other filters is 422."""
    async with running() as client:
        cursor = (await client("GET", "/threads?limit=1&status=done")).json["page"]["cursor"]
        same = await client("GET", f"/threads?limit=2&status=done&cursor={cursor}")
        other = await client("GET", f"/threads?limit=1&status=open&cursor={cursor}")

    assert (200, 422) == (same.status, other.status)


async def test_v1_keys_and_paths() -> None:
    """A v1 key is 410 on any v2 path; a v1 path does not exist."""
    async with running() as client:
        key = await client("GET", "/me", secret="pl_v1_oldoldoldold")
        client.simulator.keys.add(full_key())
        url = client.simulator.url.replace("/v2", "/v1") + "/threads"
        async with client.session.get(url, headers={"Authorization": f"Bearer {SECRET}"}) as answer:
            path = answer.status

    assert (410, "unsupported_key_version") == (key.status, key.code)
    assert 404 == path


async def test_head_is_a_get_without_its_body() -> None:
    """HEAD has the status and length of GET, needs its scopes, and sends no body."""
    async with running() as client:
        head, get = await client("HEAD", "/tags"), await client("GET", "/tags")
        refused = await client("HEAD", "/tags", secret="pl_v2_unknown")

    assert (200, b"") == (head.status, head.body)
    assert str(len(get.body)) == head.headers["Content-Length"]
    assert 401 == refused.status


async def test_a_wrong_verb_names_the_right_ones() -> None:
    """405 lists the methods that the path takes."""
    async with running() as client:
        answered = await client("PUT", "/companies/company_1")

    assert "DELETE, GET, HEAD, PATCH" == answered.headers["Allow"]


async def test_an_endpoint_of_an_overlay_answers() -> None:
    """An endpoint of an overlay needs its scope and is answered with its own name."""
    added = Endpoint("GET", "/reports/{id}", frozenset({"reports:read"}), Lane.READ)
    wider = Catalog([*catalog().endpoints, added], {"reports:read": ""})
    async with running(SimulatedKey(SECRET, frozenset({"reports:read"})), catalog=wider) as client:
        answered = await client("GET", "/reports/r_1")

    assert (200, {"ok": True, "endpoint": "GET /reports/{id}"}) == (answered.status, answered.json)


async def test_keys_change_while_it_runs() -> None:
    """An added key works, an edited one has its new scopes, a revoked one is unknown, at once."""
    async with running(SimulatedKey(SECRET, frozenset())) as client:
        before = await client("GET", "/tags")
        client.simulator.keys.edit(SECRET, ["tags:read"])
        after = await client("GET", "/tags")
        client.simulator.keys.revoke(SECRET)
        revoked = await client("GET", "/tags")
        client.simulator.keys.add(SimulatedKey(SECRET, frozenset({"tags:read"})))
        again = await client("GET", "/tags")

    assert [403, 200, 401, 200] == [one.status for one in (before, after, revoked, again)]


async def test_the_record_tells_what_arrived() -> None:
    """Method, raw target, every header in order, the body's length and digest, the key and the connection."""
    async with running() as client:
        await client("POST", "/companies?x=%2F&y=a+b", json={"name": "A"}, headers={"X-Twice": "1"})
        await client("GET", "/me", secret=None)
        first, second = client.simulator.arrivals.latest()

    assert ("POST", "/api/v2/companies?x=%2F&y=a+b") == (first.method, first.target)
    assert ([f"Bearer {SECRET}"], ["1"]) == (first.header("authorization"), first.header("x-twice"))
    assert (13, True) == (first.body.length, first.body.ended)
    assert hashlib.sha256(b'{"name": "A"}').hexdigest() == first.body.sha256
    assert (full_key().api_key_id, None) == (first.key_id, second.key_id)
    assert (201, 401) == (first.status, second.status)
    assert first.connection == second.connection
    assert SECRET not in repr(first)


async def test_a_compressed_body_is_recorded_as_it_came() -> None:
    """Length and digest are those of the bytes on the wire; the simulator itself reads no compressed JSON."""
    body = gzip.compress(b'{"name": "A"}')
    async with running() as client:
        answered = await client("POST", "/companies", data=body, headers={"Content-Encoding": "gzip"})
        arrival = client.simulator.arrivals.latest()[0]

    assert 400 == answered.status
    assert (len(body), hashlib.sha256(body).hexdigest()) == (arrival.body.length, arrival.body.sha256)


async def test_the_record_is_bounded() -> None:
    """Only the latest requests are kept, and one can wait for a number of them."""
    async with running(record=2) as client:
        for path in ("/a", "/b", "/c"):
            await client("GET", path)
        async with asyncio.timeout(5):
            await client.simulator.received(3)
        targets = [one.target for one in client.simulator.arrivals.latest()]

    assert ["/api/v2/b", "/api/v2/c"] == targets


async def test_it_starts_again_where_it_was() -> None:
    """After a stop nothing listens; started again on the same port it has its data and keys still."""
    simulator = Simulator(catalog(), [full_key()])
    await simulator.start()
    async with aiohttp.ClientSession() as session:
        client = Client(session, simulator)
        made = (await client("POST", "/companies", json={"name": "Kept"})).json
        url, port = simulator.url, int(simulator.url.split(":")[2].split("/")[0])
        await simulator.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
        with pytest.raises(RuntimeError):
            _ = simulator.url
        await simulator.start(port=port)
        kept = await client("GET", f"/companies/{made['id']}")
        await simulator.stop()

    assert "Kept" == kept.json["name"]


async def test_a_port_that_is_taken_is_an_error() -> None:
    """The error comes at start, and nothing stays open behind it."""
    async with running() as client:
        taken = int(client.simulator.url.split(":")[2].split("/")[0])
        second = Simulator(catalog())
        with pytest.raises(OSError, match="address already in use"):
            await second.start(control_port=taken)
        with pytest.raises(RuntimeError):
            _ = second.url


async def test_it_serves_tls() -> None:
    """With a certificate it answers over HTTPS, verified by a client that trusts the authority."""
    authority = trustme.CA()
    server, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(trusting)
    async with running(tls=server) as client:
        headers = {"Authorization": f"Bearer {SECRET}"}
        async with client.session.get(client.simulator.url + "/me", headers=headers, ssl=trusting) as answer:
            status = answer.status
        url = client.simulator.url

    assert url.startswith("https://127.0.0.1:")
    assert 200 == status


async def test_limits_show_and_hold() -> None:
    """Every answer with a valid key shows the class's budget; beyond it 429 says exactly how long to wait."""
    clock = Clock(1_800_000_000.0)
    limits = Limits(reads=3, writes=2, burst=6)
    async with running(clock=clock, limits=limits) as client:
        reads = [await client("GET", path) for path in ("/me", "/nope", "/tags", "/tags")]
        write = await client("POST", "/companies", json={"name": "x"})
        clock.now += 59
        early = await client("GET", "/tags")
        clock.now += 1
        late = await client("GET", "/tags")

    assert [200, 404, 200, 429] == [one.status for one in reads]
    assert [("3", left) for left in ("2", "1", "0", "0")] == [
        (one.headers["X-RateLimit-Limit"], one.headers["X-RateLimit-Remaining"]) for one in reads
    ]
    assert {"1800000060"} == {one.headers["X-RateLimit-Reset"] for one in reads}
    assert ("60", {"limit": 3, "window": "1m"}) == (reads[3].headers["Retry-After"], reads[3].json["error"]["details"])
    assert ("2", "1") == (write.headers["X-RateLimit-Limit"], write.headers["X-RateLimit-Remaining"])
    assert (429, "1", 200) == (early.status, early.headers["Retry-After"], late.status)
