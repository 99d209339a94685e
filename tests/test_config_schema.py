"""JSON Schemas of the files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gateway.config.gateway_file import Gateway
from gateway.config.policy_file import Policy
from gateway.config.problem import Problem
from gateway.config.reader import read, record_of
from gateway.config.schema import config_schema, policy_schema
from gateway.config.settings import variables
from gateway.config.shape import Record
from gateway.config.source import open_document

CONFIGS = Path(__file__).parent / "configs"
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
def test_the_schema_and_the_reader_know_the_same_keys(schema: Any, cls: type[msgspec.Struct]) -> None:
    """What an editor accepts is what the gateway reads."""

    def names(record: Record) -> Iterator[tuple[str, ...]]:
        yield tuple(sorted(record.fields))
        for field in record.fields.values():
            for shape in (field.shape, getattr(field.shape, "item", None), getattr(field.shape, "value", None)):
                if isinstance(shape, Record):
                    yield from names(shape)

    assert {*names(record_of(cls))} == {tuple(sorted(found["properties"])) for found in objects(schema())}


def test_what_is_not_available_says_so() -> None:
    """Whoever reads the schema is not led to a setting that would be refused."""
    assert "Only `memory` is available" in config_schema()["properties"]["store"]["description"]


def test_each_variable_is_named_where_its_setting_is_described() -> None:
    """The environment variable of a setting is found in its description, and nowhere else."""
    text = json.dumps(config_schema())

    assert len(variables()) > 20
    for variable in variables():
        assert 1 == len(re.findall(rf"\b{variable}\.", text))
    assert config_schema()["properties"]["listen"]["description"].endswith(" Environment: PRODUCTLANE_GATEWAY_LISTEN.")


@pytest.mark.parametrize(
    ("path", "cls"),
    [
        *(pytest.param(p, Gateway, id=p.stem) for p in sorted((CONFIGS / "gateway").glob("*.good.yaml"))),
        *(pytest.param(p, Policy, id=p.stem) for p in sorted((CONFIGS / "policy").glob("*.good.yaml"))),
    ],
)
def test_the_reader_agrees_with_msgspec(path: Path, cls: type[msgspec.Struct]) -> None:
    """What the gateway reads is what the definitions behind the schema say, read the slow and plain way."""
    problems: list[Problem] = []
    value = read(cls, open_document(path, problems))

    assert not problems
    assert msgspec.convert(msgspec.to_builtins(yaml.safe_load(path.read_text())), cls) == value
