"""TLS handshakes with long chains of certificates, against a real `serve` whose callers may have some."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certs import ID
from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import counted, resident
from tests.support.in_process import policy
from tests.support.raw_caller import Caller, head
from tests.support.recording import Upstream
from tests.support.served import Served, serving
from tests.support.tls import House, spiffe_policy

BODY = b"x" * 60_000
UPLOAD = head("POST", "/api/v2/threads", f"Content-Length: {len(BODY)}", token=None) + BODY


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
async def served(tmp_path: Path, upstream: Upstream, house: House) -> AsyncIterator[Served]:
    """A gateway that knows its callers by their certificates."""
    callers = {"trusted_spiffe_domain": "cluster.local"}
    policies = [policy(), spiffe_policy("pod")]
    async with serving(tmp_path, upstream, tls=house.tls, callers=callers, policies=policies) as served:
        yield served


def chained(house: House, size: int) -> ssl.SSLContext:
    """A caller with a chain of so many bytes behind its certificate."""
    certificate, key = house.callers.issue(ID).write(house.folder / "callers", f"chain{size}")
    other = house.callers.issue(*[f"spiffe://cluster.local/{number:04}/{'x' * 200}" for number in range(20)])
    certificate.write_bytes(certificate.read_bytes() + other.pem * (size // len(other.der)))
    context = house.client()
    context.load_cert_chain(certificate, key)
    return context


async def shake(served: Served, context: ssl.SSLContext, *, without: int = 0, behind: bytes = b"") -> Caller:
    """Do a handshake. ``without`` holds back so many of its last bytes; ``behind`` leaves in the same write."""
    caller = await served.connect()
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(arrived, leaving, server_hostname="localhost")
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            caller.writer.write(leaving.read())
            arrived.write(await caller.reader.read(1 << 16))
    if behind:
        tls.write(behind)
    said = leaving.read()
    caller.writer.write(said[: len(said) - without])
    return caller


async def test_long_chains_of_certificates_are_refused(served: Served, house: House) -> None:
    """Handshakes with 60 kB of certificates end, and 400 of them leave less than 70 MB behind; a short chain serves."""
    long, short = chained(house, 60_000), chained(house, 6_000)
    before = resident(served)
    for number in range(400):
        with contextlib.suppress(ConnectionError):
            await shake(served, long, without=200 * (number % 2))
    refused = 'tls_handshake_failures_total{reason="protocol"} 400'
    await eventually(lambda: counted(served, refused))
    grown = resident(served) - before
    caller = await shake(served, short, behind=head(token=None))

    async def answered() -> bool:
        return await counted(served, 'requests_total{caller="pod",endpoint="GET /threads",status="200"')

    await eventually(answered)
    await caller.close()
    assert 70 > grown


async def test_what_follows_a_handshake_at_once_is_no_part_of_it(
    served: Served, house: House, upstream: Upstream
) -> None:
    """An upload in the same write as the end of a handshake, longer than a handshake may be, arrives whole."""
    for _ in range(5):
        await shake(served, chained(house, 6_000), behind=UPLOAD)
    await upstream.until(lambda: len(upstream.arrivals) == 5)

    assert {BODY} == {arrival.body for arrival in upstream.arrivals}
