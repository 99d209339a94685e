"""Wrong turns: each ends with one clear sentence and the right status, for people and for programs."""

import os
from pathlib import Path

import pytest

from tests.support.command import finish, run, start

READERS = (
    ("check",),
    ("doctor", "--offline"),
    ("config", "show"),
    ("explain", "--caller", "app", "GET", "/threads"),
    ("catalog",),
    ("test",),
    ("policy", "new", "app", "--scope", "tags:read"),
)
NOT_A_CONFIGURATION = {
    "no file": (None, "cannot be read: No such file or directory"),
    "a list": (b"- a\n", "expected a mapping"),
    "bytes": (bytes(range(256)), "is not UTF-8"),
    "nothing": (b"", "is empty"),
    "too much": (b"a: b\n" * 60_000, "is larger than 256 kB"),
}


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize("kind", NOT_A_CONFIGURATION)
async def test_what_is_no_configuration(tmp_path: Path, words: tuple[str, ...], kind: str) -> None:
    """Every command that reads one says which file it is and what is wrong with it, as JSON too."""
    data, said = NOT_A_CONFIGURATION[kind]
    path = tmp_path / "gateway.yaml"
    if data is not None:
        path.write_bytes(data)
    done = await run(*words, "--config", path, "--json", cwd=tmp_path)

    assert (2, "") == (done.status, done.err)
    found = done.json[0]["what"] if words[0] == "doctor" else done.json["problems"][0]["message"]
    assert said in found
    assert str(path) in done.out


async def test_a_schema_of_what_is_no_configuration(tmp_path: Path) -> None:
    """A schema needs the catalog of the configuration, and says what is wrong with it."""
    (tmp_path / "gateway.yaml").write_text("- a\n")
    done = await run("schema", "policy", "--config", tmp_path / "gateway.yaml")

    assert (2, "") == (done.status, done.out)
    assert "expected a mapping" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("health", "--admin", "x"), "admin: expected host:port"),
        (("keys", "--admin", "127.0.0.1:1"), "start the gateway, or name its admin listener by --admin"),
        (("report", "--admin", "127.0.0.1:1"), "start the gateway, or name its admin listener by --admin"),
        (("chek",), 'did you mean "check"?'),
    ],
)
async def test_a_wrong_turn_says_what_to_do(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """The sentence names what was expected, or what to do next."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "app.yaml").write_text("caller: app\nauthenticate: {anonymous: true}\n")
    done = await run(*words, cwd=tmp_path)

    assert (2, "") == (done.status, done.out)
    assert said in done.err


async def test_a_token_that_nobody_reads_leaves_no_policy(tmp_path: Path) -> None:
    """A token is shown once, so a policy whose token could not be printed would be of no use."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = await start("policy", "new", "app", "--scope", "tags:read", cwd=tmp_path, stdout=full)
        done = await finish(process)
    finally:
        os.close(full)

    assert 2 == done.status
    assert "is not whole" in done.err
    assert [] == list((tmp_path / "policies").iterdir())
