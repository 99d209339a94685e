"""`gateway.proxy.catalog_misses`: scopes that Productlane asks for and the catalog does not know of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.proxy.catalog_misses import named_scopes
from tests.support.in_process import Running, policy
from tests.support.recording import error
from tests.support.sentinels import KEY

Start = Callable[..., Any]


def body(required: Any) -> bytes:
    return json.dumps({"error": {"code": "scope_required", "details": {"required": required}}}).encode()


@pytest.mark.parametrize(
    ("required", "named"),
    [
        (["loyalty:read"], {"loyalty:read"}),
        (["admin", "threads:read"], {"admin", "threads:read"}),
        (["a-b_c:d-e_f"], {"a-b_c:d-e_f"}),
        ([f"scope{n}:read" for n in range(20)], {f"scope{n}:read" for n in range(8)}),
        (["Loyalty:Read", "a b", "a:b:c", "", ":", "a:", "\n", "a:b\n", "a" * 41, "ä:b", "<script>"], set()),
        ([KEY, "pl_v2_abcdefgh", 1, None, ["a"], {"a": 1}], set()),
        ("loyalty:read", set()),
        (None, set()),
        ({}, set()),
    ],
)
def test_only_what_looks_like_a_scope_is_told(required: Any, named: set[str]) -> None:
    """Whatever an upstream writes there, the log gets a few short words of letters, or nothing."""
    assert named == named_scopes(body(required))


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"{}", b'{"error": 1}', b'{"error": {"details": []}}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_envelope_names_nothing(text: bytes) -> None:
    """A 403 from another server in between causes no fault."""
    assert frozenset() == named_scopes(text)


async def refused(run: Running, *required: str, target: str = "/api/v2/threads") -> int:
    run.upstream.reply = error(403, "scope_required", required=list(required), granted=[])
    return (await run.ask("GET", target)).status


async def test_a_scope_that_the_catalog_does_not_know_of_is_counted_and_told_once(run: Running) -> None:
    """The operator reads which endpoint, which scope and what to do; the caller gets Productlane's own answer."""
    statuses = [await refused(run, "threads:read", "loyalty:read") for _ in range(3)]
    (event,) = await run.events("catalog_miss")

    assert [403] * 3 == statuses
    assert 3 == await run.metric("catalog_misses_total", endpoint="GET /threads")
    assert ("warning", "GET /threads", "main") == (event["level"], event["catalog_endpoint"], event["key"])
    assert ["loyalty:read", "threads:read"] == event["scopes"]
    assert "the catalog, which has threads:read" in event["reason"]


async def test_another_miss_is_told_as_well(run: Running) -> None:
    """Each pair of endpoint and scopes gets its own event."""
    await refused(run, "loyalty:read")
    await refused(run, "admin")
    await refused(run, "loyalty:read", target="/api/v2/companies")

    assert 3 == len(await run.events("catalog_miss", 3))


async def test_a_key_that_was_narrowed_is_no_miss(run: Running) -> None:
    """If Productlane asks for the scopes in the catalog, the key lacks them and the catalog is right."""
    await refused(run, "threads:read")
    await refused(run)

    assert 0 == await run.metric("catalog_misses_total")


async def test_an_endpoint_that_was_open_to_any_key_is_missed_by_any_refusal(start: Start, tmp_path: Path) -> None:
    """`scope_required` for an endpoint without scopes in the catalog is a miss, even if it names no scope."""
    overlay = tmp_path / "open.yaml"
    overlay.write_text("endpoints: [{method: GET, path: /open, scopes: []}]")
    run = await start(catalog=[str(overlay)], policies=[policy(endpoints=["GET /open"])])
    await refused(run, target="/api/v2/open")
    (event,) = await run.events("catalog_miss")

    assert ("GET /open", []) == (event["catalog_endpoint"], event["scopes"])


async def test_another_403_is_no_miss(run: Running) -> None:
    """A plan that does not include an endpoint is `forbidden`, and nothing for the catalog."""
    run.upstream.reply = error(403, "forbidden", required=["loyalty:read"])
    await run.ask()

    assert 0 == await run.metric("catalog_misses_total")
