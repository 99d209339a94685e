"""`gateway.cli.serve.health`: whether the gateway of a configuration is alive."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.cli.serve.health import _address
from tests.support.command import Running, run, running
from tests.support.recording import Upstream
from tests.support.sentinels import KEY

SIDECAR = {"PRODUCTLANE_KEY": KEY, "PRODUCTLANE_SCOPES": "threads:read"}


@asynccontextmanager
async def alive(folder: Path, upstream: Upstream, admin: str) -> AsyncIterator[tuple[Running, str]]:
    """A gateway that serves, and the address of its admin listener."""
    words = ("serve", "--listen", "unix:traffic.sock", "--admin", admin, "--upstream", upstream.url)
    async with running(*words, cwd=folder, environ=SIDECAR) as gateway:
        yield gateway, json.loads(await gateway.line('"started"'))["address"]


@pytest.mark.parametrize("admin", ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "unix:admin.sock"])
@pytest.mark.parametrize("given", ["option", "variable", "file"])
async def test_it_asks_where_the_admin_listener_is(tmp_path: Path, upstream: Upstream, admin: str, given: str) -> None:
    """The address may come from an option, the environment or the file, and be any that `serve` takes."""
    async with alive(tmp_path, upstream, admin) as (_, address):
        (tmp_path / "gateway.yaml").write_text(f"admin: '{address}'\nkeys: [this, is, wrong]\n")
        words = {"option": ("--admin", address), "variable": (), "file": ("--config", "gateway.yaml")}[given]
        environ = {"PRODUCTLANE_GATEWAY_ADMIN": address} if given == "variable" else {}
        done = await run("health", *words, cwd=tmp_path, environ=environ)

    assert (0, "alive\n", "") == (done.status, done.out, done.err)


def test_without_a_setting_it_asks_the_default(tmp_path: Path) -> None:
    """A file that says nothing of the admin listener, or cannot be read as YAML, means the default address."""
    silent, broken = tmp_path / "silent.yaml", tmp_path / "broken.yaml"
    silent.write_text("listen: 127.0.0.1:1\n")
    broken.write_text("admin: [\n")

    assert ["127.0.0.1:9090"] * 3 == [str(_address(file, None)) for file in (silent, broken, None)]


async def test_nobody_there_is_not_alive(tmp_path: Path) -> None:
    """If nothing listens, the status is 1 and the reason is on standard error."""
    done = await run("health", "--admin", "unix:nowhere.sock", cwd=tmp_path)

    assert (1, "") == (done.status, done.out)
    assert "not alive: unix:nowhere.sock: No such file or directory\n" == done.err


@pytest.mark.parametrize(
    ("said", "fault"),
    [(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 503"), (b"", "answered nothing"), (None, "no answer")],
)
async def test_another_answer_is_not_alive(tmp_path: Path, said: bytes | None, fault: str) -> None:
    """A process that answers something else, or nothing within two seconds, is not alive."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if said is None:
            await reader.read()
        else:
            writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "admin.sock")
    try:
        done = await run("health", "--admin", "unix:admin.sock", cwd=tmp_path)
    finally:
        server.close()

    assert 1 == done.status
    assert fault in done.err


async def test_an_address_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    """An address that cannot be read is a mistake of the command line, with status 2."""
    done = await run("health", "--admin", "nowhere:99999", cwd=tmp_path)

    assert 2 == done.status
    assert "admin: a port is at most 65535\n" == done.err
