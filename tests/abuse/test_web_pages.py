"""Web pages of other sites that use an anonymous gateway by the browser of somebody who can reach it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import policy
from tests.support.raw_caller import ask
from tests.support.recording import Upstream, answer
from tests.support.sentinels import TOKEN
from tests.support.served import serving

ANYONE = [policy("anyone", token=None)]
PAGE = "https://evil.test"


def head(host: str, *fields: str, method: str = "GET", target: str = "/api/v2/threads") -> bytes:
    """A request that shows no credential."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]).encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        ("localhost:8080", [f"Origin: {PAGE}"]),
        ("localhost:8080", ["Origin: null"]),
        ("localhost:8080", ["Origin: http://localhost:3000"]),
        ("localhost:8080", ["Sec-Fetch-Site: cross-site"]),
        ("localhost:8080", ["Sec-Fetch-Site: same-site", "Origin: http://localhost:8080"]),
        ("localhost:8080", ["sec-fetch-site: CROSS-SITE"]),
        ("localhost:8080", ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"]),
        ("evil.test:8080", []),
        ("evil.test", [f"Origin: {PAGE}", "Sec-Fetch-Site: same-origin"]),
        ("localhost.evil.test", []),
        ("127.0.0.1.evil.test", []),
        ("10.0.0.1", []),
    ],
)
async def test_a_page_of_another_site_uses_no_key(
    start: Callable[..., Any], upstream: Upstream, host: str, fields: list[str]
) -> None:
    """Neither a cross-site request nor a name that was rebound to loopback reaches Productlane with a key.

    Apps beside it, which send no such fields and use a name of loopback, are served.
    """
    run = await start(policies=ANYONE)
    for method in ("GET", "POST"):
        length = ["Content-Length: 0"] if method == "POST" else []
        refused = await run.raw(head(host, *fields, *length, method=method))
        assert (403, "forbidden") == (refused.status, refused.code)
    assert not upstream.arrivals
    assert 200 == (await run.raw(head("localhost:8080"))).status
    assert {"cross_site"} == {line["reason"] for line in (await run.lines(3))[:2]}


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        ("localhost", []),
        ("LOCALHOST:8080", []),
        ("127.0.0.1:8080", []),
        ("127.3.2.1", []),
        ("[::1]:8080", []),
        ("app.localhost:8080", []),
        ("localhost:8080", ["Sec-Fetch-Site: none"]),
        ("localhost:8080", ["Sec-Fetch-Site: same-origin", "Origin: http://localhost:8080"]),
        ("gateway.internal:8080", []),
    ],
)
async def test_the_gateways_own_names_are_served(start: Callable[..., Any], host: str, fields: list[str]) -> None:
    """Names of loopback and those in `callers.anonymous_hosts` address an anonymous loopback gateway."""
    run = await start(policies=ANYONE, callers={"anonymous_hosts": ["gateway.internal"]})

    assert 200 == (await run.raw(head(host, *fields))).status


async def test_a_credential_is_proof_enough(start: Callable[..., Any]) -> None:
    """A caller that authenticates is served under any name and from any origin: no page can send its credential."""
    run = await start(policies=[*ANYONE, policy("app")])
    fields = [f"Origin: {PAGE}", "Sec-Fetch-Site: cross-site"]

    assert 200 == (await run.raw(head("evil.test", *fields, f"Authorization: Bearer {TOKEN}"))).status
    assert 403 == (await run.raw(head("evil.test", *fields))).status


async def test_a_gateway_of_its_own_process_keeps_pages_out(tmp_path: Path, upstream: Upstream) -> None:
    """Of a real `serve`, neither listener answers a rebound name, no cross-site write leaves, and no page may read."""
    upstream.reply = answer(fields=("Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true"))
    write = head("localhost:8080", f"Origin: {PAGE}", "Content-Length: 0", method="POST")
    async with serving(tmp_path, upstream, policies=ANYONE) as served:
        refused = [await ask(served.traffic, data) for data in (write, head("evil.test:8080"))]
        hidden = [await ask(served.admin, head("evil.test:9090", target=page)) for page in ("/status", "/metrics")]
        reached = len(upstream.arrivals)
        own = await ask(served.traffic, head("localhost:8080"))

    assert ([403, 403], [421, 421], 0) == ([one.status for one in refused], [one.status for one in hidden], reached)
    assert 200 == own.status
    assert not [name for name, _ in own.fields if name.startswith("access-control-")]
