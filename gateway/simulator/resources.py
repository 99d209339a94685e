"""The collections of the API: which fields a row takes, which a new one needs, and its first rows.

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
VISIBILITIES: Final = ("public", "agent", "internal", "unlisted")
ROLES: Final = ("ADMIN", "USER", "VIEWER")
TEAM: Final = "team_1"
_COMPANIES: Final = ("Acme", "Globex", "Initech", "Umbra", "Hooli", "Vandelay", "Stark", "Wayne", "Tyrell", "Cyberdyne")
_PEOPLE: Final = ("Ada", "Ben", "Chloe", "Dan", "Eve", "Finn", "Grace", "Hugo", "Iris", "Jon", "Kim", "Leo")


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection. Placeholders of ``path`` are ``{}``; a row of a nested one holds its parent's id in ``parent``.

    ``fields`` are those that may be written, with their kinds: a type (text is never empty) or the allowed words.
    ``seed`` gives the fields of the n-th first row, from 1, and ``seeds`` says how many there are (for each parent).
    """

    path: str
    prefix: str
    fields: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    seed: Callable[[int], Row] = field(default=lambda _: {})
    seeds: int = 0
    paged: bool = True
    oldest_first: bool = False
    parent: str = ""


def _thread(n: int) -> Row:
    status = STATUSES[n % 3]
    return {
        "title": f"Feedback {n}",
        "text": f"<p>Feedback number {n}</p>",
        "pain_level": PAIN[n % 4],
        "status": status,
        "origin": ("email", "slack", "in_app")[n % 3],
        "contact_id": f"contact_{n % 60 + 1}",
        "company_id": f"company_{n % 25 + 1}",
        "assignee_id": f"member_{n % 5 + 1}",
        "tag_ids": [f"tag_{n % 14 + 1}"],
        "is_read": n % 2 == 0,
    }


def _contact(n: int) -> Row:
    name = _PEOPLE[n % len(_PEOPLE)]
    company = n % 25 + 1
    return {
        "email": f"{name.lower()}.{n}@example.com",
        "name": f"{name} Example",
        "is_subscribed": n % 4 != 0,
        "company_id": f"company_{company}",
        "company_ids": [f"company_{company}"],
    }


def _company(n: int) -> Row:
    name = f"{_COMPANIES[n % len(_COMPANIES)]} {n}"
    slug = name.lower().replace(" ", "-")
    return {"name": name, "domains": [f"{slug}.example"], "external_ids": {"hubspot": f"hs_{n}"}, "size": n * 10}


def _project(n: int) -> Row:
    state = ("planned", "started", "completed")[n % 3]
    return {
        "name": f"Project {n}",
        "team_id": TEAM,
        "state": state,
        "is_visible": n % 2 == 0,
        "total_score": n * 7 % 11,
    }


def _issue(n: int) -> Row:
    return {
        "title": f"Issue {n}",
        "team_id": TEAM,
        "state_id": f"state_{n % 4 + 1}",
        "priority": n % 5,
        "project_id": f"project_{n % 12 + 1}",
        "is_visible": n % 2 == 0,
        "total_score": n * 5 % 17,
    }


def _article(n: int) -> Row:
    return {
        "title": f"How to {n}",
        "content": f"# How to {n}\n\nRead this first.",
        "group_id": f"group_{n % 4 + 1}",
        "published": n % 3 != 0,
        "visibility": VISIBILITIES[n % 4],
    }


def _draft(n: int) -> Row:
    return {"kind": "edit", "article_id": f"article_{n}", "title": f"Better {n}", "content": "…", "status": "open"}


_TABLE: Final = (
    Resource(
        "/threads",
        "thread",
        {
            "text": str, "contact_email": str, "title": str, "pain_level": PAIN, "status": STATUSES, "origin": str,
            "contact_name": str, "assignee_id": str, "contact_id": str, "company_id": str, "project_id": str,
            "issue_id": str, "tag_ids": list, "external_ids": dict, "snoozed_until": str, "notify": dict,
            "is_read": bool, "closed_loop": bool,
        },
        ("text", "contact_email"), _thread, 120,
    ),
    Resource(
        "/threads/{}/messages",
        "message",
        {"content": str, "cc": list, "bcc": list, "attachments": list, "channel_id": str, "author": dict,
         "channel": str, "direction": str},
        ("content",), lambda n: {"content": f"<p>Message {n}</p>", "channel": "email", "direction": "inbound"}, 4,
        oldest_first=True, parent="thread_id",
    ),
    Resource(
        "/threads/{}/comments", "comment", {"content": str, "attachments": list}, ("content",),
        lambda n: {"content": f"Internal note {n}"}, 2, parent="thread_id",
    ),
    Resource(
        "/threads/{}/customer-needs", "need", {"issue_ids": list, "project_ids": list, "priority": int},
        parent="thread_id",
    ),
    Resource(
        "/contacts",
        "contact",
        {"email": str, "name": str, "image_url": str, "is_subscribed": bool, "external_ids": dict, "company_id": str,
         "company_name": str, "company_external_id": str, "company_ids": list},
        ("email",), _contact, 60,
    ),
    Resource(
        "/contacts/blocked-senders", "blocked", {"type": ("EMAIL", "DOMAIN"), "value": str}, ("type", "value"),
        lambda n: {"type": "DOMAIN", "value": f"spam-{n}.example"}, 3,
    ),
    Resource(
        "/companies", "company",
        {"name": str, "domains": list, "external_ids": dict, "size": int, "revenue": int, "logo_url": str,
         "status_id": str, "tier_id": str, "owner_id": str},
        ("name",), _company, 25,
    ),
    Resource(
        "/projects", "project",
        {"name": str, "team_id": str, "description": str, "icon": str, "color": str, "state": str,
         "linear_status_id": str, "is_visible": bool, "total_score": int},
        ("name", "team_id"), _project, 12,
    ),
    Resource(
        "/projects/statuses", "status", {}, seeds=3, paged=False,
        seed=lambda n: {"name": ("Planned", "In progress", "Completed")[n - 1]},
    ),
    Resource(
        "/issues", "issue",
        {"title": str, "team_id": str, "state_id": str, "priority": int, "description": str, "project_id": str,
         "assignee_id": str, "label_ids": list, "is_visible": bool, "total_score": int},
        ("title", "team_id", "state_id", "priority"), _issue, 30,
    ),
    Resource(
        "/issues/workflow-states", "state", {}, seeds=4, paged=False,
        seed=lambda n: {"name": ("Backlog", "Todo", "In progress", "Done")[n - 1], "team_id": TEAM},
    ),
    Resource(
        "/tags", "tag", {"name": str, "color": str, "icon": str, "tag_group_id": str},
        ("name", "color", "icon", "tag_group_id"),
        lambda n: {"name": f"tag-{n}", "color": "#336699", "icon": "Tag", "tag_group_id": f"taggroup_{n % 3 + 1}"}, 14,
    ),
    Resource(
        "/tags/groups", "taggroup", {"name": str, "color": str}, ("name", "color"),
        lambda n: {"name": f"Group {n}", "color": "#993366"}, 4,  # the last one is empty
    ),
    Resource(
        "/snippets", "snippet", {"title": str, "html": str, "folder_id": str}, ("title", "html"),
        lambda n: {"title": f"Reply {n}", "html": "<p>Thank you.</p>", "folder_id": f"folder_{n % 3 + 1}"}, 8,
    ),
    Resource("/snippets/folders", "folder", {}, seed=lambda n: {"name": f"Folder {n}"}, seeds=3),
    Resource(
        "/changelogs", "changelog",
        {"title": str, "content": str, "date": str, "published": bool, "archived": bool, "image_url": str,
         "portal_instance_id": str, "language": str, "tag_ids": list},
        ("title", "content"),
        lambda n: {"title": f"Release {n}", "content": f"New in {n}", "published": n % 2 == 0, "tag_ids": []}, 12,
    ),
    Resource(
        "/changelog-tags", "changelogtag", {"name": str, "color": str, "icon": str}, ("name",),
        lambda n: {"name": ("New", "Fixed", "Improved", "Beta")[n - 1], "color": "#669933"}, 4, paged=False,
    ),
    Resource(
        "/docs/articles", "article",
        {"title": str, "content": str, "group_id": str, "summary": str, "portal_instance_id": str, "published": bool,
         "visibility": VISIBILITIES, "icon": str, "language": str, "archived": bool, "show_on_home_page": bool,
         "allow_image_removal": bool},
        ("title", "content", "group_id"), _article, 20,
    ),
    Resource(
        "/docs/groups", "group", {"name": str, "order": int, "portal_instance_id": str}, ("name",),
        lambda n: {"name": f"Chapter {n}", "order": n}, 4, paged=False,
    ),
    Resource(
        "/docs/drafts", "draft",
        {"kind": ("edit", "create", "delete"), "article_id": str, "title": str, "content": str, "group_id": str,
         "allow_image_removal": bool, "submit_for_review": bool, "status": str},
        ("kind",), _draft, 5,
    ),
    Resource(
        "/portal/instances", "portal", {}, seeds=2, paged=False,
        seed=lambda n: {"name": f"Portal {n}", "slug": f"portal-{n}"},
    ),
    Resource(
        "/members", "member", {"role": ROLES}, (),
        lambda n: {"name": f"Member {n}", "email": f"member{n}@example.com", "role": ROLES[n > 1]}, 5,
    ),
    Resource(
        "/members/invites", "invite", {"email": str, "role": ROLES}, ("email",),
        lambda n: {"email": f"invited{n}@example.com", "role": "USER"}, 2,
    ),
    Resource("/webhooks", "webhook", {"url": str, "label": str, "events": list}, ("url", "events")),
)  # fmt: skip

RESOURCES: Final[Mapping[str, Resource]] = MappingProxyType({resource.path: resource for resource in _TABLE})
