"""`doctor`: the whole walk, as somebody runs it."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import unused_port

from gateway.cli.doctor.finding import Id
from tests.support.command import ROOT, finish, run, running
from tests.support.command import start as start_command
from tests.support.in_process import config, policy
from tests.support.raw_caller import ask, head
from tests.support.recording import Upstream, answer, error
from tests.support.sentinels import KEY

COMMAND = f"{sys.executable} -m gateway doctor"
SECRETS = {"MAIN_KEY": KEY, "SECOND_KEY": KEY}


def write(folder: Path, upstream: str, *, settings: dict[str, Any] | None = None, **fields: Any) -> Path:
    """A ``gateway.yaml`` with listeners that are free, beside its policy."""
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "app.yaml").write_text(yaml.safe_dump(policy(**fields)))
    path = folder / "gateway.yaml"
    free = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    path.write_text(yaml.safe_dump(config(upstream, **(free | (settings or {})))))
    return path


async def test_a_sound_set_up_exits_with_0(tmp_path: Path, upstream: Upstream) -> None:
    """Where everything is well, each check says so, down to the secret that serves."""
    upstream.scopes = {KEY: ("threads:read",)}
    done = await run("doctor", "--config", write(tmp_path, upstream.url, scopes=["threads:read"]), environ=SECRETS)

    assert (0, "") == (done.status, done.err), done.out
    assert "key main: secret 1 serves" in done.out
    assert "error" not in done.out


async def test_a_warning_exits_with_1(tmp_path: Path, upstream: Upstream) -> None:
    """A key with more scopes than any request needs is reported without being a fault."""
    upstream.scopes = {KEY: ("threads:read", "tags:read")}
    path = write(tmp_path, upstream.url, scopes=["threads:read"])
    done = await run("doctor", "--config", path, "--json", environ=SECRETS)

    assert 1 == done.status
    (found,) = [one for one in done.json if one["severity"] == "warning"]
    assert (Id.SCOPES_EXCESS, "key main carries more than any request needs") == (found["id"], found["what"])
    assert "take tags:read from it in Productlane" in found["fix"]


async def test_an_error_exits_with_2_and_says_how_to_mend_it(tmp_path: Path, upstream: Upstream) -> None:
    """A revoked key, and a scope that policies grant and no key carries, are shown with the fix below."""
    path = write(tmp_path, upstream.url, scopes=["threads:read"])
    upstream.scopes = {KEY: ("tags:read",)}
    lacking = await run("doctor", "--config", path, "--json", environ=SECRETS)
    upstream.me = error(401, "unauthenticated")
    revoked = await run("doctor", "--config", path, environ=SECRETS)
    upstream.me = error(500, "internal_error")
    unanswered = await run("doctor", "--config", path, "--json", environ=SECRETS)
    upstream.me = error(401, "unauthenticated")
    refused = await run("doctor", "--config", path, "--json", environ=SECRETS)

    assert [2] * 4 == [done.status for done in (lacking, revoked, unanswered, refused)]
    assert [Id.SCOPES_MISSING] == errors(lacking.json)
    assert "key main, secret 1: Productlane answers 401" in revoked.out
    assert "    → replace it in its file or Secret" in revoked.out.splitlines()
    assert Id.SECRET_REFUSED in errors(refused.json)
    assert Id.SECRET_UNVERIFIED in errors(unanswered.json)


async def test_problems_of_the_configuration_do_not_end_the_walk(tmp_path: Path, upstream: Upstream) -> None:
    """Without its secrets doctor still checks the rest; an unreadable configuration ends it."""
    path = write(tmp_path, upstream.url)
    unset = await run("doctor", "--config", path, "--json")
    path.write_text("keys: [")
    broken = await run("doctor", "--config", path, "--json")

    assert (2, 2) == (unset.status, broken.status)
    assert {"configuration", "policies", "listeners", "dns", "tcp"} <= {one["check"] for one in unset.json}
    assert any("MAIN_KEY is not set" in one["what"] for one in unset.json)
    assert [Id.CONFIGURATION] == errors(broken.json)


async def test_offline_asks_no_other_host(tmp_path: Path, upstream: Upstream) -> None:
    """On a laptop without a way to Productlane the local half still answers."""
    done = await run("doctor", "--config", write(tmp_path, upstream.url), "--offline", "--json", environ=SECRETS)

    assert 0 == done.status
    assert {"configuration", "policies", "listeners", "limits"} == {one["check"] for one in done.json}
    assert [] == upstream.lookups


async def test_an_issuer_that_gives_no_keys(tmp_path: Path, upstream: Upstream) -> None:
    """It is an error if the keys of callers' tokens cannot be fetched, because those callers are refused."""
    issuer = {"issuer": f"https://127.0.0.1:{unused_port()}", "audience": "gateway"}
    path = write(
        tmp_path,
        upstream.url,
        settings={"callers": {"oidc": {"ci": issuer}}},
        scopes=["threads:read"],
        authenticate={"oidc": [{"issuer": "ci", "subject": "job"}]},
    )
    upstream.scopes = {KEY: ("threads:read",)}
    done = await run("doctor", "--config", path, "--json", environ=SECRETS)

    assert 2 == done.status, done.out
    assert [Id.ISSUER] == errors(done.json)
    assert any("issuer ci: " in one["what"] for one in done.json)


async def test_beside_a_gateway_that_runs(tmp_path: Path, upstream: Upstream) -> None:
    """In the pod the gateway itself holds the ports, which is no fault, and doctor says which budget it spends."""
    upstream.scopes = {KEY: ("threads:read",)}
    upstream.reply = answer(
        fields=("X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {time.time() + 50:.0f}")
    )
    ports = {"listen": f"127.0.0.1:{unused_port()}", "admin": f"127.0.0.1:{unused_port()}"}
    path = write(tmp_path, upstream.url, settings=ports, scopes=["threads:read"])
    async with running("serve", "--config", path, cwd=tmp_path, environ=SECRETS) as gateway:
        await gateway.line('"started"')
        assert 200 == (await ask(ports["listen"], head())).status
        done = await run("doctor", "--config", path, "--json", environ=SECRETS)
        await gateway.end()
    wrong = {one["id"]: one["what"] for one in done.json if one["id"]}
    ours = [one["what"] for one in done.json if one["check"] == "listeners"]

    assert {Id.BUDGET_SPENT: "key main has spent its budget of 1000 a minute in lane read"} == wrong
    assert 1 == done.status
    assert [f"{name}: {where} is served by a gateway that is alive" for name, where in ports.items()] == ours


async def test_a_process_that_may_open_too_few_files(tmp_path: Path, upstream: Upstream) -> None:
    """The limit is that of the process itself, as `prlimit` or a container sets it."""
    path = write(tmp_path, upstream.url)
    words = ("doctor", "--config", path, "--offline", "--json")
    done = await finish(await start_command(*words, cwd=tmp_path, environ=SECRETS, ulimits=("-Sn 500", "-Hn 1000")))

    assert 2 == done.status
    assert [Id.FILES_LIMIT] == errors(done.json)
    assert any("1000 files may be open" in one["what"] for one in done.json)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_secret_that_is_a_mount_of_its_own(tmp_path: Path) -> None:
    """A file that is a mount itself, as `subPath` makes it, is reported."""
    (tmp_path / "own.key").write_text(KEY)
    (tmp_path / "main.key").write_text(KEY)
    for name in ("own.key", "main.key"):
        (tmp_path / name).chmod(0o600)
    keys = {"keys": {"main": {"secrets": [f"file:{tmp_path}/main.key"]}}}
    path = write(tmp_path, "http://127.0.0.1:1", settings=keys)
    script = f"mount --bind {tmp_path}/own.key {tmp_path}/main.key && exec {COMMAND} --config {path} --offline --json"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare failed" in done.stderr or "mount: " in done.stderr:
        pytest.skip("this machine lets nobody make namespaces")

    assert 1 == done.returncode, done.stderr
    assert [Id.FILE_MOUNTED_ALONE] == [one["id"] for one in json.loads(done.stdout) if one["id"]]


def errors(found: list[dict[str, str]]) -> list[str]:
    """The names of the errors among findings."""
    return [one["id"] for one in found if one["severity"] == "error"]
