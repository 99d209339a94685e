"""JSON Schemas of the files, for editors and reviewers: made from the structs that the reader uses."""

from typing import Any, Final

import msgspec

from gateway.config import gateway_file, policy_file, settings

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """The schema of ``gateway.yaml``. Each single setting's description names its environment variable."""
    schema = _schema(gateway_file.Gateway, "productlane-gateway configuration")
    for variable, path in settings.variables().items():
        _field(schema, path)["description"] += f" Environment: {variable}."
    return schema


def policy_schema() -> dict[str, Any]:
    """The schema of a policy file."""
    return _schema(policy_file.Policy, "productlane-gateway policy")


def _schema(cls: type[msgspec.Struct], title: str) -> dict[str, Any]:
    (root,), definitions = msgspec.json.schema_components([cls], ref_template="#/$defs/{name}")
    name = root["$ref"].rpartition("/")[2]
    # The root stands in the open, since editors show the title and description only of that.
    top = definitions.pop(name)
    return {"$schema": _DRAFT, **top, "title": title, "$defs": definitions}


def _field(schema: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    place = schema
    for step in path:
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]
        place = place["properties"][step]
    return place
