"""The command that lists the endpoints of the API, as the gateway knows them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import catalog_option, fail_unknown, json_option, print_json, unusable
from gateway.cli.table import listed, table

if TYPE_CHECKING:
    from gateway.config.reading.problem import Problem
    from gateway.core.catalog import Catalog, Endpoint


@click.command()
@click.option("--scope", metavar="SCOPE", help="Only the endpoints that need this scope.")
@catalog_option("With what this gateway.yaml adds by its setting `catalog`")
@json_option
def catalog(scope: str | None, config: Path | None, as_json: bool) -> None:
    """List the endpoints of the API with their scopes.

    For each: the method and path, the scopes that it needs (all of them), its lane, which says the limits it counts
    towards, and whether it is guarded: then a policy has to name it.

    \b
        productlane-gateway catalog
        productlane-gateway catalog --scope threads:write --json

    Exit status: 0, or 2 where no endpoint needs the scope or --config has problems.
    """
    from gateway.cli.policies.policy_sets import place_and_catalog

    problems: list[Problem] = []
    _, known = place_and_catalog(config, problems)
    if problems:
        unusable(problems)
    endpoints = _endpoints(known, scope)
    if as_json:
        print_json([_facts(endpoint) for endpoint in endpoints])
        return
    rows = [
        (endpoint.name, listed(endpoint.scopes), endpoint.lane.value, "guarded" if endpoint.guarded else "")
        for endpoint in endpoints
    ]
    click.echo(table([("endpoint", "scopes", "lane", ""), *rows]))


def _endpoints(known: "Catalog", scope: str | None) -> "list[Endpoint]":
    if scope is not None and scope not in known.scopes:
        fail_unknown("no endpoint needs the scope", scope, known.scopes, "scopes")
    found = (endpoint for endpoint in known.endpoints if scope is None or scope in endpoint.scopes)
    return sorted(found, key=lambda endpoint: (endpoint.template, endpoint.method))


def _facts(endpoint: "Endpoint") -> dict[str, object]:
    return {
        "name": endpoint.name,
        "method": endpoint.method,
        "path": endpoint.template,
        "scopes": sorted(endpoint.scopes),
        "lane": endpoint.lane.value,
        "guarded": endpoint.guarded,
    }
