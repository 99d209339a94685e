"""A setting is one line of the schema; all else follows from it."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from gateway.config.reading.problem import Problem
from gateway.config.reading.section import object_schema, read, setting, single_settings
from gateway.config.reading.source import parse
from gateway.config.schema.gateway import Gateway
from gateway.config.schema.kinds import DURATION

ROOT = Path(__file__).parents[3]
SMALLEST = "keys: {main: {secrets: [env:MAIN]}}\nroutes: [{path: /**, keys: [main]}]\n"


class Extended(Gateway):
    """The configuration with one more setting."""

    patience: float = setting(DURATION, "How long to be patient.", default="3s", at_start=True)


@pytest.fixture(scope="module")
def generate() -> Any:
    """The program that writes the tables of the docs."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def extended(text: str) -> Extended | None:
    problems: list[Problem] = []
    value = read(Extended, parse("gateway.yaml", (SMALLEST + text).encode(), problems))
    assert not problems
    return value


def test_a_new_setting_is_declared_in_one_place(generate: Any) -> None:
    """Reader, default, variable, JSON Schema, docs and reload learn of it from its declaration."""
    given, left_out = extended("patience: 4m\n"), extended("")
    schema = object_schema(Extended)["properties"]["patience"]
    row = [
        (path, one.default, at_start) for path, one, at_start in generate.settings_of(Extended) if path == "patience"
    ]

    assert given is not None
    assert left_out is not None
    assert (240.0, 3.0) == (given.patience, left_out.patience)
    assert ("patience",) in [path for path, _ in single_settings(Extended)]
    assert ("How long to be patient.", "3s") == (schema["description"], schema["default"])
    assert [("patience", "3s", True)] == row
    assert "patience" not in Gateway.settings
