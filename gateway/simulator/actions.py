"""What the endpoints answer: rows of collections, the few endpoints that do more, and `ok` for all others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from gateway.core.catalog import Endpoint, plain
from gateway.simulator.errors import ErrorCode, Failed, absent, invalid
from gateway.simulator.keys import SimulatedKey
from gateway.simulator.resources import RESOURCES, TEAM, Row
from gateway.simulator.workspace import Workspace, checked

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


def answer(call: Call) -> Answer:
    """Status and JSON body. Raises `Failed`.

    Statuses of successful writes are undocumented: 201 for what creates, else 200. An endpoint that is neither a
    collection's nor one of `_ACTIONS` changes nothing and is answered with its own name.
    """
    name = plain(call.endpoint.name)
    if name in _ACTIONS:
        return _ACTIONS[name](call)
    method, _, path = name.partition(" ")
    if path in RESOURCES:
        parent = _parent(call, path)
        if method == "GET":
            return 200, call.workspace.rows(path, call.query, parent)
        return 201, call.workspace.view(path, call.workspace.create(path, call.body, parent))
    if path.removesuffix("/{}") in RESOURCES:
        return _row(call, method, path.removesuffix("/{}"))
    return 200, {"ok": True, "endpoint": call.endpoint.name}


def _parent(call: Call, path: str) -> str:
    """The id of a nested collection's thread; 404 if that does not exist."""
    return str(call.workspace.get("/threads", call.ids[0])["id"]) if RESOURCES[path].parent else ""


def _row(call: Call, method: str, path: str) -> Answer:
    parent, row_id = _parent(call, path), call.ids[-1]
    if method == "PATCH":
        return 200, call.workspace.view(path, call.workspace.update(path, row_id, call.body, parent))
    if method == "DELETE":
        return 200, call.workspace.delete(path, row_id, parent)
    return 200, call.workspace.view(path, call.workspace.get(path, row_id, parent))


def _me(call: Call) -> Answer:
    return 200, {
        "workspace_id": call.workspace.id,
        "api_key_id": call.key.api_key_id,
        "scopes": sorted(call.key.scopes),
        "linear_team_ids": [TEAM],
        "default_linear_team_id": TEAM,
    }


def _create_thread(call: Call) -> Answer:
    """Makes the contact as well where its address is new, without any contacts scope."""
    row = call.workspace.create("/threads", call.body)
    email = row.pop("contact_email")
    known = call.workspace.matching("/contacts", {"email": email})
    contact = known[0] if known else call.workspace.create("/contacts", {"email": email, "name": row["contact_name"]})
    row |= {"contact_id": contact["id"], "status": row["status"] or "open", "tag_ids": row["tag_ids"] or []}
    return 201, call.workspace.view("/threads", row)


def _get_thread(call: Call) -> Answer:
    """``expand=messages,comments`` adds both lists to the thread."""
    view = call.workspace.view("/threads", call.workspace.get("/threads", call.ids[0]))
    # Values that are not known are ignored, a client of the vendor's API says.
    for name in {"messages", "comments"} & set(call.query.get("expand", "").split(",")):
        view[name] = call.workspace.matching(f"/threads/{{}}/{name}", {}, call.ids[0])
    return 200, view


def _create_contact(call: Call) -> Answer:
    """409 if the address is taken."""
    fields = checked(RESOURCES["/contacts"], call.body, creating=True)
    if call.workspace.matching("/contacts", {"email": fields["email"]}):
        raise Failed(ErrorCode.CONFLICT, "A contact with this e-mail address exists.")
    return 201, call.workspace.create("/contacts", fields)


def _contact_by_email(call: Call) -> Answer:
    """One contact, by ``?email=``."""
    if not call.query.get("email"):
        raise invalid(("email", "Required."))
    found: list[Row] = call.workspace.matching("/contacts", {"email": call.query["email"]})
    if not found:
        raise absent("Contact")
    return 200, found[0]


def _webhook(call: Call) -> Answer:
    """201 with the signing secret, which is shown this once. Nothing is ever delivered."""
    row = call.workspace.create("/webhooks", call.body)
    return 201, {**row, "secret": f"whsec_{row['id']}"}


_ACTIONS: Final[Mapping[str, Callable[[Call], Answer]]] = MappingProxyType(
    {
        "GET /me": _me,
        "POST /threads": _create_thread,
        "GET /threads/{}": _get_thread,
        "POST /contacts": _create_contact,
        "GET /contacts/by-email": _contact_by_email,
        "POST /webhooks": _webhook,
    }
)
