"""`gateway.cli.explain`: what a request would come to is what it comes to."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.explain import explained
from gateway.config.load import load
from tests.cli.command import run
from tests.cli.test_check import SECRETS, write
from tests.kit import KEY, OTHER_KEY, TOKEN, Upstream, head, policy, running

NOWHERE = "http://127.0.0.1:1/api/v2"
APP: dict[str, Any] = {
    "scopes": ["threads:read", "threads:write", "changelogs:write", "docs:write"],
    "endpoints": ["POST /webhooks"],
    "deny": ["DELETE /threads/{id}"],
}


async def test_an_allowed_request_is_explained(tmp_path: Path) -> None:
    """Told are verdict, what decided, endpoint, route and the key that would serve first; the status is 0."""
    keys = {"main": {"secrets": ["env:MAIN_KEY"]}, "second": {"secrets": ["env:SECOND_KEY"]}}
    routes = [{"path": "/**", "keys": ["main", "second"]}]
    path = write(tmp_path, NOWHERE, policy(**APP), keys=keys, routes=routes)
    done = await run("explain", "--caller", "app", "GET", "/threads/t_1", "--config", path, environ=SECRETS)

    told = dict(line.split("  ", 1) for line in done.out.splitlines())
    told = {name: text.strip() for name, text in told.items()}
    assert (0, "") == (done.status, done.err)
    assert "allowed" == told["verdict"]
    assert "policy app, scopes: threads:read" == told["decided by"]
    assert "GET /threads/{id}  (needs threads:read; lane read)" == told["endpoint"]
    assert told["key"].startswith("main: the first of the route; once scopes are known, the one with the fewest")


async def test_a_refusal_says_what_would_change_it(tmp_path: Path) -> None:
    """A refused request has status 1, the code that the caller sees, and the line to add."""
    path = write(tmp_path, NOWHERE, policy(**APP))
    done = await run("explain", "--caller", "app", "GET", "/companies", "--config", path, environ=SECRETS)

    assert (1, "") == (done.status, done.err)
    assert "refused with 403 scope_required" in done.out
    assert "policy app: does not grant companies:read; add it under `scopes`" in done.out


async def test_as_json(tmp_path: Path) -> None:
    """A program gets the same facts by name; what there is not is null."""
    path = write(tmp_path, NOWHERE, policy(**APP))
    words = ("--caller", "app", "POST", "/changelogs/c_1/broadcast", "--json", "--config", path)
    done = await run("explain", *words, environ=SECRETS)

    facts = done.json
    assert (1, "") == (done.status, done.err)
    assert ("refuse", 403, "forbidden", "guarded") == tuple(facts[n] for n in ("verdict", "status", "code", "reason"))
    assert {
        "name": "POST /changelogs/{id}/broadcast",
        "scopes": ["changelogs:write"],
        "lane": "write",
        "guarded": True,
    } == facts["endpoint"]
    assert (None, None) == (facts["route"], facts["key"])
    assert "name POST /changelogs/{id}/broadcast under `endpoints`" in facts["fix"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--caller", "apq", "GET", "/threads"), 'did you mean "app"?'),
        (("--caller", "app", "get", "/threads"), "methods are written in capitals"),
        (("GET", "/threads"), "--caller"),
    ],
)
async def test_a_question_that_makes_no_sense_is_not_a_refusal(
    tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    """An unknown caller or a method that is none exits with 2, so a script cannot take it for a verdict."""
    done = await run("explain", *words, "--config", write(tmp_path, NOWHERE), environ=SECRETS)

    assert (2, "") == (done.status, done.out)
    assert expected in done.err


async def test_a_broken_configuration_is_not_a_verdict(tmp_path: Path) -> None:
    """Where the configuration has problems, they are told instead, with status 2."""
    path = write(tmp_path, NOWHERE, listen="nowhere")
    done = await run("explain", "--caller", "app", "GET", "/threads", "--config", path, environ=SECRETS)

    assert (2, "") == (done.status, done.out)
    assert "listen" in done.err


async def test_audit_is_told_from_a_grant(tmp_path: Path) -> None:
    """What only the trial mode lets through is allowed, and said to be so by the trial alone."""
    path = write(tmp_path, NOWHERE, policy(scopes=["threads:read"], mode="audit"))
    done = await run("explain", "--caller", "app", "GET", "/companies", "--config", path, environ=SECRETS)

    assert 0 == done.status
    assert "allowed, by `mode: audit` alone" in done.out
    assert "policy app, mode: audit" in done.out


REQUESTS = [
    "GET /api/v2/threads",
    "HEAD /api/v2/threads/t_1",
    "GET /api/v2/threads?tab=unread&x=%2F",
    "GET /api/v2/me",
    "POST /api/v2/threads",
    "DELETE /api/v2/threads/t_1",
    "GET /api/v2/companies",
    "POST /api/v2/webhooks",
    "POST /api/v2/changelogs/c_1/broadcast",
    "POST /api/v2/docs/articles",
    "GET /api/v2/nothing",
    "PUT /api/v2/threads",
    "GET /api/v1/threads/t_1",
    "GET /api/v2/threads/../me",
    "GET /api/v2/%74hreads",
    "GET /api/v2//threads",
    "GET /api/v2/Threads",
    "GET /threads",
]


@pytest.mark.parametrize("request_line", REQUESTS)
async def test_it_says_what_the_gateway_does(tmp_path: Path, upstream: Upstream, request_line: str) -> None:
    """For every kind of request the explanation has the status and code of the real answer, or both forward it."""
    method, _, raw = request_line.partition(" ")
    routes = [{"path": path, "keys": ["main"]} for path in ("/threads/**", "/changelogs/**", "/webhooks", "/me")]
    async with running(tmp_path, upstream, policies=[policy(**APP)], routes=routes) as gateway:
        real = await gateway.raw(head(method, raw), head_only=method == "HEAD")
    snapshot = load(tmp_path / "gateway.yaml", environ={"MAIN_KEY": KEY, "SECOND_KEY": OTHER_KEY})
    given = raw if raw.startswith("/api/") else f"/api/..{raw}"
    facts = explained(snapshot, snapshot.policies["app"], method, given, datetime.now(UTC).date())

    assert TOKEN not in str(facts)
    if facts["verdict"] == "allow":
        assert 200 == real.status
    elif raw.startswith("/api/"):
        assert (real.status, real.code) == (facts["status"], facts["code"])
    else:
        assert (404, "refuse") == (real.status, facts["verdict"])
