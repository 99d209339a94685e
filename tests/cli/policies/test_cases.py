"""`gateway.cli.policies.cases` and `gateway.cli.policies.policy_sets`: policies held against their truth tables."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import ROOT, run
from tests.support.in_process import config, policy


def write(folder: Path, name: str, cases: str | None, **fields: Any) -> None:
    """A policy of this name, and its cases if they are given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(policy(name, None, **fields)))
    if cases is not None:
        (folder / f"{name}.cases.yaml").write_text(cases)


async def test_the_example_policies_hold() -> None:
    """`productlane-gateway test policies/` passes as delivered, with rows for every policy, the sidecar's included."""
    done = await run("test", "policies/")

    assert (0, "") == (done.status, done.err)
    assert done.out.rstrip().endswith("rows of 4 policies: all hold")
    assert "policies/sidecar/sidecar.yaml" in done.out
    assert "no cases" not in done.out


@pytest.mark.parametrize("name", ["billing", "changelog-publisher", "support-bot", "sidecar/sidecar"])
def test_the_example_tables_show_each_kind_of_refusal(name: str) -> None:
    """The cases of each example show what is allowed and every kind of refusal."""
    rows = yaml.safe_load((ROOT / "policies" / f"{name}.cases.yaml").read_text())

    kinds = {"allow", "scope_required", "forbidden", "not_found", "method_not_allowed", "unsupported_api_version"}
    assert kinds | {"invalid_request"} == {verdict for _, verdict in rows}


async def test_policies_is_the_default_folder(tmp_path: Path) -> None:
    """In the folder of a configuration, `test` alone is enough."""
    write(tmp_path / "policies", "app", "- [GET /threads, allow]\n")
    done = await run("test", cwd=tmp_path)

    assert 0 == done.status
    assert "1 row of 1 policy: all hold" in done.out


async def test_a_row_that_does_not_hold_is_shown_with_its_place(tmp_path: Path) -> None:
    """A failing row names file, line, expectation, result and reason; other rows are counted; the status is 1."""
    write(
        tmp_path,
        "app",
        "- [GET /threads, allow]\n- [POST /threads, allow]\n- [GET /contacts, scope_required]\n",
        scopes=["threads:read", "contacts:read"],
    )
    done = await run("test", ".", cwd=tmp_path)

    assert (1, "") == (done.status, done.err)
    assert "app.cases.yaml:2: POST /threads\n  - allow\n  + scope_required   (policy app: does not grant" in done.out
    assert "app.cases.yaml:3: GET /contacts\n  - scope_required\n  + allow   (`scopes` holds all" in done.out
    assert "app.cases.yaml:1:" not in done.out
    assert "3 rows of 1 policy: 2 failed" in done.out


async def test_as_json(tmp_path: Path) -> None:
    """JSON gives each failing row with place, request, expectation and result, and problems as well."""
    write(tmp_path, "app", "- [GET /threads, allow]\n- [POST /threads, allow]\n", scopes=["threads:read"])
    write(tmp_path / "below", "bare", None)
    done = await run("test", tmp_path, "--json")
    (tmp_path / "app.cases.yaml").write_text("- [GET /threads, alow]\n")
    broken = await run("test", tmp_path, "--json")

    app, bare = done.json["policies"]
    (failure,) = app["failures"]
    assert (1, "", False) == (done.status, done.err, done.json["ok"])
    assert (2, None) == (app["rows"], bare["rows"])
    assert (f"{tmp_path}/app.cases.yaml", 2, "POST /threads", "allow", "scope_required") == tuple(
        failure[name] for name in ("file", "line", "request", "expected", "found")
    )
    assert (2, 1) == (broken.status, broken.json["problems"][0]["line"])


async def test_a_policy_without_a_table_is_told_and_not_failed(tmp_path: Path) -> None:
    """A policy without cases is listed and is no failure."""
    write(tmp_path, "app", None)
    done = await run("test", tmp_path)

    assert 0 == done.status
    assert "no cases: app.cases.yaml is not there" in done.out


@pytest.mark.parametrize(
    ("cases", "fields", "expected"),
    [
        ("- [GET /threads, alow]\n", {}, 'did you mean "allow"?'),
        ("- [GET threads, allow]\n", {}, "the path begins with `/`"),
        ("- [get /threads, allow]\n", {}, "the method stands in capitals"),
        ("{}\n", {}, "app.cases.yaml"),
        ("- [GET /threads, allow]\n", {"scopes": ["threads:raed"]}, 'did you mean "threads:read"?'),
    ],
)
async def test_a_file_that_cannot_be_used_is_no_verdict(
    tmp_path: Path, cases: str, fields: dict[str, Any], expected: str
) -> None:
    """A mistake in cases or a policy is reported with status 2."""
    write(tmp_path, "app", cases, **fields)
    done = await run("test", tmp_path)

    assert (2, "") == (done.status, done.out)
    assert expected in done.err


async def test_a_table_without_a_policy_is_told(tmp_path: Path) -> None:
    """A cases file without its policy is a problem."""
    write(tmp_path, "app", None)
    (tmp_path / "old.cases.yaml").write_text("- [GET /threads, allow]\n")
    done = await run("test", tmp_path)

    assert 2 == done.status
    assert "old.cases.yaml: is the table of old.yaml, which is not there" in done.err


async def test_a_table_alone_is_told_what_it_is(tmp_path: Path) -> None:
    """Somebody who gives the table in place of its policy learns which file to give."""
    write(tmp_path, "app", "- [GET /threads, allow]\n")
    done = await run("test", tmp_path / "app.cases.yaml")

    assert (2, "") == (done.status, done.out)
    assert f"app.cases.yaml: is the table of a policy; give {tmp_path}/app.yaml, or its folder" in done.err


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A mistyped folder exits with 2; no policy was held against anything."""
    done = await run("test", tmp_path / "polices")

    assert (2, "") == (done.status, done.out)
    assert "polices" in done.err


async def test_folders_below_are_sets_of_their_own(tmp_path: Path) -> None:
    """A caller may have one policy for staging and one for production; hidden folders are not read."""
    for folder in (tmp_path, tmp_path / "staging", tmp_path / "..data"):
        write(folder, "app", "- [GET /threads, allow]\n")
    done = await run("test", tmp_path)

    assert 0 == done.status
    assert "2 rows of 2 policies: all hold" in done.out


async def test_a_trial_is_held_to_what_it_will_be(tmp_path: Path) -> None:
    """Under `mode: audit` a table already says what the policy will refuse when it is enforced."""
    write(tmp_path, "app", "- [GET /companies, scope_required]\n", scopes=["threads:read"], mode="audit")
    done = await run("test", tmp_path)

    assert 0 == done.status


async def test_the_configuration_names_folder_and_endpoints_and_needs_no_secret(tmp_path: Path) -> None:
    """With --config the policies and the endpoints that a team has added come from there, in a build without keys."""
    write(tmp_path / "rules", "app", "- [GET /reports, allow]\n", endpoints=["GET /reports"])
    (tmp_path / "extra.yaml").write_text("endpoints: [{method: GET, path: /reports, scopes: []}]\n")
    settings = config("https://productlane.com/api/v2", policies="rules", catalog=["extra.yaml"])
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(settings))
    done = await run("test", "--config", tmp_path / "gateway.yaml")
    alone = await run("test", tmp_path / "rules")

    assert (0, "") == (done.status, done.err)
    assert "1 row of 1 policy: all hold" in done.out
    assert 2 == alone.status
