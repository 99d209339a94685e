"""JSON Schemas of the files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gateway.config.assembly.catalog import load_catalog
from gateway.config.json_schema import cases_schema, config_schema, policy_schema
from gateway.config.reading.section import Section, sections
from gateway.config.schema.environment import variables
from gateway.config.schema.gateway import Gateway
from gateway.config.schema.policy import Policy

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "tests" / "support" / "configs"
SCHEMAS = [pytest.param(config_schema, id="config"), pytest.param(policy_schema, id="policy")]


def objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    yield from schema["$defs"].values()


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_key_is_described(schema: Any) -> None:
    """An editor can say what each key is for, and marks a key that there is not."""
    for found in objects(schema()):
        assert found["description"]
        assert found["additionalProperties"] is False
        assert not [name for name, field in found["properties"].items() if not field.get("description")]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_schema_is_json_that_points_only_into_itself(schema: Any) -> None:
    """It is plain JSON, says which draft it is, and every reference leads somewhere."""
    text = json.dumps(schema())

    assert "https://json-schema.org/draft/2020-12/schema" == schema()["$schema"]
    assert {*schema()["$defs"]} == set(re.findall(r'"#/\$defs/(\w+)"', text))


@pytest.mark.parametrize(("schema", "cls"), [(config_schema, Gateway), (policy_schema, Policy)])
def test_the_schema_and_the_reader_know_the_same_keys(schema: Any, cls: type[Section]) -> None:
    """The JSON Schema accepts exactly the files that the gateway accepts."""
    names = {tuple(sorted(one.settings)) for one in (cls, *sections(cls))}

    assert names == {tuple(sorted(found["properties"])) for found in objects(schema())}


def test_each_variable_is_named_where_its_setting_is_described() -> None:
    """The environment variable of a setting is found in its description, and nowhere else."""
    text = json.dumps(config_schema())

    assert len(variables()) > 20
    for variable in variables():
        assert 1 == len(re.findall(rf"\b{variable}\.", text))
    assert config_schema()["properties"]["listen"]["description"].endswith(" Environment: PRODUCTLANE_GATEWAY_LISTEN.")


PUBLISHED = {"config": config_schema, "policy": policy_schema, "cases": cases_schema}
FOLDERS = {"gateway": "config", "policy": "policy", "cases": "cases"}
FILES = [pytest.param(p, id=f"{p.parent.name}-{p.name}") for f in FOLDERS for p in sorted((CONFIGS / f).glob("*.yaml"))]

# The problems of these files are between keys or files, or inside a URL or address, which no JSON Schema checks.
ELSEWHERE = {
    "addresses",
    "anonymous_100018080",
    "anonymous_8080",
    "anonymous_gatewaytest8080",
    "anonymous_in_the_open",
    "callers_issuer",
    "callers_jwks",
    "duplicate",
    "duplicate_routes",
    "nobody",
    "one_address_twice",
    "policies_folder",
    "proofs_without_means",
    "redis_password",
    "redis_settings",
    "redis_without_store",
    "store_password",
    "store_query",
    "store_url",
    "tls_missing",
    "unused_key",
    "upstream_ca",
    "upstream_cleartext",
    "upstream_dots",
    "upstream_fragment",
    "upstream_no_ca",
    "upstream_port",
    "upstream_scheme",
    "upstream_space",
    "upstream_userinfo",
}


class Loader(yaml.SafeLoader):
    """Reads as editors do, by YAML 1.2, which knows no dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schemas_are_those_of_the_command(name: str) -> None:
    """The files in `policies/schema` equal the output of `schema` in this version."""
    text = (ROOT / "policies" / "schema" / f"{name}.schema.json").read_text("utf-8")

    Draft202012Validator.check_schema(json.loads(text))
    assert json.dumps(PUBLISHED[name](), indent=2, ensure_ascii=False) + "\n" == text


@pytest.mark.parametrize("path", FILES)
def test_a_wrong_file_is_red_in_the_editor(path: Path) -> None:
    """A fault that a schema can see is marked while it is written; a file that the gateway takes is never marked."""
    schema = json.loads((ROOT / "policies" / "schema" / f"{FOLDERS[path.parent.name]}.schema.json").read_text("utf-8"))
    try:
        value = yaml.load(path.read_text(), Loader)
    except yaml.YAMLError:
        assert path.name.endswith(".bad.yaml")
        return

    stem, kind, _ = path.name.split(".")
    assert (kind == "good" or stem in ELSEWHERE) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("key", ["endpoints", "deny"])
def test_an_editor_offers_every_endpoint_and_takes_any_placeholder(key: str) -> None:
    """Names to complete are the catalog's own, and `{whatever}` is as good as `{id}`; another path is marked."""
    items = policy_schema()["properties"][key]["items"]
    pattern = re.compile(items["pattern"])

    assert {endpoint.name for endpoint in load_catalog().endpoints} == set(items["examples"])
    assert [] == [name for name in items["examples"] if not pattern.search(name)]
    assert pattern.search("POST /companies/{company}/merge")
    assert not pattern.search("POST /companies/c_1/merge")
    assert not pattern.search("POST /companies/{id}/merge/more")


@pytest.mark.parametrize("path", [*sorted((ROOT / "policies").rglob("*.yaml")), ROOT / "gateway.example.yaml"], ids=str)
def test_the_examples_name_their_schema(path: Path) -> None:
    """An editor that opens an example has its schema at once, and the example keeps to it."""
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
    assert found is not None
    schema = json.loads((path.parent / found[1]).read_text("utf-8"))

    assert Draft202012Validator(schema).is_valid(yaml.load(path.read_text(), Loader))
