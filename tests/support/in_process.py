"""A gateway in the process of the test, with its upstream and its log."""

import asyncio
import contextlib
import functools
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway.callers.tokens import digest
from gateway.config.load import ConfigSource
from gateway.net.resolver import Lookup
from gateway.runtime.gateway import Gateway
from gateway.runtime.gateway import running as serving
from gateway.runtime.parts import Parts
from gateway.telemetry.log import Log
from tests.support.deadline import DEADLINE
from tests.support.raw_caller import Caller, Response, ask, connect, head
from tests.support.recording import Upstream
from tests.support.sentinels import ALL_SCOPES, KEY, SECRETS, TOKEN


@dataclass
class Running:
    """A gateway in this process, its upstream, and its log lines."""

    gateway: Gateway
    upstream: Upstream
    log_file: Path
    folder: Path
    log: Log
    stop: Callable[[], Awaitable[None]]
    callers: list[Caller] = field(default_factory=list)

    async def connect(self) -> Caller:
        caller = await connect(str(self.gateway.traffic))
        self.callers.append(caller)
        return caller

    async def raw(self, data: bytes, *, head_only: bool = False) -> Response:
        """Send bytes on a new connection and read one answer."""
        return await ask(await self.connect(), data, head_only=head_only)

    async def ask(
        self,
        method: str = "GET",
        target: str = "/api/v2/threads",
        *fields: str,
        token: str | None = TOKEN,
        body: bytes | None = None,
    ) -> Response:
        """One request on a new connection."""
        if body is not None:
            fields = (*fields, f"Content-Length: {len(body)}")
        request = head(method, target, *fields, token=token) + (body or b"")
        return await self.raw(request, head_only=method == "HEAD")

    async def admin(self, path: str, accept: str = "*/*") -> Response:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode()
        return await ask(str(self.gateway.admin), request)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        text = (await self.admin("/metrics")).body.decode()
        for line in text.splitlines():
            found = re.fullmatch(r"productlane_gateway_(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name:
                held = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
                if labels.items() <= held.items():
                    total += float(found[3])
        return total

    async def events(self, event: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of an event with these fields, once there are at least so many."""
        return await self._logged(f'"event":"{event}"', count, fields)

    async def lines(self, count: int = 1) -> list[dict[str, Any]]:
        """The log lines of requests, once there are at least so many."""
        return await self._logged('"endpoint"', count, {})

    async def _logged(self, mark: str, count: int, fields: dict[str, Any]) -> list[dict[str, Any]]:
        async with asyncio.timeout(DEADLINE):
            while True:
                text = (await asyncio.to_thread(self.log_file.read_text)).rpartition("\n")[0]  # whole lines
                lines = [json.loads(line) for line in text.splitlines() if mark in line]
                found = [line for line in lines if fields.items() <= line.items()]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)


def config(upstream: str, /, **settings: Any) -> dict[str, Any]:
    """A whole ``gateway.yaml``: one key, one route, nothing looked up in advance."""
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "upstream": {"url": upstream, **settings.pop("upstream", {})},
        "keys": {"main": {"secrets": ["env:MAIN_KEY"]}},
        "routes": [{"path": "/**", "keys": ["main"]}],
        "identity": {"prefetch": False, **settings.pop("identity", {})},
        **settings,
    }


def policy(caller: str = "app", token: str | None = TOKEN, **fields: Any) -> dict[str, Any]:
    """A policy that grants every scope to the holder of the token; ``token=None`` makes it anonymous."""
    proof = {"anonymous": True} if token is None else {"tokens": [f"sha256:{digest(token).hex()}"]}
    return {"caller": caller, "authenticate": proof, "scopes": list(ALL_SCOPES), **fields}


def write(folder: Path, upstream: str, /, *policies: dict[str, Any], own_key: bool = False, **settings: Any) -> Path:
    """A ``gateway.yaml`` and its policies, from 0.yaml on, as files; ``own_key`` puts the key in a file as well."""
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    for number, fields in enumerate(policies or (policy(),)):
        (folder / "policies" / f"{number}.yaml").write_text(yaml.safe_dump(fields))
    if own_key:
        key = folder / "main.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(KEY + "\n")
        settings = {"keys": {"main": {"secrets": [f"file:{key}"]}}} | settings
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config(upstream, **settings)))
    return path


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    upstream: Upstream,
    /,
    *,
    policies: list[dict[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] | None = None,
    live: bool = False,
    lookup: Lookup | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """A gateway loaded from files, as the command does it; if it is ``live``, it follows their changes.

    ``lookup`` replaces `socket.getaddrinfo`.
    """
    path = write(folder, upstream.url, *(policies or ()), **settings)
    origin = ConfigSource(path, {**SECRETS, **(environ or {})})
    contents = origin.contents()
    snapshot = origin.load()
    log_file = folder / "log"
    fd = os.open(log_file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    log = Log(fd, level=snapshot.settings.log.level)
    options: dict[str, Any] = {"clock": clock} if clock else {}
    options |= {"lookup": lookup} if lookup else {}
    followed = (origin, snapshot, contents) if live else (ConfigSource(None, {}), snapshot, {})
    try:
        async with contextlib.AsyncExitStack() as stack:
            make = functools.partial(Parts, *followed, config=str(path), log=log, **options)
            gateway = await stack.enter_async_context(serving(make))
            run = Running(gateway, upstream, log_file, folder, log, stop=stack.aclose)
            try:
                yield run
            finally:
                for caller in run.callers:
                    caller.writer.transport.abort()
                async with asyncio.timeout(3 * DEADLINE):
                    await run.stop()
    finally:
        log.close()
        os.close(fd)
