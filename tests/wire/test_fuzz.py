"""Random requests by the thousand. `--fuzz-count` says how many, `--fuzz-seed` which; a failure names both.

The oracles: h11 reads from the upstream's bytes exactly the requests that the gateway counts as forwarded; each was
allowed; and every reading of its target is.
"""

import datetime
from collections import Counter
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest
import pytest_asyncio

from tests.support.in_process import Running, policy, running
from tests.support.oracle import escapes, named, readings
from tests.support.sentinels import KEY
from tests.support.strict import StrictUpstream
from tests.support.wire_grammar import SHAPES, damaged, message

# A caller with allowed endpoints next to forbidden ones, so that a small change of a target is forbidden.
LIMITED = policy(
    token=None,
    scopes=["threads:read", "threads:write", "contacts:read"],
    deny=["GET /contacts/by-email", "DELETE /threads/{id}"],
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway with one limited, anonymous caller in front of an upstream that reads strictly."""
    upstream = StrictUpstream()
    await upstream.start()
    folder = tmp_path_factory.mktemp("fuzz")
    callers = {"anonymous_hosts": ["a"]}
    async with running(folder, upstream, policies=[LIMITED], identity={"ttl": "1h"}, callers=callers) as run:
        yield run
    await upstream.stop()


async def _forwarded(run: Running) -> Counter[str]:
    """What the gateway says it got answers for, by endpoint."""
    text = (await run.admin("/metrics")).body.decode()
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("productlane_gateway_requests_total{") and 'source="upstream"' in line:
            found[line.split('endpoint="')[1].split('"')[0]] += int(float(line.split()[-1]))
    return found


async def _hold(run: Running, made: Callable[[Random], bytes], seed: int, count: int) -> int:
    """Send this many messages and check the oracles after each; returns the number of forwarded requests."""
    upstream = run.upstream
    assert isinstance(upstream, StrictUpstream)
    snapshot = run.gateway.parts.facts.snapshot
    caller, endpoints, today = snapshot.policies["app"], snapshot.catalog.endpoints, datetime.date(2026, 1, 1)
    random, first = Random(seed), len(upstream.whole)
    before = await _forwarded(run)
    for number in range(count):
        raw, seen = made(random), len(upstream.whole)
        connection = await run.connect()
        connection.writer.write(raw)
        await connection.closed()
        connection.writer.transport.abort()
        run.callers.clear()
        case = f"--fuzz-seed={seed}, message {number}: {raw[:500]!r}"
        assert not upstream.faults, case
        for request in upstream.whole[seen:]:
            assert [] == escapes(request.method, request.target, caller, endpoints, today), case
            assert [f"Bearer {KEY}".encode()] == [
                value for name, value in request.headers if name == b"authorization"
            ], case
            assert bytes(request.body) in raw or b"chunked" in raw.lower(), case
    whole = upstream.whole[first:]
    names = Counter(
        endpoint.name for one in whole if (endpoint := named(one.method, one.target.split(b"?")[0], endpoints))
    )

    assert names == await _forwarded(run) - before, f"--fuzz-seed={seed}"
    assert not any(b"smuggled" in one.target for one in whole), f"--fuzz-seed={seed}"
    return len(whole)


@pytest.mark.asyncio(loop_scope="module")
async def test_random_targets_reach_only_what_is_allowed(limited: Running, fuzz: tuple[int, int]) -> None:
    """However a server reads a target that was forwarded, it names an endpoint that this caller may use."""
    seed, count = fuzz
    forwarded = await _hold(limited, message, seed, count // 2)

    assert count // 100 <= forwarded < count // 2, "a grammar that nothing passes, or everything, tests nothing"


@pytest.mark.asyncio(loop_scope="module")
async def test_random_damage_smuggles_nothing(limited: Running, fuzz: tuple[int, int]) -> None:
    """One byte more, less or other, wherever it is, makes no request that the gateway did not judge."""
    seed, count = fuzz
    forwarded = await _hold(limited, damaged, seed, count // 2)

    assert count // 100 <= forwarded


@pytest.mark.parametrize(
    "target",
    [
        b"/api/v2/threads/../companies/1",
        b"/api/v2/threads/%2e%2e/companies/1",
        b"/api/v2/threads/%252e%252e/companies/1",
        b"/api/v2/threads/%25252e%25252e/companies/1",
        b"/api/v2/threads/..;/companies/1",
        b"/api/v2/threads/..%2fcompanies%2f1",
        b"/api/v2/threads/..%5ccompanies%5c1",
        b"/api/v2/threads\\..\\companies\\1",
        b"/api/v2//companies/1",
        b"/api/v2/threads/%c0%ae%c0%ae/companies/1",
        b"/api/v2/threads/%ef%bc%8e%ef%bc%8e/companies/1",
        b"/API/V2/Companies/1",
        b"/api/v2/companies/1%00x",
        b"/api/v2/companies/1/",
        b"/api/v2/./companies/1",
        b"//evil.test/api/v2/companies/1",
        b"http://evil.test/api/v2/companies/1",
        b"/api/v2/%u0063ompanies/1",
        b"/api/v2/companies/1#x",
        b"/%61pi/v2/companies/1",
    ],
)
def test_the_oracle_finds_what_proxies_were_fooled_by(target: bytes) -> None:
    """Each of these targets has a reading that is one company, and the oracle finds it."""
    assert b"/api/v2/companies/1" in readings(target)


def test_the_shapes_are_good_before_they_are_damaged() -> None:
    """Four shapes, each a valid message, so that a refusal is caused by the damage."""
    assert 4 == len(SHAPES)
    assert all(shape.endswith(b"\r\n\r\n") for shape in SHAPES)
