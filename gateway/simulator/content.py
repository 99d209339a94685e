"""All but threads and contacts: the endpoints that are more than a row of a collection."""

from collections.abc import Callable

from gateway.simulator.call import Answer, Call
from gateway.simulator.conversations import contact_by_email
from gateway.simulator.errors import ErrorCode, Failed, invalid
from gateway.simulator.resources import Row
from gateway.simulator.uploads import import_file
from gateway.simulator.workspace import Workspace


def merge(call: Call) -> Answer:
    """The company in the path survives; ``source_id`` is gone, its contacts and threads move over."""
    survivor = call.workspace.get("/companies", call.ids[0])
    source = call.body.get("source_id") if isinstance(call.body, dict) else None
    if not isinstance(source, str):
        raise invalid(("source_id", "Required."))
    if source == survivor["id"]:
        raise Failed(ErrorCode.UNPROCESSABLE, "A company cannot be merged into itself.")
    call.workspace.delete("/companies", source)
    for path in ("/contacts", "/threads"):
        for row in call.workspace.matching(path, {"company_id": source}):
            row["company_id"] = survivor["id"]
    return 200, survivor


def linear_options(_: Call) -> Answer:
    """The statuses and tiers that Linear has for companies."""
    return 200, {"statuses": [{"id": "status_1", "name": "Active"}], "tiers": [{"id": "tier_1", "name": "Enterprise"}]}


def workflow_states(call: Call) -> Answer:
    """A Linear team's issue states; ``team_id`` is required."""
    if not call.query.get("team_id"):
        raise invalid(("team_id", "Required."))
    return 200, call.workspace.rows("/issues/workflow-states", {"team_id": call.query["team_id"]})


def delete_tag_group(call: Call) -> Answer:
    """409 while the group still holds tags."""
    group = call.workspace.get("/tags/groups", call.ids[0])
    if call.workspace.matching("/tags", {"tag_group_id": group["id"]}):
        raise Failed(ErrorCode.CONFLICT, "The group still holds tags.")
    return 200, call.workspace.delete("/tags/groups", group["id"])


def broadcast(call: Call) -> Answer:
    """Counts whom it would reach and reaches nobody; ``published`` stays as it is."""
    changelog = call.workspace.get("/changelogs", call.ids[0])
    channels = [name for name in ("email", "slack") if isinstance(call.body, dict) and call.body.get(name) is True]
    if not channels:
        raise invalid(("email", "Ask for e-mail or Slack."))
    subscribed = len(call.workspace.matching("/contacts", {"is_subscribed": "true"}))
    return 200, {"id": changelog["id"], "channels": channels, "recipients": subscribed if "email" in channels else 0}


def move_articles(call: Call) -> Answer:
    """``group_id`` must be there; null takes the articles out of their groups."""
    body = call.body if isinstance(call.body, dict) else {}
    ids, group = body.get("article_ids"), body.get("group_id")
    if not isinstance(ids, list) or not ids:
        raise invalid(("article_ids", "Expected a non-empty array."))
    if "group_id" not in body:
        raise invalid(("group_id", "Required; null takes the articles out of their groups."))
    if group is not None:
        call.workspace.get("/docs/groups", str(group))
    for article in [call.workspace.get("/docs/articles", str(one)) for one in ids]:
        article["group_id"] = group
    return 200, {"article_ids": ids, "group_id": group}


def delete_docs_group(call: Call) -> Answer:
    """Its articles are ungrouped, not deleted."""
    answered = call.workspace.delete("/docs/groups", call.ids[0])
    for article in call.workspace.matching("/docs/articles", {"group_id": call.ids[0]}):
        article["group_id"] = None
    return 200, answered


def create_draft(call: Call) -> Answer:
    """A draft is ``open`` to review once it is submitted, else ``draft``."""
    row = call.workspace.create("/docs/drafts", call.body)
    row["status"] = "open" if row["submit_for_review"] else "draft"
    return 201, row


def decide_draft(status: str) -> Callable[[Call], Answer]:
    """Accept or decline. Accepting what no longer applies is a 200 that says ``superseded`` and changes nothing."""

    def decide(call: Call) -> Answer:
        draft = call.workspace.get("/docs/drafts", call.ids[0])
        if draft["status"] not in ("draft", "open"):
            raise Failed(ErrorCode.CONFLICT, f"The draft is already {draft['status']}.")
        draft["status"] = status if status == "rejected" or _apply(call.workspace, draft) else "superseded"
        return 200, draft

    return decide


def _apply(workspace: Workspace, draft: Row) -> bool:
    written = {name: draft[name] for name in ("title", "content", "group_id") if draft[name] is not None}
    if draft["kind"] == "create":
        article = {"title": "Untitled", "content": "…", "group_id": "group_1"} | written
        draft["article_id"] = workspace.create("/docs/articles", article)["id"]
        return True
    if draft["article_id"] not in workspace.tables["/docs/articles"]:
        return False
    if draft["kind"] == "delete":
        workspace.delete("/docs/articles", draft["article_id"])
    else:
        workspace.update("/docs/articles", draft["article_id"], written)
    return True


def roadmap(call: Call) -> Answer:
    """What is visible to the public."""
    visible = {"is_visible": "true"}
    return 200, {
        "projects": call.workspace.matching("/projects", visible),
        "issues": call.workspace.matching("/issues", visible),
    }


def customer_portal(call: Call) -> Answer:
    """A contact's view: ``email`` is required, 404 for an unknown one."""
    _, contact = contact_by_email(call)
    return 200, {"contact": contact, "threads": call.workspace.matching("/threads", {"contact_id": contact["id"]})}


def import_one(call: Call) -> Answer:
    """201 with the stored file."""
    return 201, import_file(call.body, call.workspace)


def webhook(call: Call) -> Answer:
    """201 with the signing secret, which is shown this once. Nothing is ever delivered."""
    row = call.workspace.create("/webhooks", call.body)
    return 201, {**row, "secret": f"whsec_{row['id']}"}
