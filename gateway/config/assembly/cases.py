"""The truth table beside a policy, ``<policy>.cases.yaml``: requests with their expected verdicts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.reading.document import Document, Items, Node, Scalar, Style
from gateway.config.reading.problem import Problem, did_you_mean, shown
from gateway.config.reading.scalar import reads_as
from gateway.config.reading.source import open_document
from gateway.core.refusal import Code
from gateway.core.target import BASE

ALLOW: Final = "allow"
VERDICTS: Final = (
    ALLOW,
    Code.SCOPE_REQUIRED.value,
    Code.FORBIDDEN.value,
    Code.NOT_FOUND.value,
    Code.METHOD_NOT_ALLOWED.value,
    Code.INVALID_REQUEST.value,
    Code.UNSUPPORTED_API_VERSION.value,
)
# A method and a path, as in a row.
REQUEST: Final = r"^[A-Z]+ /"
_EXPECTED: Final = "expected [METHOD /path, verdict], as in [GET /companies, allow]"


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a request and its verdict, ``allow`` or a refusal's code. ``line`` is where it stands in the file."""

    line: int
    method: str
    path: str
    verdict: str

    @property
    def target(self) -> str:
        """The raw request target. Paths are the API's, without ``/api/v2``; one that starts with ``/api/`` is whole."""
        return self.path if self.path.startswith("/api/") else BASE + self.path


def read_cases(path: Path) -> tuple[tuple[Case, ...], list[Problem]]:
    """The rows of a file, and everything that is wrong with it. A row with a problem is left out."""
    problems: list[Problem] = []
    document = open_document(path, problems)
    if document.root is None:
        return (), problems
    if not isinstance(document.root, Items) or not document.root.items:
        document.report((), f"expected a list of cases; {_EXPECTED}")
        return (), problems
    rows = (_case(row, place, document) for place, row in enumerate(document.root.items))
    return tuple(row for row in rows if row is not None), problems


def _case(row: Node, place: int, document: Document) -> Case | None:
    if not isinstance(row, Items) or len(row.items) != 2:
        document.report((place,), _EXPECTED)
        return None
    request, verdict = (_text(item) for item in row.items)
    method, _, path = request.partition(" ") if request else ("", "", "")
    if request is None or not re.match(REQUEST, request):
        document.report((place, 0), f"{_EXPECTED}; the method stands in capitals, and the path begins with `/`")
        return None
    if verdict not in VERDICTS:
        seen = shown(verdict) if verdict else "something else"
        message = f"expected one of {', '.join(VERDICTS)}, found {seen}{did_you_mean(verdict or '', VERDICTS)}"
        document.report((place, 1), message)
        return None
    return Case(row.line, method, path, verdict)


def _text(node: Node) -> str | None:
    if not isinstance(node, Scalar) or (node.style is Style.PLAIN and reads_as(node.text)):
        return None
    return node.text
