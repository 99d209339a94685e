"""The rules of the house, read from the source: which room may use which, and what may stand where."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gateway

SOURCE = Path(gateway.__file__).parent
TESTS = Path(__file__).parent

# Rooms from the top floor down. An import goes to a lower floor or stays in its room, and never crosses a floor.
FLOORS = {
    "cli": 9,
    "runtime": 8,
    "proxy": 7,
    "admin": 7,
    "budgets": 6,
    "keys": 6,
    "config": 5,
    "simulator": 5,
    "callers": 4,
    "config.reading": 3,
    "net": 2,
    "telemetry": 1,
}
GROUND = {"aio": 0, "core": 0}
RANK = {"__main__": 10} | FLOORS | GROUND

# All that `core` may use from outside. None of it can open a socket or a file, ask the time, log or draw lots.
PURE = {
    "collections",
    "collections.abc",
    "contextlib",
    "dataclasses",
    "datetime",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "math",
    "hmac",
    "ipaddress",
    "itertools",
    "json",
    "re",
    "typing",
    "urllib.parse",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "today", "now", "utcnow", "fromtimestamp", "__import__"}

# Where a key becomes text: in requests to the upstream and to ``/me``.
REVEALING = {"core/headers.py"}

SIMULATOR = "gateway.simulator"

MAX_LINES = 250
MAX_BODY = 40

# Modules and functions over a bound. Remove an entry as soon as it is within; add none.
LONG_MODULES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
CIRCLES: set[frozenset[str]] = set()


def modules(folder: Path) -> dict[str, Path]:
    """Every Python file below a folder, by its path from there."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.py"))}


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The dotted names that a module imports, at its top or inside functions."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import hides which room it leads to"
            module = node.module or ""
            yield from (f"gateway.{alias.name}" if module == "gateway" else module for alias in node.names)


def calls(code: ast.AST) -> Iterator[str]:
    """The names by which code calls something: ``f`` of ``f()`` and of ``x.f()``."""
    for node in ast.walk(code):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def room(name: str) -> str:
    """The room of a file (``core/target.py``) or of a dotted name (``gateway.core.target``).

    A room inside a room that has a floor of its own counts by itself.
    """
    steps = name.removeprefix("gateway.").replace("/", ".").removesuffix(".py").split(".")
    inner = ".".join(steps[:2])
    return inner if inner in RANK else steps[0]


def test_an_import_goes_down() -> None:
    """A room can be understood with the rooms below it alone."""
    up = []
    for name, path in modules(SOURCE).items():
        here = room(name)
        used = {room(one) for one in imports(path) if one.startswith("gateway.")} - {here, "__version__"}
        assert here in RANK or here == "__init__", name
        up += [(name, other) for other in used if RANK.get(other, 9) >= RANK.get(here, 0)]

    assert [] == up


def test_the_serving_path_knows_no_simulator() -> None:
    """Nothing that serves real callers can answer from the stand-in: only the commands that are for it import it."""
    others = {name: path for name, path in modules(SOURCE).items() if room(name) not in {"cli", "simulator"}}

    assert [] == [name for name, path in others.items() if any(one.startswith(SIMULATOR) for one in imports(path))]


def test_the_core_only_decides() -> None:
    """Whatever decides about a request does so from its arguments: no socket, file, clock, log or chance."""
    for name, path in modules(SOURCE / "core").items():
        assert set() == {one for one in imports(path) if not one.startswith("gateway.core.")} - PURE, name
        assert set() == set(calls(tree(path))) & IMPURE_CALLS, name


def test_a_room_says_what_it_is_for() -> None:
    """Every folder with code is a package, so it is installed, and starts with a text that says what lives there."""
    folders = {path.parent for path in modules(SOURCE).values()}

    assert [] == [folder for folder in folders if not ast.get_docstring(tree(folder / "__init__.py"))]


def test_a_module_can_be_read_in_one_go() -> None:
    """No module has more lines than one reading can hold."""
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in modules(SOURCE).items()}

    assert {name for name, count in lines.items() if count > MAX_LINES} == LONG_MODULES


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a module, with the lines of its body without the docstring."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_a_function_fits_on_a_screen() -> None:
    """No function's body is longer than a screen."""
    bodies = {f"{name}:{one}": lines for name, path in modules(SOURCE).items() for one, lines in functions(path)}

    assert {name for name, lines in bodies.items() if lines > MAX_BODY} == LONG_FUNCTIONS


def imported_modules() -> dict[str, set[str]]:
    """The modules of the gateway, each with those that it imports; lazy and type-only imports count."""
    names = {"gateway." + name.removesuffix(".py").replace("/", "."): path for name, path in modules(SOURCE).items()}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names} & names.keys()
                graph[name] |= whole or {node.module} & names.keys()
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & names.keys()
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that reach one another."""
    reached = {name: {name} for name in graph}
    for start in graph:
        queue = [start]
        while queue:
            for other in graph[queue.pop()] - reached[start]:
                reached[start].add(other)
                queue.append(other)
    found = (frozenset(b for b in reached[a] if a in reached[b]) for a in graph)
    return {one for one in found if len(one) > 1}


def test_no_module_needs_itself() -> None:
    """There is no circle of imports, inside a room as well; lazy and type-only imports count."""
    assert circles(imported_modules()) == CIRCLES


def test_a_circle_is_seen() -> None:
    """The search above finds a circle."""
    assert {frozenset({"a", "b"})} == circles({"a": {"b"}, "b": {"a"}, "c": {"a"}})


def test_keys_are_revealed_in_a_counted_set_of_files() -> None:
    """An auditor has to read these files, and no other, to see every place where a key becomes text."""
    assert REVEALING == {name for name, path in modules(SOURCE).items() if "reveal" in calls(tree(path))}


def test_only_the_decision_makes_a_permit() -> None:
    """Only `decide` makes a `Permit`, which every forwarded request needs."""
    makers = [node for node in ast.walk(tree(SOURCE / "core" / "decision.py")) if isinstance(node, ast.FunctionDef)]

    assert {"core/decision.py"} == {name for name, path in modules(SOURCE).items() if "Permit" in calls(tree(path))}
    assert ["decide"] == [maker.name for maker in makers if "Permit" in calls(maker)]


@pytest.mark.slow
def test_a_test_says_what_it_promises() -> None:
    """Every test states in a sentence what a user can rely on, and no two tests of a module share a name."""
    for name, path in modules(TESTS).items():
        if path.name.startswith("test_"):
            tests = [
                node
                for node in tree(path).body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            ]
            assert ast.get_docstring(tree(path)), name
            assert [] == [test.name for test in tests if not ast.get_docstring(test)], name
            assert len(tests) == len({test.name for test in tests}), name


def test_what_tests_share_stands_in_support() -> None:
    """No test takes anything from another test's module."""
    taken = re.compile(r"^ *(?:from|import) tests(?:\.\w+)*\.(?:test_|conftest\b)", re.MULTILINE)

    assert [] == [name for name, path in modules(TESTS).items() if taken.search(path.read_text("utf-8"))]


def test_no_code_runs_between_fork_and_exec() -> None:
    """Python code there may wait for ever for a lock that another thread held, beyond the reach of any deadline."""
    assert [] == [name for name, path in modules(TESTS).items() if "preexec" + "_fn" in path.read_text("utf-8")]


@pytest.mark.slow
def test_no_module_needs_another_to_be_imported_first() -> None:
    """Any module of a room whose `__init__` imports can be the first one imported; for others, no circle says it."""
    importing = [path.parent for path in modules(SOURCE).values() if path.name == "__init__.py" and [*imports(path)]]
    names = [
        "gateway." + name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for name, path in modules(SOURCE).items()
        if path.parent in importing
    ]
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for known in [m for m in sys.modules if m.partition('.')[0] == 'gateway']:\n"
        "        del sys.modules[known]\n"
        "    importlib.import_module(name)\n"
    )

    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *names],
        cwd=SOURCE.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (0, "", "") == (run.returncode, run.stdout, run.stderr)


def test_the_page_shows_the_rooms() -> None:
    """docs/architecture.md has every room on its floor, names what exists, and explains at most 30 words."""
    page = (SOURCE.parent / "docs" / "architecture.md").read_text("utf-8")
    rows = {name: int(floor) for floor, name in re.findall(r"^\| (\d) \| `([\w.]+)` \|", page, re.MULTILINE)}
    paths = {SOURCE.parent / path for path in re.findall(r"`((?:gateway|helm|tests)/[\w./]+)`", page)}
    pictured = {SOURCE / room / f"{name}.py" for room, name in re.findall(r"\b(proxy|core|net)\.(\w+)", page)}

    assert FLOORS | GROUND == rows
    assert set() == {path for path in paths | pictured if not path.exists()}
    assert page.partition("\n## Words\n")[2].count("\n| ") <= 30 + 1, "one row is the head"
