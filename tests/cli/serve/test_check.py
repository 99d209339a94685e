"""`check`: is a configuration sound, and does Productlane accept its keys?"""

import re
from pathlib import Path
from typing import Any

from tests.support.command import run
from tests.support.in_process import policy, write
from tests.support.recording import Upstream, error
from tests.support.sentinels import ALL_SCOPES, KEY, OTHER_KEY, SECRETS, TOKEN

EXAMPLE = {
    "PRODUCTLANE_SUPPORT_KEY": "pl_v2_aaaasupport",
    "PRODUCTLANE_BILLING_KEY": "pl_v2_bbbbbilling",
    "PRODUCTLANE_PUBLISHER_KEY": "pl_v2_ccccpublisher",
}


async def test_the_example_is_sound() -> None:
    """`gateway.example.yaml` can be started from as it is, given the variables that it names."""
    done = await run("check", "--config", "gateway.example.yaml", environ=EXAMPLE)

    assert (0, "") == (done.status, done.err)
    assert "gateway.example.yaml: no problems" in done.out
    for fact in ("127.0.0.1:8080", "billing, changelog-publisher, support-bot", "support (2 secrets)", "/** → support"):
        assert fact in done.out
    assert [] == [secret for secret in EXAMPLE.values() if secret in done.out]


async def test_every_problem_is_told_with_its_place(tmp_path: Path) -> None:
    """One run names every problem as `file:line: key: problem`, with status 2."""
    path = write(tmp_path, "http://127.0.0.1:1", policy(scopes=["threads:raed"], deny=["DELETE /thread/{id}"]))
    path.write_text(path.read_text() + "upstrem: {}\n")
    done = await run("check", "--config", path)

    lines = done.err.splitlines()
    assert (2, "", 4) == (done.status, done.out, len(lines))
    assert all(line.startswith(f"{tmp_path}/") for line in lines)
    for expected in ("upstrem", "MAIN_KEY is not set", "scopes[0]", "deny[0]"):
        assert 1 == sum(expected in line for line in lines)


async def test_a_grant_that_has_ended_is_a_warning(tmp_path: Path) -> None:
    """A past `expires` is a warning, and an error with --strict."""
    path = write(tmp_path, "http://127.0.0.1:1", policy(expires="2020-01-01"))
    done = await run("check", "--config", path, environ=SECRETS)
    strict = await run("check", "--config", path, "--strict", "--json", environ=SECRETS)

    assert 0 == done.status
    assert "warning: policy app: grants nothing since 2020-01-01; set a later date or remove the policy\n" == done.err
    assert (1, 1) == (strict.status, len(strict.json["warnings"]))


async def test_problems_as_json(tmp_path: Path) -> None:
    """A program gets each problem's file, line, key and message, on standard output, and the same status."""
    path = write(tmp_path, "http://127.0.0.1:1", listen="nowhere")
    done = await run("check", "--config", path, "--json", environ=SECRETS)

    (problem,) = done.json["problems"]
    assert (2, "", False) == (done.status, done.err, done.json["ok"])
    assert (str(path), "listen") == (problem["file"], problem["where"])
    assert {"file", "line", "where", "message"} == problem.keys()


async def test_a_summary_tells_what_is_unusual_of_a_caller(tmp_path: Path) -> None:
    """Who is anonymous, in trial or on a term is seen without opening the policies."""
    policies = (policy("app", None), policy("trial", mode="audit", expires="2099-01-01"))
    done = await run("check", "--config", write(tmp_path, "http://127.0.0.1:1", *policies), environ=SECRETS)

    assert 0 == done.status
    assert "app (anonymous), trial (audit, until 2099-01-01)" in done.out


async def test_online_shows_each_secret_to_productlane(tmp_path: Path, upstream: Upstream) -> None:
    """The table shows Productlane's answer about every secret, and a key's unused scopes."""
    keys = {"main": {"secrets": ["env:MAIN_KEY", "env:SECOND_KEY", "env:NOT_YET"]}}
    path = write(tmp_path, upstream.url, policy(scopes=["threads:read"]), keys=keys)
    done = await run("check", "--online", "--config", path, environ=SECRETS)

    rows = [line.split() for line in done.out.splitlines() if line.startswith("main ")]
    assert (0, "") == (done.status, done.err)
    assert ["main", "1", "Kone", "active", "wks_1", "-"] == rows[0][:6]
    assert sorted(set(ALL_SCOPES) - {"threads:read"}) == rows[0][6 : 5 + len(ALL_SCOPES)]
    assert ["main", "2", "Ktwo", "standby", "wks_1", "threads:read"] == rows[1]
    assert ["main", "3", "missing", "?", "?"] == rows[2]
    assert sorted([KEY, OTHER_KEY]) == sorted(arrival.bearer for arrival in upstream.lookups)
    assert [] == [secret for secret in (KEY, OTHER_KEY, TOKEN) if secret in done.out]


async def test_online_a_missing_scope_is_a_fault(tmp_path: Path, upstream: Upstream) -> None:
    """If a policy grants a scope that no key of the route carries, the status is 1 and the scope is named."""
    upstream.scopes[KEY] = ("threads:read",)
    path = write(tmp_path, upstream.url, policy(scopes=["threads:read", "contacts:read"]))
    done = await run("check", "--online", "--json", "--config", path, environ=SECRETS)

    (key,) = done.json["online"]
    assert (1, False) == (done.status, done.json["ok"])
    assert (["contacts:read"], []) == (key["missing"], key["excess"])
    assert "contacts:read" in key["faults"][0]


async def test_online_a_secret_that_is_not_taken_is_a_fault(tmp_path: Path, upstream: Upstream) -> None:
    """A revoked secret is reported, with status 1, even if another secret of the key is good."""
    upstream.scopes = {OTHER_KEY: ALL_SCOPES}
    path = write(tmp_path, upstream.url, keys={"main": {"secrets": ["env:MAIN_KEY", "env:SECOND_KEY"]}})
    done = await run("check", "--online", "--config", path, environ=SECRETS)

    assert 1 == done.status
    assert "main: secret 1: Productlane answers 401" in done.out
    assert "secret 2:" not in done.out


async def test_online_a_key_that_has_to_be_made_anew_is_told_with_its_scopes(
    tmp_path: Path, upstream: Upstream
) -> None:
    """If no secret of a key works, the output says which scopes a new secret needs."""
    upstream.scopes = {}
    callers = [
        policy(scopes=["threads:read"]),
        policy("other", "plgw_other-token-0123456789", scopes=["contacts:read"]),
    ]
    done = await run("check", "--online", "--config", write(tmp_path, upstream.url, *callers), environ=SECRETS)

    assert 1 == done.status
    assert "main: policies use contacts:read, threads:read of it" == done.out.splitlines()[-1]


async def test_online_other_faults(tmp_path: Path, upstream: Upstream) -> None:
    """A v1-era key, a secret of another workspace, and an upstream that cannot be asked are faults in words."""
    path = write(tmp_path, upstream.url, keys={"main": {"secrets": ["env:MAIN_KEY"], "workspace": "wks_2"}})
    pinned = await run("check", "--online", "--config", path, environ=SECRETS)
    upstream.me = error(410, "unsupported_key_version")
    unsupported = await run("check", "--online", "--config", path, environ=SECRETS)
    await upstream.stop()
    unreachable = await run("check", "--online", "--config", path, environ=SECRETS)

    assert [1, 1, 1] == [pinned.status, unsupported.status, unreachable.status]
    assert "it belongs to workspace wks_1, the key to wks_2" in pinned.out
    assert "answers 410" in unsupported.out
    assert "could not be asked: the connection was refused" in unreachable.out


async def test_online_says_what_would_mend_drift(tmp_path: Path, upstream: Upstream) -> None:
    """Excess scopes, unknown scopes and a key wider than any caller get advice and are not faults."""
    upstream.scopes[KEY] = ("threads:read", "contacts:read", "tags:read", "loyalty:read")
    callers = [
        policy(scopes=["threads:read"]),
        policy("other", "plgw_other-token-0123456789", scopes=["contacts:read"]),
    ]
    path = write(tmp_path, upstream.url, *callers)
    told = await run("check", "--online", "--config", path, environ=SECRETS)
    facts = await run("check", "--online", "--json", "--config", path, environ=SECRETS)

    (key,) = facts.json["online"]
    assert (0, 0) == (told.status, facts.status)
    assert (["loyalty:read", "tags:read"], ["loyalty:read"], True) == (key["excess"], key["unknown"], key["wide"])
    assert [f"main: {said}" for said in key["advice"]] == told.out.splitlines()[-3:]
    assert "take tags:read from it in Productlane; no policy uses that" == key["advice"][0]


async def test_offline_nothing_is_sent(tmp_path: Path, upstream: Upstream) -> None:
    """Without --online no secret leaves the machine."""
    done = await run("check", "--config", write(tmp_path, upstream.url), environ=SECRETS)

    assert 0 == done.status
    assert 0 == upstream.connections


async def test_two_callers_that_one_token_could_be(tmp_path: Path) -> None:
    """Such a token is refused when it comes, so patterns that meet are shown before; --strict fails on them."""
    issuer = {"issuer": "https://ci.example.com", "audience": "gateway"}

    def caller(name: str, subject: str, **claims: str) -> dict[str, Any]:
        entry = {"issuer": "ci", "subject": subject} | ({"claims": claims} if claims else {})
        return policy(name, authenticate={"oidc": [entry]})

    path = write(
        tmp_path,
        "http://127.0.0.1:1",
        caller("deploy", "repo:acme/app:*"),
        caller("any", "repo:acme/*:main"),
        caller("tags", "repo:acme/app:*", ref_type="tag"),
        caller("branches", "repo:acme/*:main", ref_type="branch"),
        callers={"oidc": {"ci": issuer}},
    )
    done = await run("check", "--config", path, environ=SECRETS)
    strict = await run("check", "--config", path, "--strict", environ=SECRETS)

    pairs = {tuple(sorted(re.findall(r"policies (\w+) and (\w+)", line)[0])) for line in done.err.splitlines()}
    assert (0, 1) == (done.status, strict.status)
    assert {
        ("any", "deploy"),
        ("deploy", "tags"),
        ("branches", "deploy"),
        ("any", "tags"),
        ("any", "branches"),
    } == pairs
    assert "(ci: sub=repo:acme/*:main and ci: sub=repo:acme/app:*)" in done.err
