"""`gateway.cli.policies.policy` and `gateway.cli.policies.changes`: the effect of a policy change."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.access_lines import line
from tests.support.command import ROOT, Finished, finish, run
from tests.support.in_process import policy


def write(folder: Path, *policies: dict[str, Any]) -> Path:
    """A folder of these policies."""
    folder.mkdir()
    for fields in policies:
        (folder / f"{fields['caller']}.yaml").write_text(yaml.safe_dump(fields))
    return folder


APP = policy(scopes=["threads:read", "companies:read"])
LESS = policy(scopes=["threads:read"], deny=["GET /threads/{id}"])


async def diff(folder: Path, old: dict[str, Any], new: dict[str, Any], *words: str | Path) -> Finished:
    """The difference of two folders with one policy each."""
    return await run("policy", "diff", write(folder / "old", old), write(folder / "new", new), *words)


async def test_whose_verdicts_change_on_which_endpoints(tmp_path: Path) -> None:
    """Shows the settings that differ and each endpoint with its verdict before and after; the status is 1."""
    done = await diff(tmp_path, APP, LESS)

    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert (1, "") == (done.status, done.err)
    assert "app (changed)" == lines[0]
    for expected in (
        "- scopes companies:read",
        "+ deny GET /threads/{id}",
        "GET /companies allow scope_required",
        "GET /companies/{id} allow scope_required",
        "GET /threads/{id} allow forbidden",
    ):
        assert expected in lines
    assert "GET /threads allow" not in done.out
    assert "4 verdicts of 1 caller would change: 4 from let through to refused, 0 from refused" in done.out


async def test_nothing_changes(tmp_path: Path) -> None:
    """The same policies in other files and another order are the same; the status is 0."""
    write(tmp_path / "old", APP)
    (tmp_path / "app.yaml").write_text(f"# moved\n{yaml.safe_dump(dict(reversed(APP.items())))}")
    done = await run("policy", "diff", tmp_path / "old", tmp_path / "app.yaml")

    assert (0, "No verdict changes.\n") == (done.status, done.out)


async def test_who_may_be_the_caller_is_told_and_is_no_verdict(tmp_path: Path) -> None:
    """A changed credential is shown by its preview and changes no verdict."""
    old, new = policy(token="plgw_one"), policy(token="plgw_two", limits={"reads_per_minute": 5})
    new["authenticate"]["spiffe"] = ["spiffe://cluster.local/ns/a"]
    done = await diff(tmp_path, old, new)

    assert 0 == done.status
    assert "authenticate.spiffe" in done.out
    assert "limits.reads_per_minute" in done.out
    for sign, fields in (("-", old), ("+", new)):
        digest = fields["authenticate"]["tokens"][0]
        assert f"{sign}  authenticate.tokens      {digest[:15]}…" in done.out
        assert digest not in done.out


async def test_callers_that_come_and_go(tmp_path: Path) -> None:
    """A new caller is shown with its rights, a removed one with those it loses; both change verdicts."""
    old = policy("old-app", "plgw_one", scopes=["tags:read"], deny=["GET /tags/{id}"])
    done = await diff(tmp_path, old, policy("new-app", "plgw_two", scopes=["snippets:read"]), "--json")

    callers = {one["caller"]: one for one in done.json["callers"]}
    assert 1 == done.status
    assert ("added", "removed") == (callers["new-app"]["change"], callers["old-app"]["change"])
    assert {"endpoint": "GET /tags", "before": "allow", "after": "no_policy"} in callers["old-app"]["verdicts"]
    assert {"endpoint": "GET /snippets", "before": "no_policy", "after": "allow"} in callers["new-app"]["verdicts"]
    assert "GET /tags/{id}" not in [verdict["endpoint"] for verdict in callers["old-app"]["verdicts"]]


async def test_a_change_of_mode_is_counted_and_not_listed(tmp_path: Path) -> None:
    """Enforcing concerns every endpoint without a grant: people get a count, programs each of them."""
    old, new = policy(scopes=[], mode="audit"), policy(scopes=[])
    done = await diff(tmp_path, old, new)
    whole = await run("policy", "diff", tmp_path / "old", tmp_path / "new", "--json")

    number = len(whole.json["callers"][0]["verdicts"])
    assert number > 50
    assert f"  {number} endpoints: would_deny → scope_required (--json lists them)" in done.out
    assert "GET /threads" not in done.out


async def test_whatever_is_lost_is_listed(tmp_path: Path) -> None:
    """However many endpoints a caller loses for good, people see each of them."""
    done = await diff(tmp_path, policy(), policy(scopes=[]))

    assert "--json lists them" not in done.out
    assert len(re.findall(r" allow +scope_required$", done.out, re.MULTILINE)) > 50


async def test_the_requests_of_a_log_that_would_change(tmp_path: Path) -> None:
    """With a log, each changed verdict shows how often and when last it was requested, with the sum at the end."""
    log = tmp_path / "access.log"
    rows = [
        line("app", "GET /companies"),
        line("app", "GET /companies", "06:05:00", "would_deny"),
        line("app", "GET /threads", "06:06:00"),
        line("app", "other", "06:07:00", "deny"),
        line("elsewhere", "GET /companies", "06:08:00"),
    ]
    log.write_text("\n".join([*rows, '{"event":"stopped"}', "not a line", ""]))
    done = await diff(tmp_path, APP, LESS, "--against", log)
    whole = await run("policy", "diff", tmp_path / "old", tmp_path / "new", "--against", log, "--json")

    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "endpoint before after requests last" in lines
    assert "GET /companies allow scope_required 2 2026-11-24T06:05:00Z" in lines
    assert "GET /companies/{id} allow scope_required 0 -" in lines
    assert (
        "Of 5 requests logged from 2026-11-24T06:01:00Z to 2026-11-24T06:08:00Z, 2 would come to something else, "
        "2 would be refused that were not. 1 line could not be read."
    ) == lines[-1]
    assert {
        "requests": 5,
        "from": "2026-11-24T06:01:00Z",
        "to": "2026-11-24T06:08:00Z",
        "changed": 2,
        "lost": 2,
        "unreadable_lines": 1,
    } == whole.json["against"]


async def test_a_change_of_mode_lists_what_was_requested(tmp_path: Path) -> None:
    """Of the many endpoints that enforcing concerns, a log shows the few that matter."""
    log = tmp_path / "access.log"
    log.write_text(line("app", "GET /companies", decision="would_deny"))
    done = await diff(tmp_path, policy(scopes=[], mode="audit"), policy(scopes=[]), "--against", log)

    assert "GET /companies  would_deny  scope_required  1         2026-11-24T06:01:00Z" in done.out
    assert "  and " in done.out
    assert "GET /threads" not in done.out


@pytest.mark.parametrize(
    ("fail_on", "requested", "status"),
    [
        ("change", "GET /threads", 1),
        ("loss", None, 1),
        ("loss", "GET /threads", 0),
        ("loss", "GET /companies", 1),
        ("never", "GET /companies", 0),
    ],
)
async def test_what_fails_a_build(tmp_path: Path, fail_on: str, requested: str | None, status: int) -> None:
    """A build may fail on any change, on losses, or on losses that the log shows in use."""
    log = tmp_path / "access.log"
    log.write_text(line("app", requested or ""))
    words = ("--against", log) if requested else ()
    done = await diff(tmp_path, APP, LESS, "--fail-on", fail_on, *words)

    assert (status, "") == (done.status, done.err)


async def test_what_was_refused_already_is_not_lost(tmp_path: Path) -> None:
    """A request that the log says was refused cannot be lost by a change of policies, and fails no build."""
    log = tmp_path / "access.log"
    log.write_text(line("app", "GET /companies", decision="deny"))
    done = await diff(tmp_path, APP, LESS, "--against", log, "--fail-on", "loss", "--json")

    assert (0, 0, 0) == (done.status, done.json["against"]["changed"], done.json["against"]["lost"])


async def test_more_rights_are_no_loss(tmp_path: Path) -> None:
    """`--fail-on loss` accepts a policy that only gains rights."""
    done = await diff(tmp_path, policy(scopes=["threads:read"]), APP, "--fail-on", "loss")

    assert 0 == done.status
    assert "0 from let through to refused, 3 from refused to let through." in done.out


async def test_a_log_from_a_pipe(tmp_path: Path) -> None:
    """`kubectl logs … | productlane-gateway policy diff … --against -` works, prefixes and all."""
    write(tmp_path / "old", APP)
    write(tmp_path / "new", LESS)
    log = tmp_path / "log"
    log.write_text(f"[pod/gateway-1/gateway] {line('app', 'GET /companies')}\n")
    words = f"policy diff {tmp_path}/old {tmp_path}/new --against - --json < {log}"
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m gateway {words}",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    done = await finish(process)

    assert 1 == done.json["against"]["lost"]


async def test_a_log_without_a_request_proves_nothing(tmp_path: Path) -> None:
    """A log in console format, or an empty one, is reported with status 2."""
    log = tmp_path / "access.log"
    log.write_text("12:00:00 INFO 200 GET /threads\n")
    done = await diff(tmp_path, APP, LESS, "--against", log)

    assert (2, "") == (done.status, done.out)
    assert "holds no request of a gateway's log in JSON" in done.err


async def test_a_policy_with_a_problem_is_told(tmp_path: Path) -> None:
    """Problems in either folder are shown with file and line, with status 2, and nothing is compared."""
    done = await diff(tmp_path, APP, policy(scopes=["threads:raed"]))
    machine = await run("policy", "diff", tmp_path / "old", tmp_path / "new", "--json")

    assert (2, "") == (done.status, done.out)
    assert re.match(rf"{tmp_path}/new/app.yaml:\d+: scopes\[0\]: ", done.err)
    assert (2, "scopes[0]") == (machine.status, machine.json["problems"][0]["where"])


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A mistyped folder does not count as empty: the status is 2, and no caller is reported as removed."""
    done = await run("policy", "diff", tmp_path, tmp_path / "none", cwd=tmp_path)

    assert (2, "") == (done.status, done.out)
    assert "none" in done.err


async def test_endpoints_that_a_team_has_added(tmp_path: Path) -> None:
    """With --config, policies may name the endpoints of the catalog's overlays; no secret is needed."""
    (tmp_path / "extra.yaml").write_text("endpoints: [{method: GET, path: /reports, scopes: []}]\n")
    (tmp_path / "gateway.yaml").write_text(
        "catalog: [extra.yaml]\nkeys: {a: {secrets: [env:A]}}\nroutes: [{path: /**, keys: [a]}]\npolicies: old\n"
    )
    new = policy(deny=["GET /reports"])
    done = await diff(tmp_path, policy(), new, "--config", tmp_path / "gateway.yaml")

    assert (1, "") == (done.status, done.err)
    assert "GET /reports  allow   forbidden" in done.out
