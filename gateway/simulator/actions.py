"""The endpoints that are more than a row of a collection, by name; all others are answered by `answer` alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gateway.core.catalog import plain
from gateway.simulator import content, conversations
from gateway.simulator.call import Answer, Call
from gateway.simulator.resources import RESOURCES, TEAM


def answer(call: Call) -> Answer:
    """Status and JSON body. Raises `Failed`.

    Statuses of successful writes are undocumented: 201 for what creates, else 200. An endpoint that an overlay adds to
    the catalog is answered with its own name.
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
    """The id of the thread that a nested collection belongs to; 404 where there is no such thread."""
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


_ACTIONS: Final[Mapping[str, Callable[[Call], Answer]]] = MappingProxyType(
    {
        "GET /me": _me,
        "GET /threads": conversations.threads,
        "POST /threads": conversations.create_thread,
        "GET /threads/{}": conversations.get_thread,
        "PATCH /threads/{}": conversations.update_thread,
        "POST /threads/{}/messages": conversations.send_message,
        "POST /threads/{}/customer-needs": conversations.customer_need,
        "POST /contacts": conversations.create_contact,
        "GET /contacts/by-email": conversations.contact_by_email,
        "GET /contacts/{}/companies": conversations.contact_companies,
        "POST /contacts/{}/companies": conversations.add_contact_company,
        "DELETE /contacts/{}/companies/{}": conversations.remove_contact_company,
        "GET /contacts/{}/issues": conversations.linked("/issues", "issue_ids"),
        "GET /contacts/{}/projects": conversations.linked("/projects", "project_ids"),
        "POST /companies/{}/merge": content.merge,
        "GET /companies/linear-options": content.linear_options,
        "GET /issues/workflow-states": content.workflow_states,
        "DELETE /tags/groups/{}": content.delete_tag_group,
        "POST /changelogs/{}/broadcast": content.broadcast,
        "POST /docs/articles/move": content.move_articles,
        "DELETE /docs/groups/{}": content.delete_docs_group,
        "POST /docs/drafts": content.create_draft,
        "POST /docs/drafts/{}/accept": content.decide_draft("accepted"),
        "POST /docs/drafts/{}/decline": content.decide_draft("rejected"),
        "GET /portal/roadmap": content.roadmap,
        "GET /portal/customer-portal": content.customer_portal,
        "POST /files/import": content.import_one,
        "POST /webhooks": content.webhook,
    }
)
