"""One request as the endpoints see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.catalog import Endpoint
from gateway.simulator.keys import SimulatedKey
from gateway.simulator.workspace import Workspace

Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, past all checks of its key. ``ids`` are the path's placeholders in order."""

    endpoint: Endpoint
    ids: tuple[str, ...]
    query: Mapping[str, str]
    body: Any
    key: SimulatedKey
    workspace: Workspace
