"""Threads and contacts: the endpoints among them that are more than a row of a collection."""

from collections.abc import Callable

from gateway.simulator.call import Answer, Call
from gateway.simulator.errors import ErrorCode, Failed, absent, invalid
from gateway.simulator.paging import page
from gateway.simulator.resources import RESOURCES, Row
from gateway.simulator.workspace import checked


def threads(call: Call) -> Answer:
    """The tabs ``my`` and ``needs-response`` are 422 for a key that is not tied to a user."""
    tab, query = call.query.get("tab"), dict(call.query)
    if tab in ("my", "needs-response"):
        # The vendor says that these need a key tied to a user, not how it refuses others; the request is well-formed.
        if not call.key.user_bound:
            raise Failed(ErrorCode.UNPROCESSABLE, f"The tab {tab} needs a key that is tied to a user.")
        query["assignee_id"] = "member_1"
    return 200, call.workspace.rows("/threads", query)


def create_thread(call: Call) -> Answer:
    """Makes the contact as well where its address is new, without any contacts scope."""
    row = call.workspace.create("/threads", call.body)
    email = row.pop("contact_email")
    known = call.workspace.matching("/contacts", {"email": email})
    contact = known[0] if known else call.workspace.create("/contacts", {"email": email, "name": row["contact_name"]})
    row |= {"contact_id": contact["id"], "status": row["status"] or "open", "tag_ids": row["tag_ids"] or []}
    return 201, call.workspace.view("/threads", row)


def get_thread(call: Call) -> Answer:
    """``expand=messages,comments`` holds both lists in the thread."""
    view = call.workspace.view("/threads", call.workspace.get("/threads", call.ids[0]))
    # Values that are not known are ignored, a client of the vendor's API says.
    for name in {"messages", "comments"} & set(call.query.get("expand", "").split(",")):
        view[name] = call.workspace.matching(f"/threads/{{}}/{name}", {}, call.ids[0])
    return 200, view


def update_thread(call: Call) -> Answer:
    """409 for closing what is closed."""
    row = call.workspace.get("/threads", call.ids[0])
    closing = isinstance(call.body, dict) and call.body.get("status") == "done"
    if closing and row["status"] == "done":
        raise Failed(ErrorCode.CONFLICT, "The thread is already closed.")
    return 200, call.workspace.view("/threads", call.workspace.update("/threads", call.ids[0], call.body))


def send_message(call: Call) -> Answer:
    """201 with id, thread and channel, which follows from the origin of the thread."""
    thread = call.workspace.get("/threads", call.ids[0])
    row = call.workspace.create("/threads/{}/messages", call.body, thread["id"])
    row |= {"channel": "slack" if thread["origin"] == "slack" else "email", "direction": "outbound"}
    return 201, {"id": row["id"], "thread_id": thread["id"], "channel": row["channel"]}


def customer_need(call: Call) -> Answer:
    """Links a thread to issues and projects; at least one, and each must exist."""
    thread = call.workspace.get("/threads", call.ids[0])
    need = checked(RESOURCES["/threads/{}/customer-needs"], call.body, creating=True)
    linked = [("/issues", one) for one in need.get("issue_ids") or ()]
    linked += [("/projects", one) for one in need.get("project_ids") or ()]
    if not linked:
        raise invalid(("issue_ids", "Name at least one issue or project."))
    for path, row_id in linked:
        call.workspace.get(path, str(row_id))
    return 201, call.workspace.create("/threads/{}/customer-needs", call.body, thread["id"])


def create_contact(call: Call) -> Answer:
    """409 where the address is taken; the company is named in one way only."""
    fields = checked(RESOURCES["/contacts"], call.body, creating=True)
    if call.workspace.matching("/contacts", {"email": fields["email"]}):
        raise Failed(ErrorCode.CONFLICT, "A contact with this e-mail address exists.")
    company = _company(call, fields)
    row = call.workspace.create("/contacts", fields)
    row |= {"company_id": company and company["id"], "company_ids": [company["id"]] if company else []}
    return 201, row


def _company(call: Call, fields: Row) -> Row | None:
    """The company that a body names by id, name or external id; these exclude one another."""
    names = [name for name in ("company_id", "company_name", "company_external_id") if fields.get(name) is not None]
    if len(names) > 1:
        raise invalid(*((name, "Name the company in one way only.") for name in names))
    if not names:
        return None
    value = str(fields[names[0]])
    if names == ["company_id"]:
        return call.workspace.get("/companies", value)
    field = {"company_name": "name", "company_external_id": "external_id"}[names[0]]
    found = call.workspace.matching("/companies", {field: value})
    if not found and field == "name":
        return call.workspace.create("/companies", {"name": value})
    if not found:
        raise absent("Company")
    return found[0]


def contact_by_email(call: Call) -> Answer:
    """One contact, by ``?email=``."""
    if not call.query.get("email"):
        raise invalid(("email", "Required."))
    found = call.workspace.matching("/contacts", {"email": call.query["email"]})
    if not found:
        raise absent("Contact")
    return 200, found[0]


def contact_companies(call: Call) -> Answer:
    """All of them, unpaged, the primary one first."""
    ids = call.workspace.get("/contacts", call.ids[0])["company_ids"] or []
    companies = call.workspace.tables["/companies"]
    return 200, {"data": [companies[one] for one in ids if one in companies]}


def add_contact_company(call: Call) -> Answer:
    """Idempotent; the first company becomes the primary one."""
    contact = call.workspace.get("/contacts", call.ids[0])
    company = _company(call, checked(RESOURCES["/contacts"], call.body, creating=False))
    if company is None:
        raise invalid(("company_id", "Required."))
    contact["company_ids"] = list(dict.fromkeys([*(contact["company_ids"] or ()), company["id"]]))
    contact["company_id"] = contact["company_ids"][0]
    return 201, company


def remove_contact_company(call: Call) -> Answer:
    """The next company becomes the primary one."""
    contact = call.workspace.get("/contacts", call.ids[0])
    if call.ids[1] not in (contact["company_ids"] or ()):
        raise absent("Company")
    contact["company_ids"].remove(call.ids[1])
    contact["company_id"] = next(iter(contact["company_ids"]), None)
    return 200, {"id": call.ids[1], "deleted": True}


def linked(path: str, field: str) -> Callable[[Call], Answer]:
    """The issues or projects that the contact's threads are linked to."""

    def answer(call: Call) -> Answer:
        contact = call.workspace.get("/contacts", call.ids[0])["id"]
        threads = {row["id"] for row in call.workspace.matching("/threads", {"contact_id": contact})}
        needs = call.workspace.tables["/threads/{}/customer-needs"].values()
        ids = {one for need in needs if need["thread_id"] in threads for one in need[field] or ()}
        return 200, page([row for row in call.workspace.matching(path, {}) if row["id"] in ids], call.query)

    return answer
