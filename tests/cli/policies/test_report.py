"""`gateway.cli.policies.report` and its parts: which grants a caller used, and the policy cut to those."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gateway.cli.keys.replicas import Answered
from gateway.cli.policies.observed import from_gateways
from gateway.telemetry.access_log import Seen
from gateway.telemetry.status import Status, UseStatus
from tests.support.access_lines import line
from tests.support.command import run
from tests.support.in_process import policy, running
from tests.support.recording import Upstream

APP = policy(
    scopes=["threads:read", "companies:read", "companies:write"],
    endpoints=["POST /companies/{id}/merge", "POST /webhooks"],
    deny=["DELETE /companies/{id}"],
)


def write(folder: Path, *policies: dict[str, Any], log: list[str] | None = None) -> Path:
    """A folder of policies beside an access log, which is returned."""
    (folder / "policies").mkdir()
    for fields in policies:
        (folder / "policies" / f"{fields['caller']}.yaml").write_text(yaml.safe_dump(fields, sort_keys=False))
    path = folder / "access.log"
    path.write_text("".join(f"{one}\n" for one in log or ()))
    return path


def suggestion(out: str) -> dict[str, Any]:
    """The policy in the output, ready to paste."""
    text = out.partition("with what was used and no more:\n\n")[2]
    found: dict[str, Any] = yaml.safe_load(re.split(r"\n\n(?=\S)", text)[0])
    return found


async def test_granted_used_and_narrowed(tmp_path: Path) -> None:
    """For each caller: its used grants with the last time, its unused grants, and a policy without those."""
    log = write(
        tmp_path,
        APP,
        log=[
            line("app", "GET /companies", "06:01:00"),
            line("app", "GET /companies/{id}", "06:02:00"),
            line("app", "POST /webhooks", "06:03:00"),
            line("app", "DELETE /companies/{id}", "06:04:00", "deny"),
        ],
    )
    done = await run("report", tmp_path / "policies", "--access-log", log)

    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert (1, "") == (done.status, done.err)
    for expected in (
        "companies:read 2 2026-11-24T06:02:00Z",
        "companies:write 0 never since 2026-11-24T06:01:00Z",
        "POST /companies/{id}/merge 0 never since 2026-11-24T06:01:00Z",
        "POST /webhooks 1 2026-11-24T06:03:00Z",
        "DELETE /companies/{id} 0 0 1 2026-11-24T06:04:00Z",
    ):
        assert expected in lines
    assert APP | {"scopes": ["companies:read"], "endpoints": ["POST /webhooks"]} == suggestion(done.out)
    assert "Its scopes open as well, and nobody used: GET /companies/linear-options." in done.out


async def test_what_is_suggested_can_be_used(tmp_path: Path) -> None:
    """The written folder is complete: `test` reads it, and `policy diff` compares it and shows what is lost."""
    quiet = policy("quiet", "plgw_quiet", scopes=["tags:read"])
    log = write(tmp_path, APP, quiet, log=[line("app", "GET /companies")])
    (tmp_path / "policies" / "app.cases.yaml").write_text("- [GET /companies, allow]\n- [GET /threads, allow]\n")
    new = tmp_path / "narrower"
    await run("report", tmp_path / "policies", "--access-log", log, "--write", new)
    tested = await run("test", new, "--json")
    compared = await run("policy", "diff", tmp_path / "policies", new, "--against", log, "--fail-on", "loss", "--json")

    (failure,) = tested.json["policies"][0]["failures"]
    assert ("GET /threads", "allow", "scope_required") == tuple(failure[n] for n in ("request", "expected", "found"))
    assert ["app"] == [one["caller"] for one in compared.json["callers"]]
    assert (0, 0) == (compared.status, compared.json["against"]["lost"])
    assert compared.json["lost"] > 5
    assert quiet == yaml.safe_load((new / "quiet.yaml").read_text())


async def test_a_folder_that_holds_files_is_left_alone(tmp_path: Path) -> None:
    """The folder that a gateway serves cannot be overwritten by mistake; with --force each file is replaced whole."""
    log = write(tmp_path, APP, log=[line("app", "GET /companies")])
    live = tmp_path / "policies"
    before = (live / "app.yaml").read_text()
    refused = await run("report", live, "--access-log", log, "--write", live)
    untouched = (live / "app.yaml").read_text()
    forced = await run("report", live, "--access-log", log, "--write", live, "--force")
    again = await run("report", live, "--access-log", log, "--write", live, "--force")

    assert (2, "", before) == (refused.status, refused.out, untouched)
    assert "is not empty, and a gateway may serve it; give a new folder, or --force" in refused.err
    assert f"{live}/app.yaml: replaced\n" == forced.err
    assert f"{live}/app.yaml: unchanged\n" == again.err
    assert ["app.yaml"] == [path.name for path in live.iterdir()]


async def test_a_summary_is_one_line_for_each_caller(tmp_path: Path) -> None:
    """Somebody who looks after fifty callers sees at a glance where something can go."""
    log = write(tmp_path, APP, policy("quiet", "plgw_q"), log=[line("app", "GET /companies")])
    done = await run("report", tmp_path / "policies", "--access-log", log, "--summary")

    rows = [" ".join(row.split()) for row in done.out.splitlines()]
    assert rows[0] == "caller mode granted unused would refuse last seen"
    assert "app enforce 5 4 0 2026-11-24T06:01:00Z" in rows
    assert sum(row.startswith("quiet enforce ") for row in rows) == 1


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """If `--write` cannot write, one line says what and why, and the status is not that of a verdict."""
    log = write(tmp_path, APP, log=[line("app", "GET /companies")])
    done = await run("report", tmp_path / "policies", "--access-log", log, "--write", log / "narrower")

    assert (2, "") == (done.status, done.out)
    assert f"--write: {log}/narrower cannot be written: Not a directory\n" == done.err


async def test_a_policy_that_fits_stays(tmp_path: Path) -> None:
    """Where everything that is granted was used there is nothing to suggest, and the status is 0."""
    log = write(tmp_path, policy(scopes=["tags:read"]), log=[line("app", "GET /tags")])
    done = await run("report", tmp_path / "policies", "--access-log", log)

    assert (0, "") == (done.status, done.err)
    assert "Everything that it is granted was used." in done.out


async def test_what_enforcing_would_refuse(tmp_path: Path) -> None:
    """For a caller in audit, requests that only audit allowed are shown with count, last time and the missing grant."""
    rows = [
        line("app", "GET /tags"),
        line("app", "GET /companies", "06:04:00", "would_deny"),
        line("app", "GET /companies", "06:05:00", "would_deny"),
    ]
    log = write(tmp_path, policy(scopes=["tags:read"], mode="audit"), log=rows)
    done = await run("report", tmp_path / "policies", "--access-log", log)
    granted = await run("report", tmp_path / "policies", "--access-log", log, "--grant-audited", "--json")
    exact = await run("report", tmp_path / "policies", "--access-log", log, "--grant-audited", "--exact", "--json")

    assert (1, "") == (done.status, done.err)
    assert (
        "Enforcing this policy would refuse:\n  - GET /companies, asked for 2 times, last at 2026-11-24T06:05:00Z"
        in (done.out)
    )
    assert "scope_required: policy app: does not grant companies:read; add `companies:read` under `scopes`" in done.out
    (facts,) = granted.json["callers"]
    assert [("GET /companies", 2)] == [(one["endpoint"], one["requests"]) for one in facts["would_refuse"]]
    assert ["companies:read", "tags:read"] == facts["suggestion"]["scopes"]
    assert ["GET /companies", "GET /tags"] == exact.json["callers"][0]["suggestion"]["endpoints"]
    assert "audit" == yaml.safe_load(facts["suggestion"]["yaml"])["mode"]


async def test_half_of_what_is_needed_is_not_used(tmp_path: Path) -> None:
    """A scope that was needed only by refused endpoints is removed."""
    rows = [line("app", "GET /tags"), line("app", "GET /contacts/{id}/issues", decision="would_deny")]
    log = write(tmp_path, policy(scopes=["tags:read", "contacts:read"], mode="audit"), log=rows)
    done = await run("report", tmp_path / "policies", "--access-log", log, "--json")

    (facts,) = done.json["callers"]
    assert {"contacts:read": 0, "tags:read": 1} == {grant["name"]: grant["requests"] for grant in facts["granted"]}
    assert ["tags:read"] == facts["suggestion"]["scopes"]


async def test_nothing_seen_is_nothing_suggested(tmp_path: Path) -> None:
    """A caller that was silent is not cut to nothing; one that is seen and has no policy is named."""
    log = write(
        tmp_path, policy(scopes=["tags:read"]), log=[line("gone", "GET /tags"), line("-", "other", decision="deny")]
    )
    done = await run("report", tmp_path / "policies", "--access-log", log)

    assert 1 == done.status
    assert "Nothing was let through for app, so there is nothing to go by." in done.out
    assert "no more" not in done.out
    assert "Caller gone made requests and has no policy here." in done.out
    assert "- was seen" not in done.out


async def test_one_caller(tmp_path: Path) -> None:
    """--caller shows one caller; an unknown name is reported with the nearest one."""
    log = write(tmp_path, APP, policy("quiet", "plgw_q"), log=[line("app", "GET /companies")])
    done = await run("report", tmp_path / "policies", "--access-log", log, "--caller", "app", "--json")
    wrong = await run("report", tmp_path / "policies", "--access-log", log, "--caller", "ap")

    assert ["app"] == [one["caller"] for one in done.json["callers"]]
    assert (2, "") == (wrong.status, wrong.out)
    assert 'did you mean "app"?' in wrong.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--access-log", "empty.log"), "holds no request"),
        (("--admin", "http://127.0.0.1:1"), "did not answer"),
        (("--admin", "ftp://x"), "not an admin listener's address"),
        (("--admin", "http://127.0.0.1:1", "--access-log", "empty.log"), "give one"),
    ],
)
async def test_without_a_source_there_is_no_report(tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    """Without usage data nothing is called unused, and the status is 2."""
    write(tmp_path, APP)
    (tmp_path / "empty.log").write_text("")
    done = await run("report", *words, cwd=tmp_path)

    assert (2, "") == (done.status, done.out)
    assert expected in done.err


def status(started: str, **used: UseStatus) -> Status:
    """The status of a gateway with one caller."""
    return msgspec.convert(
        {
            "version": "1",
            "started": started,
            "now": "2026-11-24T07:00:00Z",
            "config": "gateway.yaml",
            "upstream": "https://productlane.com/api/v2",
            "listeners": {},
            "not_ready": [],
            "reload": {},
            "store": {},
            "keys": [],
            "callers": [{"caller": "app", "used": msgspec.to_builtins(used)}],
        },
        Status,
    )


def test_replicas_are_counted_together() -> None:
    """Counts of replicas are added, the last use is the latest, and `never since` is the youngest replica's start."""
    one = UseStatus(1, 0, 0, datetime(2026, 11, 24, 6, 1, tzinfo=UTC))
    other = UseStatus(2, 1, 0, datetime(2026, 11, 24, 6, 2, tzinfo=UTC))
    seen = from_gateways(
        [
            Answered("a:9090", status("2026-11-24T05:00:00Z", tags=one)),
            Answered("b:9090", status("2026-11-24T05:30:00Z", tags=other)),
            Answered("c:9090", None, "no answer within 5 s"),
        ]
    )

    assert ("2 gateways", "2026-11-24T05:30:00Z") == (seen.source, seen.since)
    assert Seen(3, "2026-11-24T05:00:00Z", "2026-11-24T06:02:00Z") == seen.of("app")["tags"]["allow"]
    assert ("c:9090 did not answer: no answer within 5 s",) == seen.faults


async def test_a_silent_replica_is_told(tmp_path: Path, upstream: Upstream) -> None:
    """What one of several gateways counted is not known, and the status is 1 though all that is known was used."""
    async with running(tmp_path / "gateway", upstream, policies=[policy(scopes=["tags:read"])]) as gateway:
        await gateway.ask(target="/api/v2/tags")
        write(tmp_path, policy(scopes=["tags:read"]))
        address = str(gateway.gateway.admin)
        whole = await run("report", "--admin", address, cwd=tmp_path)
        part = await run("report", "--admin", address, "--admin", "127.0.0.1:1", cwd=tmp_path)

    assert 0 == whole.status
    assert 1 == part.status
    assert "127.0.0.1:1 did not answer" in part.out


async def test_audit_from_end_to_end(tmp_path: Path, upstream: Upstream) -> None:
    """Under audit a request that would be refused is forwarded and shown with its reason in log, metrics and report."""
    policies = [policy(scopes=["tags:read"], mode="audit", deny=["DELETE /tags/{id}"])]
    write(tmp_path, *policies)
    async with running(tmp_path / "gateway", upstream, policies=policies) as gateway:
        for method, target in [("GET", "tags"), ("GET", "companies"), ("DELETE", "tags/t_1"), ("POST", "webhooks")]:
            await gateway.ask(method, f"/api/v2/{target}")
        lines = {one["endpoint"]: one for one in await gateway.lines(4)}
        live = await run("report", "--admin", str(gateway.gateway.admin), "--json", cwd=tmp_path)
        logged = await run("report", "--access-log", gateway.log_file, "--json", cwd=tmp_path)
        counted = await gateway.metric("policy_decisions_total", decision="would_deny", reason="scope_not_granted")

    assert (
        "would_deny",
        "scope_not_granted",
        "policy app: does not grant companies:read; add `companies:read` under `scopes` in policy `app`",
    ) == (tuple(lines["GET /companies"][name] for name in ("decision", "reason", "note")))
    assert ["GET /api/v2/tags", "GET /api/v2/companies"] == [
        f"{one.method} {one.target.decode()}" for one in upstream.arrivals
    ]
    assert 1 == counted
    for done in (live, logged):
        (facts,) = done.json["callers"]
        assert ["GET /companies"] == [one["endpoint"] for one in facts["would_refuse"]]
        assert ["DELETE /tags/{id}", "POST /webhooks"] == [one["endpoint"] for one in facts["used"] if one["denied"]]
        assert facts["suggestion"] is None
