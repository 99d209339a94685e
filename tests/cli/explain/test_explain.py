"""`gateway.cli.explain.explain` predicts what the gateway does with a request."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.explain.explain import explained
from gateway.config.load import load
from tests.support.command import run
from tests.support.in_process import policy, running, write
from tests.support.raw_caller import head
from tests.support.recording import Upstream
from tests.support.sentinels import KEY, OTHER_KEY, SECRETS, TOKEN

NOWHERE = "http://127.0.0.1:1/api/v2"
APP: dict[str, Any] = {
    "scopes": ["threads:read", "threads:write", "changelogs:write", "docs:write"],
    "endpoints": ["POST /webhooks"],
    "deny": ["DELETE /threads/{id}"],
}


async def test_an_allowed_request_is_explained(tmp_path: Path) -> None:
    """Shows verdict, what decided, endpoint, route and the key that would serve first; the status is 0."""
    keys = {"main": {"secrets": ["env:MAIN_KEY"]}, "second": {"secrets": ["env:SECOND_KEY"]}}
    routes = [{"path": "/**", "keys": ["main", "second"]}]
    path = write(tmp_path, NOWHERE, policy(**APP), keys=keys, routes=routes)
    done = await run("explain", "--caller", "app", "GET", "/threads/t_1", "--config", path, environ=SECRETS)

    shown = dict(line.split("  ", 1) for line in done.out.partition("\n\n")[0].splitlines())
    shown = {name: text.strip() for name, text in shown.items()}
    assert (0, "") == (done.status, done.err)
    assert "allowed" == shown["verdict"]
    assert "policy app, scopes: threads:read" == shown["decided by"]
    assert "GET /threads/{id}  (needs threads:read; lane read)" == shown["endpoint"]
    assert shown["key"].startswith("main: the first of the route; once scopes are known, the one with the fewest")


async def test_a_refusal_says_what_would_change_it(tmp_path: Path) -> None:
    """A refused request has status 1, the code that the caller sees, and the line to add."""
    path = write(tmp_path, NOWHERE, policy(**APP))
    done = await run("explain", "--caller", "app", "GET", "/companies", "--config", path, environ=SECRETS)

    assert (1, "") == (done.status, done.err)
    assert "refused with 403 scope_required" in done.out
    assert "policy app: does not grant companies:read; add `companies:read` under `scopes`" in done.out


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
    """An unknown caller or method exits with 2, so a script cannot take it for a verdict."""
    done = await run("explain", *words, "--config", write(tmp_path, NOWHERE), environ=SECRETS)

    assert (2, "") == (done.status, done.out)
    assert expected in done.err


async def test_audit_is_told_from_a_grant(tmp_path: Path) -> None:
    """A request that only audit mode allows is shown as allowed by audit."""
    path = write(tmp_path, NOWHERE, policy(scopes=["threads:read"], mode="audit"))
    done = await run("explain", "--caller", "app", "GET", "/companies", "--config", path, environ=SECRETS)

    assert 0 == done.status
    assert "allowed, by `mode: audit` alone" in done.out
    assert "policy app, mode: audit" in done.out


TWO_KEYS: dict[str, Any] = {
    "keys": {"main": {"secrets": ["env:MAIN_KEY"]}, "second": {"secrets": ["env:SECOND_KEY"]}},
    "routes": [
        {"path": "/**", "keys": ["main", "second"]},
        {"path": "/threads/**", "keys": ["second", "main"]},
        {"path": "/**", "callers": ["app"], "keys": ["main", "second"]},
        {"path": "/threads", "callers": ["other"], "keys": ["main"]},
    ],
}
OTHER = policy("other", "plgw_other")


def outcomes(facts: dict[str, Any]) -> dict[str, str]:
    """The outcome of each rule."""
    return {rule["rule"]: rule["outcome"] for rule in facts["rules"]}


async def test_without_secrets(tmp_path: Path) -> None:
    """A reviewer needs no key, no certificate and no key set: the files of the policies are enough."""
    callers = {"kubernetes": {"issuer": "https://a.test", "audience": "b", "jwks": "file:none.json"}}
    tls = {"certificate": "none.crt", "private_key": "none.key"}
    path = write(tmp_path, NOWHERE, policy(**APP), callers=callers, tls=tls)
    path.write_text(path.read_text().replace("upstream:", "upstream:\n  ca: none.pem"))
    done = await run("explain", "--caller", "app", "GET", "/threads", "--config", path)

    assert (0, "") == (done.status, done.err)


async def test_every_rule_is_told_up_to_the_one_that_decided(tmp_path: Path) -> None:
    """Each rule says whether it passed, allowed, refused or was not asked, and why; the refusing rule comes last."""
    path = write(tmp_path, NOWHERE, policy(**APP))

    async def asked(method: str, target: str) -> dict[str, Any]:
        words = ("--caller", "app", method, target, "--config", path, "--json")
        return dict((await run("explain", *words, environ=SECRETS)).json)

    before = dict.fromkeys(("target", "caller", "version", "endpoint", "method", "expires"), "passes")
    unasked = dict.fromkeys(("endpoints", "guarded", "scopes", "mode", "routes", "keys"), "not asked")
    assert before | {"deny": "refuses"} | unasked == outcomes(await asked("DELETE", "/threads/t_1"))
    allowed = await asked("POST", "/webhooks")
    assert before | {
        "deny": "passes",
        "endpoints": "allows",
        "guarded": "not asked",
        "scopes": "not asked",
        "mode": "not asked",
        "routes": "passes",
        "keys": "passes",
    } == outcomes(allowed)
    assert {"rule": "deny", "outcome": "passes", "why": "names 1, and not this one"} in allowed["rules"]
    guarded = await asked("POST", "/changelogs/c_1/broadcast")
    assert {"deny": "passes", "endpoints": "passes", "guarded": "refuses"}.items() <= outcomes(guarded).items()
    refused = await asked("GET", "/companies")
    assert {"guarded": "passes", "scopes": "refuses", "mode": "not asked"}.items() <= outcomes(refused).items()
    assert {"target": "refuses"}.items() <= outcomes(await asked("GET", "/threads/../me")).items()


async def test_the_trial_decides_last(tmp_path: Path) -> None:
    """Under audit a missing scope is named as in logs and metrics, and the request is allowed."""
    path = write(tmp_path, NOWHERE, policy(scopes=["threads:read"], mode="audit"))
    words = ("--caller", "app", "GET", "/companies", "--config", path)
    done = await run("explain", *words, "--json", environ=SECRETS)

    assert ("allow", "scope_not_granted") == (done.json["verdict"], done.json["would_deny"])
    assert {"scopes": "passes", "mode": "allows", "keys": "passes"}.items() <= outcomes(done.json).items()
    assert {"rule": "scopes", "outcome": "passes", "why": "without companies:read"} in done.json["rules"]


async def test_routes_and_why_not_the_others(tmp_path: Path) -> None:
    """The serving route comes first; the other routes that cover the endpoint say what they lack."""
    path = write(tmp_path, NOWHERE, policy(**APP), OTHER, **TWO_KEYS)
    words = ("GET", "/threads/t_1", "--config", path, "--json")
    app = await run("explain", "--caller", "app", *words, environ=SECRETS)
    other = await run("explain", "--caller", "other", *words, environ=SECRETS)

    assert [
        ("/**", ["app"], "names app"),
        ("/**", [], "names no caller, and /** names app"),
        ("/threads/**", [], "names no caller, and /** names app"),
    ] == [(route["path"], route["callers"], route["why"]) for route in app.json["routes"]]
    assert [
        ("/threads/**", True, "the longest path of those that cover it"),
        ("/**", False, "/threads/** is the longer path"),
    ] == [(route["path"], route["chosen"], route["why"]) for route in other.json["routes"]]


@pytest.mark.parametrize(
    ("request_line", "scopes", "expected"),
    [
        (
            "GET /companies",
            {KEY: ("companies:read", "tags:read"), OTHER_KEY: ("companies:read",)},
            {
                "main": (False, "would do, with 2 scopes instead of 1"),
                "second": (
                    True,
                    "of those whose scopes are known, the one with the fewest that carries companies:read",
                ),
            },
        ),
        (
            "GET /companies",
            {KEY: ("companies:read",), OTHER_KEY: ("companies:read",)},
            {
                "main": (True, "of those whose scopes are known, the one with the fewest that carries companies:read"),
                "second": (False, "would do, with as many scopes as main, which comes first"),
            },
        ),
        (
            "GET /companies",
            {KEY: ("companies:read",), OTHER_KEY: ("tags:read",)},
            {
                "main": (True, "of those whose scopes are known, the one with the fewest that carries companies:read"),
                "second": (False, "lacks companies:read"),
            },
        ),
        (
            "GET /companies",
            {KEY: (), OTHER_KEY: ("tags:read",)},
            {"main": (False, "lacks companies:read"), "second": (False, "lacks companies:read")},
        ),
        (
            "GET /companies",
            {OTHER_KEY: ("companies:read",)},
            {
                "main": (False, "Productlane answers 401; it was revoked or is mistyped"),
                "second": (
                    True,
                    "of those whose scopes are known, the one with the fewest that carries companies:read",
                ),
            },
        ),
    ],
)
async def test_the_key_that_would_serve_now(
    tmp_path: Path, upstream: Upstream, request_line: str, scopes: dict[str, tuple[str, ...]], expected: dict[str, Any]
) -> None:
    """With --online each key is shown with its scopes of now and why it serves or not, as the gateway chooses."""
    upstream.scopes = scopes
    app = policy(scopes=["companies:read"])
    path = write(tmp_path, upstream.url, app, keys=TWO_KEYS["keys"], routes=TWO_KEYS["routes"][:1])
    words: list[str | Path] = ["explain", "--caller", "app", *request_line.split(), "--config", path, "--online"]
    done = await run(*words, "--json", environ=SECRETS)
    text = await run(*words, environ=SECRETS)
    async with running(
        tmp_path / "gateway", upstream, policies=[app], keys=TWO_KEYS["keys"], routes=TWO_KEYS["routes"][:1]
    ) as gateway:
        real = await gateway.ask(target="/api/v2/companies")

    assert expected == {key["key"]: (key["chosen"], key["why"]) for key in done.json["keys"]}
    serving = next((key for key, (chosen, _) in expected.items() if chosen), None)
    assert (serving, 0 if serving else 1) == (done.json["key"], done.status)
    assert all(why in text.out for _, why in expected.values())
    if serving is None:
        assert (real.status, real.code) == (done.json["status"], done.json["code"]) == (403, "scope_required")
    else:
        assert {"main": KEY, "second": OTHER_KEY}[serving] == upstream.arrivals[-1].bearer


async def test_productlane_that_cannot_be_asked(tmp_path: Path) -> None:
    """Where /me does not answer, the key is the first of the route, as for the gateway, and so it says."""
    path = write(tmp_path, NOWHERE, policy(**APP), keys=TWO_KEYS["keys"], routes=TWO_KEYS["routes"][:1])
    words = ("--caller", "app", "GET", "/threads", "--config", path, "--online", "--json")
    done = await run("explain", *words, environ=SECRETS)

    assert (0, "main") == (done.status, done.json["key"])
    assert [None, None] == [key["scopes"] for key in done.json["keys"]]
    assert "its scopes are not known" == done.json["keys"][1]["why"]


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


async def test_a_template_stands_for_any_id(tmp_path: Path) -> None:
    """A path copied from the documentation, with its placeholders, is explained as a request for some id."""
    path = write(tmp_path, NOWHERE, policy(scopes=["threads:read"]))
    done = await run("explain", "--caller", "app", "GET", "/threads/{id}", "--config", path, "--json", environ=SECRETS)

    assert (0, "GET /threads/{id}") == (done.status, done.json["endpoint"]["name"])


async def test_a_pasted_url_stands_for_its_path(tmp_path: Path) -> None:
    """The host of a URL is not what is asked about, so it is left out."""
    path = write(tmp_path, NOWHERE, policy(scopes=["threads:read"]))
    words = ("--caller", "app", "GET", "https://productlane.com/api/v2/threads?limit=1", "--config", path, "--json")
    done = await run("explain", *words, environ=SECRETS)

    assert (0, "GET /api/v2/threads?limit=1") == (done.status, done.json["request"])
