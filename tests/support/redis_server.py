"""A real Redis on loopback, in a process that a test may stop, kill, fill up and restart."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

from gateway.config.store import Password, Redis
from tests.support.deadline import DEADLINE, kill
from tests.support.ports import free_port

PASSWORD = "sesame-sentinel-0123456789"
NEEDS_REDIS = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@dataclass
class RedisServer:
    """`at` is its address for the gateway, `admin` a client with every right."""

    at: Redis
    arguments: list[str]
    admin: "redis.asyncio.Redis" = field(repr=False)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        quiet = asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec("redis-server", *self.arguments, stdin=quiet, stdout=quiet)
        async with asyncio.timeout(DEADLINE):
            while True:
                with contextlib.suppress(redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    await self.admin.ping()
                    return
                await asyncio.sleep(0.01)

    async def command(self, *words: str) -> Any:
        return await self.admin.execute_command(*words)  # type: ignore[no-untyped-call]

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            await kill(self.process)

    async def everything(self) -> dict[bytes, bytes]:
        """Every key there is, with the bytes of its value: strings, and the hash of what replicas report."""
        found: dict[bytes, bytes] = {}
        async for key in self.admin.scan_iter():
            hashed = await self.admin.type(key) == b"hash"
            value: Any = repr(await self.admin.hgetall(key)).encode() if hashed else await self.admin.get(key)
            found[key] = value or b""
        return found


def documented_acl(*, limits: bool = False) -> str:
    """The rules that `docs/store.md` gives for the gateway's user; of the two lines the second is for `limits`."""
    text = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    return [line for line in text.splitlines() if line.startswith("user gateway on ")][limits].split(" on ")[1]


@contextlib.asynccontextmanager
async def redis_serving(
    folder: Path, *, tls: tuple[Path, Path] | None = None, ca: Path | None = None, acl: str = "", database: int = 0
) -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing on disk. ``tls`` is certificate and key; ``acl`` are the rules of a user `gateway`."""
    port = free_port()
    arguments = ["--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--logfile", "/dev/null"]
    arguments += ["--enable-debug-command", "local"]
    if tls is None:
        arguments += ["--port", str(port)]
        admin = redis.asyncio.Redis(port=port, db=database, single_connection_client=True)
    else:
        arguments += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
        arguments += ["--tls-cert-file", str(tls[0]), "--tls-key-file", str(tls[1])]
        admin = redis.asyncio.Redis(
            port=port, db=database, single_connection_client=True, ssl=True, ssl_ca_certs=str(ca)
        )
    user, password = ("gateway", Password("", PASSWORD)) if acl else ("", None)
    if acl:
        arguments += ["--user", "gateway", "on", f">{PASSWORD}", *acl.split()]
    host = "127.0.0.1" if tls is None else "localhost"
    at = Redis(host, port, database, tls=tls is not None, ca=ca, user=user, password=password)
    server = RedisServer(at, arguments, admin)
    try:
        await server.start()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.signal(signal.SIGCONT)
        await server.kill()
        async with asyncio.timeout(DEADLINE):
            await admin.aclose()
