"""`catalog`: the endpoints of the API as the gateway knows them."""

from pathlib import Path

from gateway.config.assembly.catalog import load_catalog
from tests.support.command import run


async def test_every_endpoint_is_listed_with_what_it_needs() -> None:
    """A person finds path, scopes, lane and guard in one line, and a program the same as JSON."""
    text, machine = await run("catalog"), await run("catalog", "--json")

    assert {endpoint.name for endpoint in load_catalog().endpoints} == {one["name"] for one in machine.json}
    rows = [" ".join(line.split()) for line in text.out.splitlines()]
    assert "GET /threads/{id} threads:read read" in rows
    assert "POST /companies/{id}/merge companies:write write guarded" in rows
    merge = next(one for one in machine.json if one["name"] == "POST /companies/{id}/merge")
    assert {
        "name": "POST /companies/{id}/merge",
        "method": "POST",
        "path": "/companies/{id}/merge",
        "scopes": ["companies:write"],
        "lane": "write",
        "guarded": True,
    } == merge


async def test_a_scope_narrows_the_list() -> None:
    """Somebody who grants a scope sees all that it opens, and nothing else."""
    machine = await run("catalog", "--scope", "threads:write", "--json")

    assert {("threads:write",)} == {tuple(one["scopes"]) for one in machine.json}


async def test_endpoints_of_an_overlay_are_listed(tmp_path: Path) -> None:
    """With --config the list includes endpoints of an overlay; no secret is needed."""
    (tmp_path / "extra.yaml").write_text("endpoints: [{method: GET, path: /reports, scopes: []}]\n")
    (tmp_path / "gateway.yaml").write_text(
        "catalog: [extra.yaml]\nkeys: {a: {secrets: [env:A]}}\nroutes: [{path: /**, keys: [a]}]\n"
    )
    machine = await run("catalog", "--config", tmp_path / "gateway.yaml", "--json")

    assert "GET /reports" in {one["name"] for one in machine.json}
