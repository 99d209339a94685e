"""What the documents say exists, exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", SECURITY)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[f"{file}::{test}" for file, test in NAMED])
def test_a_test_that_security_names_is_there(file: str, test: str) -> None:
    """Each defence that SECURITY.md promises has a test of that name."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert test in functions


def test_every_defence_names_its_test() -> None:
    """Each row of SECURITY.md's tables of defences names a test."""
    defences = SECURITY.partition("## The defences")[2].partition("## Out of scope")[0]
    rows = [line for line in defences.splitlines() if line.startswith("| ") and "shown by" not in line]

    assert len(rows) > 25
    assert [] == [row for row in rows if not re.search(r"`tests/[\w/]+\.py::test_\w+`", row)]


@pytest.mark.parametrize("document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda path: path.name)
def test_a_link_leads_somewhere(document: Path) -> None:
    """A relative link in a document leads to a file of this project."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text("utf-8"))

    assert [] == [link for link in links if not (document.parent / link).exists()]
