"""Uploads: multipart over the wire, types, sizes, budgets."""

import asyncio
import hashlib
import io
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.simulator import Limits
from gateway.simulator.uploads import ALLOWED, MAX_FILE
from tests.support.clock import Clock
from tests.support.simulated import SECRET, Answered, Client, running


async def upload(client: Client, content: Any, name: str = "file", kind: str = "image/png", **parts: Any) -> Answered:
    form = aiohttp.FormData()
    form.add_field(name, content, filename="a.png", content_type=kind)
    return await client("POST", "/files", data=form, **parts)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\r\n--\r\n" * 1000, bytes(range(256)) * 2000], ids=["none", "one", "dashes", "bytes"]
)
async def test_a_file_arrives_whole(content: bytes) -> None:
    """The answer has a URL, the size and the digest of what was sent, and the record has the whole body."""
    async with running() as client:
        answered = await upload(client, content)
        arrival = client.simulator.arrivals.latest()[0]

    stored = answered.json
    assert 201 == answered.status
    assert (len(content), hashlib.sha256(content).hexdigest()) == (stored["size"], stored["sha256"])
    assert ("a.png", "image/png") == (stored["file_name"], stored["content_type"])
    assert stored["url"].startswith("https://")
    assert str(arrival.body.length) == arrival.header("content-length")[0]
    assert arrival.body.ended


@pytest.mark.parametrize("kind", sorted(ALLOWED))
async def test_every_allowed_type_is_taken(kind: str) -> None:
    """Images, PDF, Office, CSV and plain text."""
    async with running() as client:
        answered = await upload(client, b"x", kind=kind)

    assert (201, kind) == (answered.status, answered.json["content_type"])


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/html", "application/octet-stream"])
async def test_other_types_are_refused(kind: str) -> None:
    """SVG, HTML and unnamed bytes are 400 `validation_failed`."""
    async with running() as client:
        answered = await upload(client, b"x", kind=kind)

    assert (400, "validation_failed") == (answered.status, answered.code)
    assert "file" == answered.json["error"]["details"][0]["path"]


async def test_ten_megabytes_pass_and_a_byte_more_does_not() -> None:
    """The limit is on the file; the body around it may be larger."""
    async with running() as client:
        passed = await upload(client, io.BytesIO(b"x" * MAX_FILE))
        refused = await upload(client, io.BytesIO(b"x" * (MAX_FILE + 1)))

    assert (201, MAX_FILE) == (passed.status, passed.json["size"])
    assert (400, "validation_failed") == (refused.status, refused.code)


async def test_an_upload_is_not_kept_in_memory() -> None:
    """Ten megabytes in, far less held at any time."""

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(MAX_FILE // 65_536):
            yield b"x" * 65_536

    async with running() as client:
        await upload(client, b"warm")
        tracemalloc.start()
        try:
            answered = await upload(client, aiohttp.payload.AsyncIterablePayload(blocks(), content_type="image/png"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert 201 == answered.status
    assert peak < 4_000_000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"no boundary here"),
        ("multipart/form-data; boundary=b", b"--b\r\nbroken header\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: image/png\r\n\r\nnever ends',
        ),
    ],
)
async def test_what_is_no_single_file_is_refused(kind: str, body: bytes) -> None:
    """Another type, no boundary, no part, a part of another name and a broken body are 400, never a 500."""
    async with running() as client:
        answered = await client("POST", "/files", data=body, headers={"Content-Type": kind})

    assert (400, "validation_failed") == (answered.status, answered.code)


async def test_two_files_are_refused() -> None:
    """One part, named file, is all there may be."""
    form = aiohttp.FormData()
    for _ in range(2):
        form.add_field("file", b"x", filename="a.txt", content_type="text/plain")
    async with running() as client:
        answered = await client("POST", "/files", data=form)

    assert 400 == answered.status


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    """`Expect: 100-continue` is answered before the body is read, and not if the key is refused."""
    async with running() as client:
        host, port = client.simulator.url.split("/")[2].split(":")
        heads = []
        for secret in (SECRET, "pl_v2_unknown"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                f"POST /api/v2/companies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
                "Expect: 100-continue\r\nContent-Length: 12\r\nConnection: close\r\n\r\n".encode()
            )
            async with asyncio.timeout(10):
                heads.append(await reader.readline())
            writer.close()

    assert [b"HTTP/1.1 100 Continue\r\n", b"HTTP/1.1 401 Unauthorized\r\n"] == heads


async def test_uploads_have_a_budget_of_their_own() -> None:
    """Thirty a minute in the vendor's case: beyond it 429, while other writes go on."""
    async with running(limits=Limits(uploads=2, burst=6), clock=Clock()) as client:
        statuses = [(await upload(client, b"x")).status for _ in range(3)]
        write = await client("POST", "/companies", json={"name": "x"})

    assert [201, 201, 429] == statuses
    assert 201 == write.status
