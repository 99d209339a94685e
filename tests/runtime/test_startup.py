"""Configurations that the gateway refuses to start with, run on the real command; no error contains a secret."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import GATEWAY, Finished, run
from tests.support.hunt import found
from tests.support.in_process import policy
from tests.support.sentinels import KEY, TOKEN
from tests.support.served import write_config

UPSTREAM = "http://127.0.0.1:1/api/v2"
ANONYMOUS = [policy(token=None)]


async def refused(path: Path, **given: Any) -> Finished:
    """The end of a start that must not succeed: status 2, nothing on standard output, no secret anywhere."""
    done = await run("serve", "--config", path, cwd=path.parent, **given)

    assert (2, "") == (done.status, done.out)
    assert [] == found({"standard error": done.err.encode()})
    return done


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"listen": "0.0.0.0:0", "policies": ANONYMOUS}, "caller `app` is anonymous"),
        ({"listen": "[::]:0", "policies": ANONYMOUS}, "dangerously_allow_anonymous"),
        ({"listen": "10.1.2.3:8080", "policies": [policy("b"), *ANONYMOUS]}, "is anonymous"),
        ({"upstream": {"url": "http://productlane.com/api/v2"}}, "loopback only"),
        ({"upstream": {"url": "http://127.0.0.1.evil.test/api/v2"}}, "loopback only"),
        ({"upstream": {"url": "http://10.0.0.1/api/v2"}}, "loopback only"),
        ({"upstream": {"url": "ftp://productlane.com/api/v2"}}, "expected a URL such as https://"),
    ],
    ids=[
        "anonymous-on-all",
        "anonymous-on-all-v6",
        "anonymous-on-a-network",
        "http",
        "http-look-alike",
        "http-lan",
        "ftp",
    ],
)
async def test_an_address_that_would_give_the_keys_away_is_refused(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    """No anonymous policy can be reached from a network, and no key crosses one in the clear: one line says why."""
    settings.setdefault("upstream", {"url": UPSTREAM})
    done = await refused(write_config(tmp_path, UPSTREAM, **settings))

    (line,) = done.err.splitlines()
    assert said in line
    assert "gateway.yaml:" in line


async def test_an_anonymous_listener_on_a_network_can_be_asked_for(tmp_path: Path) -> None:
    """A setting with an unmistakable name allows it; `check` then passes."""
    path = write_config(tmp_path, UPSTREAM, listen="0.0.0.0:0", policies=ANONYMOUS, dangerously_allow_anonymous=True)
    done = await run("check", "--config", path, cwd=tmp_path)

    assert (0, "") == (done.status, done.err)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KEY.replace("pl_v2_", "pl_v1_"), "is a v1 key (pl_v1_…), which v2 answers with 410; create a v2 key"),
        (KEY.removeprefix("pl_v2_"), "is not a v2 key"),
        (f"Bearer {KEY}", "is not a v2 key"),
        (f'"{KEY}"', "is not a v2 key"),
        (f"{KEY} {KEY}", "is not a v2 key"),
        (f"{KEY}\n{KEY}\n", "is not a v2 key"),
        (f"{KEY}\x00", "is not a v2 key"),
        (f"PRODUCTLANE_KEY={KEY}", "is not a v2 key"),
        (f"\ufeff{KEY}", "is not a v2 key"),
        (KEY * 300, "is not a v2 key"),
        (TOKEN, "is not a v2 key"),
        ("pl_v2_", "is not a v2 key"),
        ("", "is empty: a v2 key is expected"),
        ("\n", "is empty: a v2 key is expected"),
    ],
)
async def test_a_secret_that_is_no_v2_key_is_refused_and_not_shown(tmp_path: Path, text: str, said: str) -> None:
    """One line names the file and what is expected; an old key is named as such, with the cure."""
    path = write_config(tmp_path, UPSTREAM)
    (tmp_path / "main.key").write_text(text)
    done = await refused(path)

    (line,) = done.err.splitlines()
    assert said in line
    assert "gateway.yaml:" in line
    assert "keys.main.secrets[0]: `file:" in line


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666, 0o620, 0o601])
async def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """A file that anybody but its owner may read, write or run is named, with its mode and what to do."""
    path = write_config(tmp_path, UPSTREAM)
    (tmp_path / "main.key").chmod(mode)
    done = await refused(path)

    (line,) = done.err.splitlines()
    assert f"can be read by others (mode {mode:04o}); run `chmod 600`" in line


def leads_out(folder: Path) -> None:
    """The key's file becomes a symlink to another folder."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (folder / "main.key").rename(elsewhere / "main.key")
    (folder / "main.key").symlink_to(elsewhere / ".." / "elsewhere" / "main.key")
    (folder / "main.key").unlink()
    (folder / "secrets").mkdir()
    (folder / "secrets" / "main.key").symlink_to(elsewhere / "main.key")
    (folder / "gateway.yaml").write_text((folder / "gateway.yaml").read_text().replace("main.key", "secrets/main.key"))


def is_a_folder(folder: Path) -> None:
    (folder / "main.key").unlink()
    (folder / "main.key").mkdir()


def is_a_pipe(folder: Path) -> None:
    (folder / "main.key").unlink()
    os.mkfifo(folder / "main.key", 0o600)


@pytest.mark.parametrize(
    ("change", "said"),
    [(leads_out, "leads out of its folder"), (is_a_folder, "is not a file"), (is_a_pipe, "is not a file"),
     (lambda folder: (folder / "main.key").unlink(), "does not exist")],
    ids=["symlink", "folder", "pipe", "absent"],
)  # fmt: skip
async def test_a_secret_that_is_no_plain_file_is_refused(
    tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    """If the key's path is not a regular file, one line says so, and the start does not block."""
    path = write_config(tmp_path, UPSTREAM)
    change(tmp_path)
    done = await refused(path)

    (line,) = done.err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("environ", "flags", "said"),
    [
        ({"AIOHTTP_NO_EXTENSIONS": "1"}, (), "aiohttp runs without its C parser"),
        ({"PYTHONASYNCIODEBUG": "1"}, (), "asyncio's debug mode is on"),
        ({"PYTHONDEVMODE": "1"}, (), "asyncio's debug mode is on"),
        ({}, ("-X", "dev"), "asyncio's debug mode is on"),
    ],
    ids=["no-c-parser", "asyncio-debug", "dev-variable", "dev-flag"],
)
async def test_an_interpreter_that_would_be_lax_or_talkative_is_refused(
    tmp_path: Path, environ: dict[str, str], flags: tuple[str, ...], said: str
) -> None:
    """One line says what is wrong with the process, and what to unset or install."""
    environ = {"PYTHONWARNINGS": "ignore", **environ}
    done = await refused(write_config(tmp_path, UPSTREAM), environ=environ, program=(*flags, *GATEWAY))

    (line,) = done.err.splitlines()
    assert said in line
    assert "unset" in line


@pytest.mark.parametrize("listener", ["listen", "admin"])
async def test_a_port_that_is_taken_is_told(tmp_path: Path, listener: str) -> None:
    """One line names the listener and the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        path = write_config(tmp_path, UPSTREAM, **{listener: address})
        done = await run("serve", "--config", path, cwd=tmp_path)

    (line,) = done.err.splitlines()
    assert 2 == done.status
    assert f"the {'traffic' if listener == 'listen' else 'admin'} listener cannot listen on {address}" in line
    assert [] == found({"out": done.out.encode(), "err": done.err.encode()})


async def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Eight mistakes in three files are eight lines, each with its file, line and key, and none with a secret."""
    broken = policy("b", token=TOKEN[::-1], scopes=["threads:raed"], endpoints=["POST /treads"], expires="soon")
    path = write_config(
        tmp_path,
        "http://example.com/api/v2",
        listen="nowhere",
        pacing={"max_wait": "5"},
        retries=3,
        policies=[policy(), broken],
    )
    (tmp_path / "main.key").chmod(0o644)
    done = await refused(path)

    lines = done.err.splitlines()
    places = [line.split(": ")[0].removeprefix(f"{tmp_path}/") for line in lines]
    wanted = (
        "threads:raed",
        "POST /treads",
        "expires",
        "listen",
        "upstream.url",
        "retries",
        "pacing",
        "keys.main.secrets[0]",
    )
    assert len(wanted) == len(lines)
    assert [] == [name for name in wanted if not any(name in line for line in lines)]
    assert all(place.startswith(("gateway.yaml:", "policies/1.yaml:")) for place in places)


PASTED: dict[str, dict[str, Any]] = {
    "secret": {"keys": {"main": {"secrets": [KEY]}}},
    "secret-env": {"keys": {"main": {"secrets": [f"env:{KEY}"]}}},
    "secret-file": {"keys": {"main": {"secrets": [f"file:{KEY}"]}}},
    "secret-map": {"keys": {"main": {"secrets": [{KEY: 1}]}}},
    "secret-of-key": {"keys": {"main": KEY}},
    "secret-as-field": {"keys": {"main": {"secrets": ["env:A"], KEY: 1}}},
    "secret-twice": {"keys": {"main": {"secrets": [KEY, KEY]}}},
    "workspace": {"keys": {"main": {"secrets": ["env:A"], "workspace": KEY}}},
    "key-name": {"keys": {KEY: {"secrets": ["env:A"]}}},
    "keys": {"keys": KEY},
    "route-key": {"routes": [{"path": "/**", "keys": [KEY]}]},
    "route-caller": {"routes": [{"path": "/**", "keys": ["main"], "callers": [TOKEN]}]},
    "route-path": {"routes": [{"path": f"/{KEY}/**", "keys": ["main"]}]},
    "upstream-user": {"upstream": {"url": f"https://{KEY}@productlane.com/api/v2"}},
    "upstream-password": {"upstream": {"url": f"https://a:{KEY}@productlane.com/api/v2"}},
    "upstream-query": {"upstream": {"url": f"https://productlane.com/api/v2?key={KEY}"}},
    "upstream-port": {"upstream": {"url": f"https://productlane.com:{KEY}/api/v2"}},
    "upstream-host": {"upstream": {"url": KEY}},
    "upstream-ca": {"upstream": {"url": UPSTREAM, "ca": KEY}},
    "upstream-time": {"upstream": {"url": UPSTREAM, "idle_timeout": KEY}},
    "key-errors": {"upstream": {"url": UPSTREAM, "key_errors": KEY}},
    "listen": {"listen": KEY},
    "listen-port": {"listen": f"127.0.0.1:{KEY}"},
    "store": {"store": f"redis://:{KEY}@redis:6379/0"},
    "log-level": {"log": {"level": KEY}},
    "catalog": {"catalog": [KEY]},
    "top": {KEY: 1},
    "section": {"log": {KEY: 1}},
    "caller": {"policies": [policy(KEY)]},
    "token": {"policies": [policy() | {"authenticate": {"tokens": [TOKEN]}}]},
    "token-hashed": {"policies": [policy() | {"authenticate": {"tokens": [f"sha256:{TOKEN}"]}}]},
    "token-field": {"policies": [policy() | {"authenticate": {TOKEN: 1}}]},
    "scope": {"policies": [policy(scopes=[KEY])]},
    "endpoint": {"policies": [policy(endpoints=[f"GET /threads/{KEY}"])]},
    "endpoint-query": {"policies": [policy(endpoints=[f"GET /threads?key={KEY}"])]},
    "deny": {"policies": [policy(deny=[KEY])]},
    "mode": {"policies": [policy(mode=KEY)]},
    "expires": {"policies": [policy(expires=KEY)]},
}  # fmt: skip


@pytest.mark.parametrize("name", PASTED)
async def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, name: str) -> None:
    """A key or a token pasted in the wrong place: the error names the place and does not repeat the text."""
    settings = {"upstream": {"url": UPSTREAM}, **PASTED[name]}
    path = write_config(tmp_path, UPSTREAM, **settings)
    done = await run("check", "--config", path, cwd=tmp_path)

    assert 2 == done.status
    assert str(tmp_path) in done.err
    assert [] == found({"out": done.out.encode(), "err": done.err.encode()})
