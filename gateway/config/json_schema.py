"""JSON Schemas of the files, for editors and reviewers: made from the structs that the reader uses."""

import re
from collections.abc import Iterable
from typing import Any, Final

from gateway.config.assembly.cases import REQUEST, VERDICTS
from gateway.config.assembly.catalog import load_catalog
from gateway.config.reading.section import Section, object_schema, sections
from gateway.config.schema import environment
from gateway.config.schema.gateway import Gateway
from gateway.config.schema.policy import Policy
from gateway.core.catalog import Catalog

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")


def config_schema() -> dict[str, Any]:
    """The schema of ``gateway.yaml``. Each single setting's description names its environment variable."""
    schema = _schema(Gateway, "productlane-gateway configuration")
    for variable, path in environment.variables().items():
        _field(schema, path)["description"] += f" Environment: {variable}."
    return schema


def policy_schema(catalog: Catalog | None = None) -> dict[str, Any]:
    """The schema of a policy file, which knows the scopes and endpoints of a catalog, Productlane's own by default."""
    catalog = load_catalog() if catalog is None else catalog
    schema = _schema(Policy, "productlane-gateway policy")
    schema["properties"]["scopes"]["items"]["enum"] = sorted(catalog.scopes)
    names = sorted((endpoint.template, endpoint.method, endpoint.name) for endpoint in catalog.endpoints)
    for key in ("endpoints", "deny"):
        # Placeholders may be called as one likes, so the names are a pattern; the examples are what editors complete.
        items = {"type": "string", "pattern": _any_of(name for _, _, name in names)}
        schema["properties"][key] |= {
            "items": items | {"examples": [name for _, _, name in names]},
            "uniqueItems": True,
        }
    return schema


def cases_schema() -> dict[str, Any]:
    """The schema of a policy's truth table."""
    request = {"type": "string", "pattern": REQUEST, "description": "A method in capitals, and a path of the API."}
    verdict = {"enum": [*VERDICTS], "description": "`allow`, or the code of the refusal."}
    row = {"type": "array", "prefixItems": [request, verdict], "items": False, "minItems": 2}
    return {
        "$schema": _DRAFT,
        "title": "productlane-gateway truth table of a policy",
        "description": "What requests of the caller must come to: rows of [METHOD /path, verdict].",
        "type": "array",
        "minItems": 1,
        "items": row,
    }


def _any_of(names: Iterable[str]) -> str:
    """A pattern, of ECMA 262 too, for any of these endpoints, however their placeholders are called."""
    patterns = (_PLACEHOLDER.sub(r"\\{[^{}]*\\}", name.replace(".", r"\.")) for name in names)
    return f"^(?:{'|'.join(patterns)})$"


def _schema(cls: type[Section], title: str) -> dict[str, Any]:
    definitions = {one.__name__: {"title": one.__name__, **object_schema(one)} for one in sections(cls)}
    # The root is written out, since editors show the title and description only of that.
    return {"$schema": _DRAFT, "title": title, **object_schema(cls), "$defs": definitions}


def _field(schema: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    place = schema
    for step in path:
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]
        place = place["properties"][step]
    return place
