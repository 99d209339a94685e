"""The collections of the API: the fields that are checked, those that a new row needs, and the first rows.

Field names come from the vendor's pages where those show them and else from public clients; most response fields are
seen nowhere, so a row shows its fields under the names by which they are written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

Kind = type | tuple[str, ...]
Row = dict[str, Any]

PAIN: Final = ("UNKNOWN", "LOW", "MEDIUM", "HIGH")
STATUSES: Final = ("open", "snoozed", "done")
ROLES: Final = ("ADMIN", "USER", "VIEWER")
TEAM: Final = "team_1"
_COMPANIES: Final = ("Acme", "Globex", "Initech", "Umbra", "Hooli", "Vandelay", "Stark", "Wayne", "Tyrell", "Cyberdyne")
_PEOPLE: Final = ("Ada", "Ben", "Chloe", "Dan", "Eve", "Finn", "Grace", "Hugo", "Iris", "Jon", "Kim", "Leo")


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection. Placeholders of ``path`` are ``{}``; a row of a nested one holds its parent's id in ``parent``.

    ``required`` and ``optional`` give the kinds of fields: a type (text is never empty) or the allowed words. Other
    fields are kept as they come. ``seed`` gives the n-th first row, from 1; there are ``seeds`` (for each parent).
    """

    path: str
    prefix: str
    required: Mapping[str, Kind] = field(default_factory=dict)
    seeds: int = 0
    seed: Callable[[int], Row] = field(default=lambda _: {})
    optional: Mapping[str, Kind] = field(default_factory=dict)
    paged: bool = True
    oldest_first: bool = False
    parent: str = ""


def _thread(n: int) -> Row:
    return {
        "title": f"Feedback {n}",
        "text": f"<p>Feedback number {n}</p>",
        "pain_level": PAIN[n % 4],
        "status": STATUSES[n % 3],
        "origin": ("email", "slack", "in_app")[n % 3],
        "contact_id": f"contact_{n % 60 + 1}",
        "company_id": f"company_{n % 25 + 1}",
        "assignee_id": f"member_{n % 5 + 1}",
        "tag_ids": [f"tag_{n % 14 + 1}"],
        "is_read": n % 2 == 0,
    }


def _contact(n: int) -> Row:
    name, email = _PEOPLE[n % len(_PEOPLE)], f"{_PEOPLE[n % len(_PEOPLE)].lower()}.{n}@example.com"
    return {"email": email, "name": f"{name} Example", "company_id": f"company_{n % 25 + 1}"}


def _company(n: int) -> Row:
    name = f"{_COMPANIES[n % len(_COMPANIES)]} {n}"
    slug = name.lower().replace(" ", "-")
    return {"name": name, "domains": [f"{slug}.example"], "external_ids": {"hubspot": f"hs_{n}"}, "size": n * 10}


_TABLE: Final = (
    Resource(
        "/threads", "thread", {"text": str, "contact_email": str}, 120, _thread,
        optional={"title": str, "pain_level": PAIN, "status": STATUSES, "contact_name": str, "tag_ids": list},
    ),
    Resource(
        "/threads/{}/messages", "message", {"content": str}, 4,
        lambda n: {"content": f"<p>Message {n}</p>", "channel": "email", "direction": "inbound"},
        oldest_first=True, parent="thread_id",
    ),
    Resource(
        "/threads/{}/comments", "comment", {"content": str}, 2, lambda n: {"content": f"Internal note {n}"},
        parent="thread_id",
    ),
    Resource("/contacts", "contact", {"email": str}, 60, _contact, optional={"name": str, "company_id": str}),
    Resource(
        "/contacts/blocked-senders", "blocked", {"type": ("EMAIL", "DOMAIN"), "value": str}, 3,
        lambda n: {"type": "DOMAIN", "value": f"spam-{n}.example"},
    ),
    Resource("/companies", "company", {"name": str}, 25, _company, optional={"domains": list, "size": int}),
    Resource(
        "/projects", "project", {"name": str, "team_id": str}, 12,
        lambda n: {"name": f"Project {n}", "team_id": TEAM, "state": ("planned", "started", "completed")[n % 3]},
    ),
    Resource(
        "/projects/statuses", "status", seeds=3, paged=False,
        seed=lambda n: {"name": ("Planned", "In progress", "Completed")[n - 1]},
    ),
    Resource(
        "/issues", "issue", {"title": str, "team_id": str, "state_id": str, "priority": int}, 30,
        lambda n: {"title": f"Issue {n}", "team_id": TEAM, "state_id": f"state_{n % 4 + 1}", "priority": n % 5},
    ),
    Resource(
        "/issues/workflow-states", "state", seeds=4, paged=False,
        seed=lambda n: {"name": ("Backlog", "Todo", "In progress", "Done")[n - 1], "team_id": TEAM},
    ),
    Resource(
        "/tags", "tag", {"name": str, "color": str, "icon": str, "tag_group_id": str}, 14,
        lambda n: {"name": f"tag-{n}", "color": "#336699", "icon": "Tag", "tag_group_id": f"taggroup_{n % 3 + 1}"},
    ),
    Resource(
        "/tags/groups", "taggroup", {"name": str, "color": str}, 4,
        lambda n: {"name": f"Group {n}", "color": "#993366"},
    ),
    Resource(
        "/snippets", "snippet", {"title": str, "html": str}, 8,
        lambda n: {"title": f"Reply {n}", "html": "<p>Thank you.</p>", "folder_id": f"folder_{n % 3 + 1}"},
    ),
    Resource("/snippets/folders", "folder", seeds=3, seed=lambda n: {"name": f"Folder {n}"}),
    Resource(
        "/changelogs", "changelog", {"title": str, "content": str}, 12,
        lambda n: {"title": f"Release {n}", "content": f"New in {n}", "published": n % 2 == 0, "tag_ids": []},
    ),
    Resource(
        "/changelog-tags", "changelogtag", {"name": str}, 4,
        lambda n: {"name": ("New", "Fixed", "Improved", "Beta")[n - 1], "color": "#669933"}, paged=False,
    ),
    Resource(
        "/docs/articles", "article", {"title": str, "content": str, "group_id": str}, 20,
        lambda n: {"title": f"How to {n}", "content": f"# How to {n}", "group_id": f"group_{n % 4 + 1}"},
    ),
    Resource(
        "/docs/groups", "group", {"name": str}, 4, lambda n: {"name": f"Chapter {n}", "order": n}, paged=False,
    ),
    Resource(
        "/docs/drafts", "draft", {"kind": ("edit", "create", "delete")}, 5,
        lambda n: {"kind": "edit", "article_id": f"article_{n}", "title": f"Better {n}", "status": "open"},
    ),
    Resource(
        "/portal/instances", "portal", seeds=2, paged=False,
        seed=lambda n: {"name": f"Portal {n}", "slug": f"portal-{n}"},
    ),
    Resource(
        "/members", "member", seeds=5, optional={"role": ROLES},
        seed=lambda n: {"name": f"Member {n}", "email": f"member{n}@example.com", "role": ROLES[n > 1]},
    ),
    Resource(
        "/members/invites", "invite", {"email": str}, 2,
        lambda n: {"email": f"invited{n}@example.com", "role": "USER"}, optional={"role": ROLES},
    ),
    Resource("/webhooks", "webhook", {"url": str, "events": list}, optional={"label": str}),
)  # fmt: skip

RESOURCES: Final[Mapping[str, Resource]] = MappingProxyType({resource.path: resource for resource in _TABLE})
