"""Stock clients work with nothing but their base URL and key changed, against the gateway and the simulator."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from gateway.simulator import SimulatedKey, Simulator
from tests.support.deadline import DEADLINE
from tests.support.in_process import Running, policy, running
from tests.support.sentinels import KEY, TOKEN
from tests.support.simulated import NO_LIMITS, catalog

SCOPES = ("threads:read", "threads:write", "contacts:read", "contacts:write", "files:write")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8000
CONTACTS = 7
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Behind:
    """The simulator in place of the upstream of `tests.support.in_process`."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(catalog(), [SimulatedKey(KEY, frozenset(SCOPES))], limits=NO_LIMITS) as started:
        yield started


@pytest.fixture
async def base(tmp_path: Path, simulator: Simulator) -> AsyncIterator[str]:
    """The base URL that a client is given: the gateway's, with the API's own path."""
    behind: Any = Behind(simulator.url)
    async with running(tmp_path, behind, policies=[policy(scopes=list(SCOPES))]) as run:
        yield f"http://{run.gateway.traffic}/api/v2"
        await logged(run)


async def logged(run: Running) -> None:
    """Whatever a client did, nothing of its token or the key is in the log."""
    await asyncio.to_thread(run.log.close)
    text = run.log_file.read_text()
    assert TOKEN not in text
    assert KEY not in text


def contact(number: int) -> dict[str, str]:
    return {"email": f"jo{number}@example.com", "name": "Jo"}


def followed(pages: list[dict[str, Any]]) -> list[str]:
    """The e-mail addresses of all pages, which must say rightly whether there is another."""
    assert [True] * (len(pages) - 1) + [False] == [page["page"]["has_more"] for page in pages]
    return [row["email"] for page in pages for row in page["data"]]


def added() -> set[str]:
    return {contact(number)["email"] for number in range(CONTACTS)}


def with_requests(base: str) -> tuple[list[dict[str, Any]], int, str]:
    """Make contacts, page through them, upload a file, be refused; with `requests`."""
    pages: list[dict[str, Any]] = []
    with requests.Session() as session:
        session.headers.update(HEADERS)
        for number in range(CONTACTS):
            session.post(f"{base}/contacts", json=contact(number), timeout=DEADLINE).raise_for_status()
        cursor: str | None = ""
        while cursor is not None:
            asked = {"limit": "3", **({"cursor": cursor} if cursor else {})}
            pages.append(session.get(f"{base}/contacts", params=asked, timeout=DEADLINE).json())
            cursor = pages[-1]["page"]["cursor"]
        files = {"file": ("a.png", PNG, "image/png")}
        uploaded = session.post(f"{base}/files", files=files, timeout=DEADLINE)
        refused = session.get(f"{base}/companies", timeout=DEADLINE)
    return pages, uploaded.status_code, refused.json()["error"]["code"]


async def test_requests(base: str, simulator: Simulator) -> None:
    """`requests` pages through a list to its end, uploads a file and reads a refusal."""
    pages, uploaded, refused = await asyncio.to_thread(with_requests, base)

    assert added() <= set(followed(pages))
    assert 2 < len(pages)
    assert (201, "scope_required") == (uploaded, refused)


async def test_httpx(base: str) -> None:
    """`httpx` does the same."""
    pages: list[dict[str, Any]] = []
    async with httpx.AsyncClient(base_url=base, headers=HEADERS, timeout=DEADLINE) as client:
        for number in range(CONTACTS):
            (await client.post("/contacts", json=contact(number))).raise_for_status()
        cursor: str | None = ""
        while cursor is not None:
            asked = {"limit": "3", **({"cursor": cursor} if cursor else {})}
            pages.append((await client.get("/contacts", params=asked)).json())
            cursor = pages[-1]["page"]["cursor"]
        uploaded = await client.post("/files", files={"file": ("a.png", PNG, "image/png")})
        refused = await client.get("/companies")
        absent = await client.get("/contacts/c_none")

    assert added() <= set(followed(pages))
    assert (201, "scope_required") == (uploaded.status_code, refused.json()["error"]["code"])
    assert (404, "not_found") == (absent.status_code, absent.json()["error"]["code"])
    assert absent.headers["X-Request-Id"] == absent.json()["error"]["request_id"]


async def test_aiohttp(base: str) -> None:
    """`aiohttp`'s client does the same, its upload being streamed in chunks."""
    pages: list[dict[str, Any]] = []
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=timeout) as session:
        for number in range(CONTACTS):
            async with session.post(f"{base}/contacts", json=contact(number)) as made:
                assert made.ok
        cursor: str | None = ""
        while cursor is not None:
            asked = {"limit": "3", **({"cursor": cursor} if cursor else {})}
            async with session.get(f"{base}/contacts", params=asked) as got:
                pages.append(await got.json())
            cursor = pages[-1]["page"]["cursor"]
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(PNG), filename="a.png", content_type="image/png")
        async with session.post(f"{base}/files", data=form) as uploaded:
            status = uploaded.status
        async with session.get(f"{base}/companies") as refused:
            code = (await refused.json())["error"]["code"]

    assert added() <= set(followed(pages))
    assert (201, "scope_required") == (status, code)


async def curl(*arguments: str) -> tuple[int, bytes]:
    """Run curl; gives the status and the body of the answer."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}"),
        *("--header", f"Authorization: Bearer {TOKEN}", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE + 10):
        out, _ = await process.communicate()
    body, _, status = out.rpartition(b"\n")
    return int(status), body


async def test_curl(base: str, tmp_path: Path) -> None:
    """`curl` does the same, waiting to be asked for its large upload as it likes to."""
    (tmp_path / "a.png").write_bytes(PNG)
    for number in range(CONTACTS):
        status, _ = await curl("--json", json.dumps(contact(number)), f"{base}/contacts")
        assert status in (200, 201)
    pages: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        asked = ["--data-urlencode", "limit=3", *(["--data-urlencode", f"cursor={cursor}"] if cursor else [])]
        _, body = await curl("--get", *asked, f"{base}/contacts")
        pages.append(json.loads(body))
        cursor = pages[-1]["page"]["cursor"]
    form = f"file=@{tmp_path / 'a.png'};type=image/png"
    uploaded, _ = await curl("--header", "Expect: 100-continue", "--form", form, f"{base}/files")
    refused, envelope = await curl(f"{base}/companies")
    head, _ = await curl("--head", "--output", "/dev/null", f"{base}/contacts")

    assert added() <= set(followed(pages))
    assert (201, 403, 200) == (uploaded, refused, head)
    assert "scope_required" == json.loads(envelope)["error"]["code"]


async def test_a_file_arrives_as_it_was_sent(base: str, simulator: Simulator) -> None:
    """The upload that reaches Productlane is the caller's, byte for byte, under the gateway's key."""
    request = requests.Request("POST", f"{base}/files", HEADERS, {"file": ("a.png", PNG, "image/png")}).prepare()
    assert isinstance(request.body, bytes)

    def send() -> int:
        with requests.Session() as session:
            return session.send(request, timeout=DEADLINE).status_code

    status = await asyncio.to_thread(send)
    (upload,) = [arrival for arrival in simulator.arrivals.latest() if arrival.method == "POST"]

    assert 201 == status
    assert hashlib.sha256(request.body).hexdigest() == upload.body.sha256
    assert [f"Bearer {KEY}"] == upload.header("Authorization")
