"""How nginx, HAProxy and the gateway are set up and started for the rows of the tables."""

import asyncio
import contextlib
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from bench.wire_peers.peer import Peer
from gateway.config.assembly.catalog import load_catalog
from tests.support.in_process import running
from tests.support.recording import Upstream
from tests.support.sentinels import KEY, TOKEN
from tests.wire.conftest import NAMED

_HERE: Final = Path(__file__).parents[1] / "peers"
# What the gateway drops and can be named; its rules by word and by prefix cannot be said to nginx.
_DROPPED: Final = [
    "Cookie", "Cookie2", "Proxy-Authorization", "X-Authorization", "X-Api-Key", "Api-Key", "X-Auth-Token",
    "X-Amz-Security-Token", "X-CSRF-Token", "X-Session-Id", "X-Secret", "X-Productlane-Key", "X-Forwarded-For",
    "X-Forwarded-Proto", "X-Forwarded-User", "X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-Prefix",
    "X-Forwarded-Authorization", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP",
    "X-Cluster-Client-IP", "X-Original-URL", "X-Original-Host", "X-Rewrite-URL", "X-Remote-User",
    "X-Envoy-Original-Path", "X-Host", "Proxy", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade",
    "HTTP2-Settings", "Expect", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
]  # fmt: skip


def endpoints() -> Iterator[str]:
    """What may be asked, as expressions on ``METHOD target``; guarded endpoints are left out."""
    for endpoint in load_catalog().endpoints:
        if not endpoint.guarded:
            methods = "(GET|HEAD)" if endpoint.method == "GET" else endpoint.method
            path = re.sub(r"\\\{[^}]*\\\}", "[A-Za-z0-9._~-]{0,127}[A-Za-z0-9_~-]", re.escape(endpoint.template))
            yield f"^{methods} /api/v2{path.replace(chr(92) + '-', '-')}([?].*)?$"


def written(template: str, folder: Path, port: int, upstream: Upstream) -> Path:
    """A peer's configuration in a folder."""
    filled = {
        "FOLDER": str(folder),
        "PORT": str(port),
        "UPSTREAM": upstream.url.split("/")[2],
        "KEY": KEY,
        "TOKEN": re.escape(TOKEN),
        "ENDPOINTS": "\n".join(f'        "~{rule}" 1;' for rule in endpoints()),
        "CLEARED": "\n".join(f'            proxy_set_header {name} "";' for name in _DROPPED),
        "DROPPED": "|".join(name.lower() for name in _DROPPED),
    }
    text = re.sub(r"@([A-Z]+)@", lambda found: filled[found[1]], (_HERE / template).read_text())
    (folder / "endpoints").write_text("".join(f"{rule}\n" for rule in endpoints()))
    (folder / template).write_text(text)
    return folder / template


async def _listens(port: int) -> bool:
    try:
        (await asyncio.open_connection("127.0.0.1", port))[1].close()
    except OSError:
        return False
    return True


@contextlib.asynccontextmanager
async def spawned(name: str, template: str, command: Callable[[Path], list[str]]) -> AsyncIterator[Peer]:
    """A peer in a process of its own, once it listens."""
    upstream = Upstream()
    await upstream.start()
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        process = await asyncio.create_subprocess_exec(*command(written(template, Path(folder), port, upstream)))
        try:
            async with asyncio.timeout(10):
                while not await _listens(port):
                    if process.returncode is not None:
                        raise SystemExit(f"{name} does not start")
                    await asyncio.sleep(0.05)
            yield Peer(name, port, upstream)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            await upstream.stop()


@contextlib.asynccontextmanager
async def ours() -> AsyncIterator[Peer]:
    """The gateway, in this process."""
    upstream = Upstream()
    await upstream.start()
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        named = {"request_fields": NAMED, "response_fields": [*NAMED]}
        async with running(Path(folder), upstream, identity={"ttl": "1h"}, upstream=named) as run:
            await run.ask()
            yield Peer("productlane-gateway", run.gateway.traffic.port, upstream)
    await upstream.stop()
