"""`gateway.cli.doctor.network`: each step on the way to Productlane, broken on purpose."""

import asyncio
import email.utils
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from aiohttp.test_utils import unused_port

from gateway.cli.doctor import network
from gateway.cli.doctor.finding import Finding, Id
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import load
from gateway.config.store import Redis
from gateway.telemetry.status import BudgetStatus, KeyStatus, Status
from tests.support.certs import Authority
from tests.support.redis_server import redis_serving

CONFIG = """\
upstream: {{url: "{url}"{ca}}}
keys: {{a: {{secrets: [env:A]}}}}
routes: [{{path: /**, keys: [a]}}]
"""


def loaded(folder: Path, url: str, ca: Path | None = None) -> Snapshot:
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "app.yaml").write_text("caller: app\nauthenticate: {anonymous: true}\n")
    (folder / "gateway.yaml").write_text(CONFIG.format(url=url, ca="" if ca is None else f", ca: {ca}"))
    return load(folder / "gateway.yaml", environ={}, offline=True)


@asynccontextmanager
async def peer(context: ssl.SSLContext | None = None, *, ahead: float = 0.0) -> AsyncIterator[int]:
    """A server whose clock is ahead by these seconds."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        date = email.utils.formatdate(time.time() + ahead, usegmt=True)
        writer.write(f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def way(snapshot: Snapshot) -> dict[str, Finding]:
    """The findings on the way, by check."""
    found = await asyncio.to_thread(lambda: [*network.upstream(snapshot, time.time())])
    return {one.check: one for one in found}


def serving(
    authority: Authority, folder: Path, *, dns: str = "localhost", lasts: float = 40 * 86_400, age: float = 300
) -> ssl.SSLContext:
    start = datetime.now(UTC) - timedelta(seconds=age)
    certificate, key = authority.issue(dns=(dns,), start=start, lasts=lasts).write(folder, "peer")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_whole_way_is_well(tmp_path: Path) -> None:
    """Name, connection, certificate and clock are each shown as well, the certificate with its issuer."""
    authority = Authority()
    async with peer(serving(authority, tmp_path / "tls")) as port:
        found = await way(loaded(tmp_path, f"https://localhost:{port}/api/v2", authority.write(tmp_path / "ca.crt")))

    assert dict.fromkeys(("dns", "tcp", "tls", "clock"), "ok") == {name: one.severity for name, one in found.items()}
    assert "issued by authority" in found["tls"].what


async def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    """The first step that fails is named, and later ones are not guessed at."""
    found = await way(loaded(tmp_path, "https://no-such-name.invalid/api/v2"))

    assert {"dns": Id.DNS} == {name: one.id for name, one in found.items()}
    assert "its name does not resolve" in found["dns"].what


async def test_a_port_that_is_closed(tmp_path: Path) -> None:
    """A refused connection is shown with host and port."""
    port = unused_port()
    found = await way(loaded(tmp_path, f"https://localhost:{port}/api/v2"))

    assert ("", Id.TCP) == (found["dns"].id, found["tcp"].id)
    assert f"localhost:{port}: the connection was refused" in found["tcp"].what
    assert found["tcp"].fix


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    """An authority that is not known, or another name, is shown with the reason of TLS."""
    async with peer(serving(Authority(), tmp_path / "tls")) as port:
        stranger = (await way(loaded(tmp_path, f"https://localhost:{port}/api/v2")))["tls"]
    authority = Authority()
    async with peer(serving(authority, tmp_path / "tls", dns="other.test")) as port:
        snapshot = loaded(tmp_path, f"https://localhost:{port}/api/v2", authority.write(tmp_path / "ca.crt"))
        misnamed = (await way(snapshot))["tls"]

    assert (Id.TLS_ISSUER, Id.TLS_NAME) == (stranger.id, misnamed.id)
    assert "its TLS certificate is not trusted (unable to get local issuer certificate)" in stranger.what
    assert "it was issued by CN=authority" in stranger.what
    assert "upstream.ca" in stranger.fix
    assert "localhost" in misnamed.what


async def test_a_certificate_that_ends_soon(tmp_path: Path) -> None:
    """The owner of the peer has two weeks to renew it."""
    authority = Authority()
    async with peer(serving(authority, tmp_path / "tls", lasts=86_400)) as port:
        found = await way(loaded(tmp_path, f"https://localhost:{port}/api/v2", authority.write(tmp_path / "ca.crt")))

    assert Id.TLS_ENDS_SOON == found["tls"].id


@pytest.mark.parametrize("age", [3600.0, -3600.0], ids=["ended", "not yet begun"])
async def test_a_certificate_out_of_its_dates(tmp_path: Path, age: float) -> None:
    """It has ended, or by this machine's clock it has not begun."""
    authority = Authority()
    async with peer(serving(authority, tmp_path / "tls", age=age, lasts=600)) as port:
        found = await way(loaded(tmp_path, f"https://localhost:{port}/api/v2", authority.write(tmp_path / "ca.crt")))

    assert Id.TLS_DATES == found["tls"].id


async def test_a_port_that_does_not_speak_tls(tmp_path: Path) -> None:
    """`https` in front of a port that speaks plain HTTP is a handshake that fails."""
    async with peer() as port:
        found = await way(loaded(tmp_path, f"https://localhost:{port}/api/v2"))

    assert Id.TLS_HANDSHAKE == found["tls"].id
    assert found["tls"].fix


async def test_clocks_that_differ(tmp_path: Path) -> None:
    """Half a minute is worth a look, and five make signed tokens fail."""
    severities = {}
    for ahead in (0.0, 60.0, -600.0):
        async with peer(ahead=ahead) as port:
            severities[ahead] = (await way(loaded(tmp_path, f"http://127.0.0.1:{port}/api/v2")))["clock"]

    assert ["", Id.CLOCK_DIFFERS, Id.CLOCK_WRONG] == [one.id for one in severities.values()]
    assert "behind" in severities[60.0].what
    assert "ahead of" in severities[-600.0].what


async def test_a_redis_that_answers_and_one_that_does_not(tmp_path: Path) -> None:
    """The shared store is asked as the gateway asks it."""
    async with redis_serving(tmp_path) as server:
        well = await network.redis(server.at)
    gone = await network.redis(Redis("127.0.0.1", unused_port()))

    assert ("", Id.REDIS) == (well.id, gone.id)
    assert gone.fix


def test_a_budget_that_was_spent() -> None:
    """A key that had nothing left in this minute or the last is shown with its lane."""
    budgets = {"read": BudgetStatus(1000, 10, lowest=5), "write": BudgetStatus(60, 12, lowest=0)}
    status = _status(KeyStatus("main", budgets=budgets))

    assert [(Id.BUDGET_SPENT, "key main has spent its budget of 60 a minute in lane write")] == [
        (one.id, one.what) for one in network.budgets(status)
    ]


def _status(*keys: KeyStatus) -> Status:
    fields = {field.name: None for field in msgspec.structs.fields(Status)}
    return Status(**{**fields, "keys": keys})  # type: ignore[arg-type]
