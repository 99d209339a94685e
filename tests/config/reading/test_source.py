"""YAML read strictly: what two readers could see differently is refused."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.reading.document import Document, Items, Node, Scalar, Style, Table
from gateway.config.reading.problem import Problem
from gateway.config.reading.scalar import reads_as
from gateway.config.reading.source import MAX_BYTES, open_document, parse


def parsed(text: str | bytes) -> tuple[Document, list[str]]:
    problems: list[Problem] = []
    document = parse("f.yaml", text.encode() if isinstance(text, str) else text, problems)
    return document, [str(problem) for problem in problems]


REFUSED: list[tuple[str | bytes, str]] = [
    ("a: &x 1\n", "f.yaml:1: a: anchors and aliases are not allowed; write the value out"),
    ("a: 1\nb: *x\n", "f.yaml:2: b: anchors and aliases are not allowed; write the value out"),
    ("&x a: 1\n", "f.yaml:1: anchors and aliases are not allowed; write the value out"),
    ("a: [&x [1]]\n", "f.yaml:1: a[0]: anchors and aliases are not allowed; write the value out"),
    ("a: !!int 1\n", "f.yaml:1: a: the tag `tag:yaml.org,2002:int` is not allowed; tags have no meaning here"),
    (
        "a: !os.system x\n",
        "f.yaml:1: a: the tag `!os.system` is not allowed; tags have no meaning here",
    ),
    ("a: ! x\n", "f.yaml:1: a: the tag `!` is not allowed; tags have no meaning here"),
    ("%YAML 1.1\n---\na: 1\n", "f.yaml:1: YAML directives are not allowed"),
    ("%TAG ! tag:a,2002:\n---\na: 1\n", "f.yaml:1: YAML directives are not allowed"),
    ("a: 1\n---\nb: 2\n", "f.yaml:2: holds a second document; one is allowed"),
    ("a: 1\na: 2\n", "f.yaml:2: a: is given twice, first in line 1"),
    ('"a": 1\na: 2\n', "f.yaml:2: a: is given twice, first in line 1"),
    ("b: {a: 1,\n a: 2}\n", "f.yaml:2: b.a: is given twice, first in line 1"),
    ("? [a]\n: 1\n", "f.yaml:1: a key has to be plain text"),
    ("<<: {a: 1}\n", 'f.yaml:1: "<<": YAML can read this key as a mark of its own; quote it'),
    ("on: 1\n", "f.yaml:1: on: YAML can read this key as true or false; quote it"),
    ("", "f.yaml: is empty"),
    ("# only a comment\n", "f.yaml: is empty"),
    (b"a: \xff\n", "f.yaml:1: is not UTF-8 text"),
    ("a: 1\nb: 2\n".encode("utf-16"), "f.yaml:1: is not UTF-8 text"),
    (b"a: 1\nb: \xc3\n", "f.yaml:2: is not UTF-8 text"),
    (b"a: " + b"x" * MAX_BYTES, "f.yaml: is larger than 256 kB"),
    ("[" * 21 + "]" * 21, "f.yaml:1: is nested more than 20 levels deep"),
    ("[" * 5000, "f.yaml:1: is nested more than 20 levels deep"),
    ("a: 1\n\tb: 2\n", "f.yaml:2: is not valid YAML: a tab indents this line; use spaces"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED, ids=range(len(REFUSED)))
def test_what_could_mislead_is_refused(text: str | bytes, problem: str) -> None:
    """Anchors, tags, directives, second documents, duplicate keys and bombs are problems with their line."""
    problems = parsed(text)[1]

    assert [problem] == problems


def test_the_deepest_that_is_allowed_is_read() -> None:
    """Twenty levels are allowed, which is more than any file here needs."""
    problems = parsed("[" * 20 + "]" * 20)[1]

    assert not problems


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    """A file from an editor that writes one is read as any other."""
    document, _ = parsed(b"\xef\xbb\xbfa: 1\n")

    assert ("a",) == document.names()


def test_the_parsers_excerpt_is_not_shown() -> None:
    """An error in YAML names the line and not its text, which may contain a secret."""
    problems = parsed("a: [pl_v2_abcdefghijkl\n")[1]

    assert 1 == len(problems)
    assert "abcdefghijkl" not in problems[0]


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """The path and the reason are named."""
    problems: list[Problem] = []
    open_document(tmp_path / "none.yaml", problems)

    assert [f"{tmp_path}/none.yaml: cannot be read: No such file or directory"] == [str(p) for p in problems]


def test_without_libyaml_the_same_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The strictness is the same where PyYAML was built without its C parser."""
    with_c = [bool(parsed(text)[1]) for text, _ in REFUSED]
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    without = [bool(parsed(text)[1]) for text, _ in REFUSED]

    assert with_c == without == [True] * len(REFUSED)


def texts(node: Node | None) -> object:
    """A node as PyYAML's loader that knows only text would give it."""
    match node:
        case Scalar():
            return node.text
        case Items():
            return [texts(item) for item in node.items]
        case Table():
            return {name: texts(child) for name, (_, child) in node.entries.items()}
    return None


WORDS = st.text("abc:/*{}[],#'\"\\ -.é\n", max_size=8)
TREES = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)


@given(tree=TREES, flow=st.booleans())
def test_nodes_hold_what_the_file_says(tree: object, flow: bool) -> None:
    """The strict reader and PyYAML's own agree on every document that both accept."""
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    document, _ = parsed(text)

    assert yaml.load(text, Loader=yaml.BaseLoader) == texts(document.root)


@given(data=st.binary(max_size=60) | st.text("ab:-[]{}&*!|>%#'\"\n\t ?,", max_size=40).map(str.encode))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever the bytes are, there is a document or a problem, and no exception."""
    document, problems = parsed(data)

    assert problems or document.root is not None


@given(text=st.text("0123456789abefnoxyINFulrtsk:._-+~=<TZ ", min_size=1, max_size=12))
def test_a_plain_scalar_that_is_taken_as_text_is_text_to_everybody(text: str) -> None:
    """Text written without quotes is the same text to a YAML 1.1 reader."""
    document, problems = parsed(text)
    root = document.root
    if problems or not isinstance(root, Scalar) or root.style is not Style.PLAIN or reads_as(root.text):
        return

    assert root.text == yaml.safe_load(text)
