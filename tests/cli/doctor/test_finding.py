"""`gateway.cli.doctor.finding`: the list of what `doctor` finds is closed, and each of it is provoked."""

import ast
from pathlib import Path

from gateway.cli.doctor.finding import Id, Severity, wrong

HERE = Path(__file__).parent


def asserted() -> set[str]:
    """The names of findings that the tests beside this one assert, or take as parameters of what they assert."""
    found = set()
    for path in HERE.glob("test_*.py"):
        if path.name == Path(__file__).name:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        decorators = (one for node in ast.walk(tree) for one in getattr(node, "decorator_list", ()))
        places = [*(node for node in ast.walk(tree) if isinstance(node, ast.Assert)), *decorators]
        found |= {
            node.attr
            for place in places
            for node in ast.walk(place)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Id"
        }
    return found


def test_every_finding_is_provoked() -> None:
    """Each name in the list is what some test of `doctor` brings about and asserts."""
    assert [] == sorted({name.name for name in Id} - asserted())


def test_every_finding_has_its_row() -> None:
    """Each says how bad it is and how to mend it, and none is called well."""
    assert all(one.fix and one.check and one.severity is not Severity.OK for one in Id)


def test_a_finding_says_what_its_row_says() -> None:
    """The fix is the row's, unless more is known at the place."""
    plain, special = wrong(Id.DNS, "it does not resolve"), wrong(Id.DNS, "it does not resolve", "turn it on")

    assert (Id.DNS.fix, "turn it on") == (plain.fix, special.fix)
    assert ("dns", Severity.ERROR, "dns") == (plain.check, plain.severity, plain.id)
