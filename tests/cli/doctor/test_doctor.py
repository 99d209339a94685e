"""`doctor`: the whole walk, as somebody runs it."""

from pathlib import Path
from typing import Any

import yaml

from tests.support.command import run
from tests.support.in_process import config, policy
from tests.support.recording import Upstream, error
from tests.support.sentinels import KEY

SECRETS = {"MAIN_KEY": KEY, "SECOND_KEY": KEY}


def write(folder: Path, upstream: str, **fields: Any) -> Path:
    """A ``gateway.yaml`` with listeners that are free, beside its policy."""
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "app.yaml").write_text(yaml.safe_dump(policy(**fields)))
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config(upstream, listen="127.0.0.1:0", admin="127.0.0.1:0")))
    return path


async def test_a_sound_set_up_exits_with_0(tmp_path: Path, upstream: Upstream) -> None:
    """Where everything is well, each check says so, down to the secret that serves."""
    upstream.scopes = {KEY: ("threads:read",)}
    done = await run("doctor", "--config", write(tmp_path, upstream.url, scopes=["threads:read"]), environ=SECRETS)

    assert (0, "") == (done.status, done.err), done.out
    assert "key main: secret 1 serves" in done.out
    assert "error" not in done.out


async def test_a_warning_exits_with_1(tmp_path: Path, upstream: Upstream) -> None:
    """A key that carries more than any request needs is no fault, and worth a look."""
    upstream.scopes = {KEY: ("threads:read", "tags:read")}
    path = write(tmp_path, upstream.url, scopes=["threads:read"])
    done = await run("doctor", "--config", path, "--json", environ=SECRETS)

    assert 1 == done.status
    (found,) = [one for one in done.json if one["severity"] == "warning"]
    assert ("scopes", "key main carries more than any request needs") == (found["check"], found["what"])
    assert "take tags:read from it in Productlane" in found["fix"]


async def test_an_error_exits_with_2_and_says_how_to_mend_it(tmp_path: Path, upstream: Upstream) -> None:
    """A revoked key, and a scope that policies grant and no key carries, are shown with the fix below."""
    path = write(tmp_path, upstream.url, scopes=["threads:read"])
    upstream.scopes = {KEY: ("tags:read",)}
    lacking = await run("doctor", "--config", path, "--json", environ=SECRETS)
    upstream.me = error(401, "unauthenticated")
    revoked = await run("doctor", "--config", path, environ=SECRETS)

    assert (2, 2) == (lacking.status, revoked.status)
    assert ["scopes"] == [one["check"] for one in lacking.json if one["severity"] == "error"]
    assert "key main, secret 1: Productlane answers 401" in revoked.out
    assert "    → replace it in its file or Secret" in revoked.out.splitlines()


async def test_problems_of_the_configuration_do_not_end_the_walk(tmp_path: Path, upstream: Upstream) -> None:
    """Without its secrets the rest is still looked at; a file that cannot be read at all ends it."""
    path = write(tmp_path, upstream.url)
    unset = await run("doctor", "--config", path, "--json")
    path.write_text("keys: [")
    broken = await run("doctor", "--config", path, "--json")

    assert (2, 2) == (unset.status, broken.status)
    assert {"configuration", "policies", "listeners", "dns", "tcp"} <= {one["check"] for one in unset.json}
    assert any("MAIN_KEY is not set" in one["what"] for one in unset.json)
    assert {"configuration"} == {one["check"] for one in broken.json}


async def test_offline_asks_no_other_host(tmp_path: Path, upstream: Upstream) -> None:
    """On a laptop without a way to Productlane the local half still answers."""
    done = await run("doctor", "--config", write(tmp_path, upstream.url), "--offline", "--json", environ=SECRETS)

    assert 0 == done.status
    assert {"configuration", "policies", "listeners", "limits"} == {one["check"] for one in done.json}
    assert [] == upstream.lookups
