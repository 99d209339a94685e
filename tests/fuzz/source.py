"""YAML: any bytes give nodes or problems, within bounds, and the nodes are those that PyYAML's safe loader reads."""

from typing import Any, Final

import yaml

from gateway.config.reading.document import Items, Node, Scalar, Table
from gateway.config.reading.problem import Problem
from gateway.config.reading.source import MAX_BYTES, MAX_DEPTH, parse
from tests.support.fuzzing import run

SEEDS: Final = (
    b"a: 1\nb: [x, 'y']\n",
    b"a: 1\na: 2\n",
    b"&a [*a]",
    b"[" * 50,
    b"[" * 25 + b"]" * 25,
    b"a: !!python/object:os.system x",
    b"\xff\xfe",
    b"k: |\n  t\n",
)


def check(data: bytes) -> None:
    """The bytes are a file."""
    problems: list[Problem] = []
    document = parse("f.yaml", data, problems)
    assert all(problem.file == "f.yaml" and "\n" not in problem.message for problem in problems)
    assert document.root is None or len(data) <= MAX_BYTES
    if document.root is None or problems:
        return
    assert _depth(document.root) <= MAX_DEPTH
    assert _same(document.root, yaml.compose(data, yaml.CSafeLoader))


def _depth(node: Node) -> int:
    match node:
        case Table():
            return 1 + max((_depth(value) for _, value in node.entries.values()), default=0)
        case Items():
            return 1 + max((_depth(value) for value in node.items), default=0)
    return 1


def _same(node: Node, other: Any) -> bool:
    """Whether a tree is the one that PyYAML composes of the same text, scalar for scalar."""
    match node:
        case Scalar():
            return isinstance(other, yaml.ScalarNode) and node.text == other.value
        case Items():
            return len(node.items) == len(other.value) and all(map(_same, node.items, other.value))
        case Table():
            return [(key, True) for key in node.entries] == [
                (key.value, _same(node.entries[key.value][1], value)) for key, value in other.value
            ]


if __name__ == "__main__":
    run(check, SEEDS)
