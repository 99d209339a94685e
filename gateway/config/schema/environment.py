"""Settings from flags, which win over those of the environment, which win over those of the file.

Every single value of ``gateway.yaml`` has a variable, named after its place: ``upstream.connect_timeout`` is
``PRODUCTLANE_GATEWAY_UPSTREAM_CONNECT_TIMEOUT``. Lists and mappings have none.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from gateway.config.reading.document import Document, Items, Node, Scalar, Style, Table
from gateway.config.reading.problem import Problem, Steps, did_you_mean
from gateway.config.reading.section import single_settings
from gateway.config.schema.gateway import Gateway

PREFIX: Final = "PRODUCTLANE_GATEWAY_"
CONFIG: Final = f"{PREFIX}CONFIG"
# What commands take from the environment of a container, which `serve` shares.
OF_COMMANDS: Final = (f"{PREFIX}KEYS_ADMIN", f"{PREFIX}REPLICAS")
KEY: Final = "PRODUCTLANE_KEY"
SCOPES: Final = "PRODUCTLANE_SCOPES"
ENVIRONMENT: Final = "environment"
COMMAND_LINE: Final = "command line"
NOTHING: Final = (
    f"nothing is configured: give --config FILE, or set {CONFIG}, or put a gateway.yaml here, or for a sidecar without "
    f"files {KEY} and {SCOPES}"
)


# The kubelet sets these for each Service, and a Service may be called productlane-gateway-redis.
_KUBELET: Final = re.compile(r"(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT.*|PORT|PORT_[0-9]+_.*)")


@cache
def variables() -> Mapping[str, Steps]:
    """The environment variables that set a single value, and the path of each."""
    return {PREFIX + "_".join(map(str, path)).upper(): path for path, _ in single_settings(Gateway)}


def overlaid(document: Document, environ: Mapping[str, str], flags: Mapping[str, str]) -> Document:
    """The document with what the environment and the flags say. Flags are named by dotted path: ``upstream.url``."""
    known = variables()
    root, origins = document.root, {}
    if root is None:
        return document
    given = [(known[name], text, (ENVIRONMENT, name)) for name, text in environ.items() if name in known]
    for name, text in flags.items():
        path: Steps = tuple(name.split("."))
        if path not in known.values():
            raise LookupError(f"{name} is not a single setting")
        given.append((path, text, (COMMAND_LINE, "--" + name.replace(".", "-").replace("_", "-"))))
    for path, text, origin in given:
        root = _with(root, path, Scalar(text, Style.GIVEN, 0))
        origins[path] = origin
    return document.overlaid(root, origins)


def _with(node: Node, path: Steps, value: Node) -> Node:
    """A node with a value put at a path. A node that is in the way stays, and the reader reports it."""
    if not path:
        return value
    if not isinstance(node, Table):
        return node
    name = str(path[0])
    line, child = node.entries.get(name, (node.line, Table({}, node.line)))
    return Table({**node.entries, name: (line, _with(child, path[1:], value))}, node.line)


def check_variables(environ: Mapping[str, str], root: Node | None, problems: list[Problem]) -> None:
    """Report variables that look like a misspelt setting; ignoring them would be silent.

    These are names near a setting's, and names that begin with a section's. Others are ignored: the kubelet sets
    variables such as ``PRODUCTLANE_GATEWAY_SERVICE_HOST`` for a Service of that name. So are variables that ``root``,
    the document, names as a source: the variable of a secret may have any name.
    """
    known = {name.removeprefix(PREFIX) for name in (*variables(), CONFIG, *OF_COMMANDS)}
    sections = tuple(f"{name.upper()}_" for name in Gateway.settings)
    sources = set(_texts(root))
    for name in environ:
        rest = name.removeprefix(PREFIX)
        if rest == name or rest in known or _KUBELET.fullmatch(rest) or f"env:{name}" in sources:
            continue
        if near := did_you_mean(rest, known, 0.75):
            near = near.replace('"', f'"{PREFIX}', 1)
            problems.append(Problem(ENVIRONMENT, 0, name, f"sets nothing{near}"))
        elif f"{rest}_".startswith(sections):
            problems.append(Problem(ENVIRONMENT, 0, name, "sets nothing; no single setting is called so"))


def _texts(node: Node | None) -> Iterator[str]:
    match node:
        case Scalar():
            yield node.text
        case Items():
            for item in node.items:
                yield from _texts(item)
        case Table():
            for _, child in node.entries.values():
                yield from _texts(child)


def sidecar(environ: Mapping[str, str], problems: list[Problem]) -> tuple[Document, Document]:
    """The configuration and the policy of a sidecar that has no files: one key, one route, one anonymous caller.

    ``PRODUCTLANE_KEY`` is the key itself, ``file:/path`` or ``env:NAME``; ``PRODUCTLANE_SCOPES`` are scopes with spaces
    or commas between them.
    """
    text = environ.get(KEY, "")
    source = text if text.startswith(("file:", "env:")) else f"env:{KEY}"
    if text.startswith(("/", "./", "../")):
        problems.append(Problem(ENVIRONMENT, 0, KEY, "is a path; write `file:` before it"))
        source = f"file:{text}"
    scopes = [scope for scope in re.split(r"[\s,]+", environ.get(SCOPES, "")) if scope]
    if not scopes:
        message = (
            'is missing: the scopes that the app may use, as in "threads:read contacts:read"; none are given by default'
        )
        problems.append(Problem(ENVIRONMENT, 0, SCOPES, message))
    key = {"secrets": [source]}
    gateway = _node({"keys": {"default": key}, "routes": [{"path": "/**", "keys": ["default"]}]})
    policy = _node({"caller": "sidecar", "authenticate": {"anonymous": "true"}, "scopes": scopes})
    return (
        Document(ENVIRONMENT, gateway, problems, {("keys",): (ENVIRONMENT, KEY)}),
        Document(ENVIRONMENT, policy, problems, {("scopes",): (ENVIRONMENT, SCOPES)}),
    )


def _node(value: object) -> Node:
    match value:
        case dict():
            return Table({name: (0, _node(child)) for name, child in value.items()}, 0)
        case list():
            return Items(tuple(map(_node, value)), 0)
        case _:
            return Scalar(str(value), Style.GIVEN, 0)
