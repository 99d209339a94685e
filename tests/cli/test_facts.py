"""`gateway.cli.facts`: tokens and schemas."""

import asyncio
import hashlib
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import ROOT, Finished, finish, run


async def test_a_token_comes_with_its_digest() -> None:
    """Standard output has the token on the first line, its digest for a policy on the second, and nothing else."""
    done = await run("token")

    token, digest = done.out.splitlines()
    assert 0 == done.status
    assert token.startswith("plgw_")
    assert f"sha256:{hashlib.sha256(token.encode()).hexdigest()}" == digest
    assert "shown this once" in done.err
    assert token not in done.err


async def test_no_two_tokens_are_alike() -> None:
    """Each run makes a new token."""
    assert (await run("token")).out != (await run("token")).out


@pytest.mark.parametrize(
    ("which", "required"), [("config", ["keys", "routes"]), ("policy", ["caller", "authenticate"])]
)
async def test_a_schema_is_json_that_an_editor_can_use(which: str, required: list[str]) -> None:
    """`schema` prints a JSON Schema that demands required keys and refuses unknown ones."""
    done = await run("schema", which)

    schema: dict[str, Any] = done.json
    assert (0, "") == (done.status, done.err)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert required == schema["required"]
    assert schema["additionalProperties"] is False


async def test_a_token_as_json() -> None:
    """A program that makes tokens gets both by name, and nothing else."""
    done = await run("token", "--json")

    assert (0, "") == (done.status, done.err)
    assert f"sha256:{hashlib.sha256(done.json['token'].encode()).hexdigest()}" == done.json["digest"]


async def test_a_schema_knows_what_a_team_has_added(tmp_path: Path) -> None:
    """With --config, endpoints and scopes of the catalog's overlays are offered like Productlane's own."""
    (tmp_path / "extra.yaml").write_text(
        "scopes: {'reports:read': Reports.}\nendpoints: [{method: GET, path: /reports, scopes: ['reports:read']}]\n"
    )
    (tmp_path / "gateway.yaml").write_text(
        "catalog: [extra.yaml]\nkeys: {a: {secrets: [env:A]}}\nroutes: [{path: /**, keys: [a]}]\n"
    )
    done = await run("schema", "policy", "--config", tmp_path / "gateway.yaml")
    wrong = await run("schema", "policy", "--config", tmp_path / "none.yaml")

    properties = done.json["properties"]
    assert "reports:read" in properties["scopes"]["items"]["enum"]
    assert "GET /reports" in properties["deny"]["items"]["examples"]
    assert (2, "") == (wrong.status, wrong.out)


async def test_there_are_three_schemas() -> None:
    """Another word than config, policy or cases is a usage error that names them."""
    done = await run("schema", "gateway")

    assert 2 == done.status
    assert "config" in done.err
    assert "policy" in done.err
    assert "cases" in done.err


async def test_the_digest_of_a_token_that_was_made_elsewhere(tmp_path: Path) -> None:
    """The token is read from standard input, and only its digest is printed."""
    token = "another-makers-token-0123456789"
    done = await piped(tmp_path, f"{token}\n", "token", "--digest")

    assert (0, f"sha256:{hashlib.sha256(token.encode()).hexdigest()}\n", "") == (done.status, done.out, done.err)


@pytest.mark.parametrize(
    "text", ["", "short", "two words of a sentence", "pl_v2_abcdefghijklmnop", "no!request(can)carry", "x" * 4097]
)
async def test_what_is_no_token_has_no_digest(tmp_path: Path, text: str) -> None:
    """An empty line, a guessable word and a key of Productlane are refused, and none is repeated."""
    done = await piped(tmp_path, text, "token", "--digest")

    assert (2, "") == (done.status, done.out)
    assert not text or text not in done.err


async def piped(folder: Path, text: str, *words: str) -> Finished:
    """Run a command with this text on its standard input."""
    (folder / "in").write_text(text)
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m gateway {' '.join(words)} < {folder}/in", cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    return await finish(process)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_shell_can_complete_commands(shell: str) -> None:
    """The script asks this program for its words, which are the names of its commands."""
    script = await run("completion", shell)
    asked = {"_PRODUCTLANE_GATEWAY_COMPLETE": f"{shell}_complete", "COMP_WORDS": "productlane-gateway cat"}
    done = await run(environ={**asked, "COMP_CWORD": "1" if shell != "fish" else "cat"})

    assert (0, "") == (script.status, script.err)
    assert "_PRODUCTLANE_GATEWAY_COMPLETE" in script.out
    assert "catalog" in done.out
