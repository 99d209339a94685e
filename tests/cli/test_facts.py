"""`gateway.cli.facts`: tokens and schemas."""

import hashlib
from typing import Any

import pytest

from tests.cli.command import run


async def test_a_token_comes_with_its_digest() -> None:
    """The first line is the token and the second what a policy holds for it, and nothing else is on standard output."""
    done = await run("token")

    token, digest = done.out.splitlines()
    assert 0 == done.status
    assert token.startswith("plgw_")
    assert f"sha256:{hashlib.sha256(token.encode()).hexdigest()}" == digest
    assert "shown this once" in done.err
    assert token not in done.err


async def test_no_two_tokens_are_alike() -> None:
    """A token is made anew each time."""
    assert (await run("token")).out != (await run("token")).out


@pytest.mark.parametrize(
    ("which", "required"), [("config", ["keys", "routes"]), ("policy", ["caller", "authenticate"])]
)
async def test_a_schema_is_json_that_an_editor_can_use(which: str, required: list[str]) -> None:
    """`schema` prints a JSON Schema that knows what is required and refuses what is unknown."""
    done = await run("schema", which)

    schema: dict[str, Any] = done.json
    assert (0, "") == (done.status, done.err)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert required == schema["required"]
    assert schema["additionalProperties"] is False


async def test_there_are_two_schemas() -> None:
    """Another word than config or policy is a usage error that names both."""
    done = await run("schema", "gateway")

    assert 2 == done.status
    assert "config" in done.err
    assert "policy" in done.err
