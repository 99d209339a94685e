"""Nothing in a process's environment leads keys elsewhere: proxies, credential files and TLS key logs are ignored."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.support.recording import Upstream
from tests.support.sentinels import KEY
from tests.support.served import serving


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that must not be used: its address, and the first bytes of every connection."""
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}", got
    server.close()


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_the_environment_leads_no_key_elsewhere(
    tmp_path: Path, proxy: tuple[str, list[bytes]], scheme: str
) -> None:
    """With proxies, a `.netrc` and a TLS key log set, requests go straight to the upstream, with the key alone."""
    address, got = proxy
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login thief password plundered\ndefault login thief password plundered\n")
    netrc.chmod(0o600)
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY", "FTP_PROXY")
    environ = dict.fromkeys(names, f"http://thief:plundered@{address}")
    environ |= {name.lower(): value for name, value in environ.items()} | {"NO_PROXY": "", "no_proxy": ""}
    environ |= {"HOME": str(tmp_path), "NETRC": str(netrc), "SSLKEYLOGFILE": str(tmp_path / "keylog")}

    upstream = Upstream()
    options: dict[str, ssl.SSLContext] = {}
    settings: dict[str, str] = {}
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        options, settings = {"ssl": context}, {"ca": str(tmp_path / "ca.pem")}
    await upstream.start(**options)
    try:
        url = {"url": upstream.url, **settings}
        async with serving(tmp_path, upstream, environ=environ, upstream=url) as served:
            me = await served.ask("/api/v2/me")
            threads = await served.ask("/api/v2/threads")
            await served.end()
    finally:
        await upstream.stop()

    assert (200, 200) == (me.status, threads.status)
    assert [f"Bearer {KEY}"] * 2 == [
        arrival.bearer and f"Bearer {arrival.bearer}" for arrival in (*upstream.lookups, *upstream.arrivals)
    ]
    assert b"plundered" not in upstream.received
    assert [] == [name for name, _ in upstream.arrivals[0].fields if name.lower().startswith("proxy")]
    assert [] == got
    assert not (tmp_path / "keylog").exists()
