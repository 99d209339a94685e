"""Sections: a class declares the keys of a file and the values that reading returns."""

from pathlib import Path

import pytest

from gateway.config.reading.collections import Many, Named
from gateway.config.reading.kinds import Text, Truth, Whole
from gateway.config.reading.names import FILE
from gateway.config.reading.problem import Problem
from gateway.config.reading.section import Record, Section, object_schema, read, setting, single_settings
from gateway.config.reading.source import parse
from gateway.config.schema.kinds import TIMEOUT


class Inner(Section):
    """A section in a section."""

    wait: float = setting(TIMEOUT, "How long.", default="5s")
    ca: Path | None = setting(FILE, "Certificates.", default=None)


class Outer(Section):
    """A document."""

    name: str = setting(Text("a name", parse=str), "The name.")
    inner: Inner = setting(Record(Inner), "More.", default=Inner())
    many: tuple[int, ...] = setting(Many(Whole(0, 9), "digits"), "Some.", default=())
    named: dict[str, Inner] | None = setting(Named(Text("a name", parse=str), Record(Inner)), "By name.", default=None)
    open: bool = setting(Truth(), "Whether it is.", default=True)
    home: Path = setting(FILE, "Where from.", default="home")


def outer(text: str) -> Outer:
    problems: list[Problem] = []
    value = read(Outer, parse("conf/outer.yaml", text.encode(), problems))
    assert value is not None
    assert not problems
    return value


def test_a_default_is_written_as_in_a_file_and_is_its_value() -> None:
    """`5s` in the declaration is 5.0 for the readers of the section."""
    assert Inner().wait == 5.0
    assert Outer(name="x") == Outer(name="x", inner=Inner(wait=5.0), many=(), open=True, home=Path("home"))
    assert "5s" == object_schema(Inner)["properties"]["wait"]["default"]


def test_reading_gives_final_values() -> None:
    """Durations are seconds, and a path starts from the folder of the file, a default one too."""
    value = outer("name: x\ninner: {wait: 2m, ca: a/b}\nmany: [1, 2]\nnamed: {one: {wait: 1s}}\nopen: false\n")

    assert Inner(wait=120.0, ca=Path("conf/a/b")) == value.inner
    assert ((1, 2), {"one": Inner(wait=1.0)}, False) == (value.many, value.named, value.open)
    assert Path("conf/home") == value.home


def test_a_section_is_frozen_and_knows_its_keys() -> None:
    """A value that was checked stays as it is; a section cannot be made without a key, or with an unknown one."""
    section = Inner()
    with pytest.raises(AttributeError):
        section.wait = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del section.wait
    for values in ({}, {"name": "x", "nmae": "y"}):
        with pytest.raises(TypeError, match=r"name|nmae"):
            Outer(**values)  # type: ignore[arg-type]


def test_sections_compare_by_value() -> None:
    """Two loads of one file are equal, so a reload can compare them."""
    one, other = Inner(wait=1.0), Inner(wait=2.0)

    assert one == Inner(wait=1.0)
    assert one != other
    assert one == other.replaced(wait=1.0)
    assert hash(one) == hash(Inner(wait=1.0))
    assert "Inner(wait=1.0, ca=None)" == repr(one)


def test_a_default_that_is_none_is_a_fault_of_the_program() -> None:
    """A declaration with an impossible default fails at import."""
    with pytest.raises(TypeError, match="soon"):

        class Wrong(Section):
            """Wrong."""

            wait: float = setting(TIMEOUT, "How long.", default="soon")


def test_single_settings_are_those_that_a_variable_can_hold() -> None:
    """Lists and mappings of names are not; the keys of a section are, by their path."""
    assert [("name",), ("inner", "wait"), ("inner", "ca"), ("open",), ("home",)] == [
        path for path, _ in single_settings(Outer)
    ]
