"""The data of one workspace, in memory: rows by collection, with their common rules."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.simulator.errors import absent, invalid
from gateway.simulator.paging import page
from gateway.simulator.resources import RESOURCES, Kind, Resource, Row

# A fixed day, so that every run starts with the same rows.
_FIRST_SECOND: Final = datetime(2026, 1, 5, 9, tzinfo=UTC).timestamp()
_OWN: Final = ("id", "created_at", "updated_at", "workspace_id")
_KIND_NAMES: Final = {str: "non-empty string", bool: "boolean", int: "integer", list: "array", dict: "object"}


class Workspace:
    """Rows that can be listed, read, created, changed and deleted. ``clock`` gives Unix seconds.

    Raises `Failed` wherever Productlane would answer with an error.
    """

    def __init__(self, workspace_id: str, clock: Callable[[], float]) -> None:
        self.id: Final = workspace_id
        self._clock = clock
        self._counts: dict[str, int] = {}
        self.tables: Final[dict[str, dict[str, Row]]] = {path: {} for path in RESOURCES}
        for resource in RESOURCES.values():
            parents = self.tables["/threads"] if resource.parent else ("",)
            for parent in parents:
                for n in range(1, resource.seeds + 1):
                    self._seed(resource, n, parent)

    def rows(self, path: str, query: Mapping[str, str], parent: str = "") -> dict[str, Any]:
        """A list's answer; an unpaged one is ``{data}`` with everything."""
        resource = RESOURCES[path]
        found = self.matching(path, query, parent)
        if not resource.paged:
            return {"data": [self.view(path, row) for row in found]}
        answer = page(found, query)
        return {**answer, "data": [self.view(path, row) for row in answer["data"]]}

    def matching(self, path: str, query: Mapping[str, str], parent: str = "") -> list[Row]:
        """The rows that fit the filters, in the list's order: ``created_at`` then ``id``, the newest first."""
        resource = RESOURCES[path]
        # Only a conversation takes `order`, and it starts with the oldest.
        order = query.get("order", "asc") if resource.oldest_first else "desc"
        if order not in ("asc", "desc"):
            raise invalid(("order", "Expected asc or desc."))
        found = [
            row for row in self.tables[path].values() if row.get(resource.parent, "") == parent and fits(row, query)
        ]
        return sorted(found, key=lambda row: (row["created_at"], row["id"]), reverse=order == "desc")

    def get(self, path: str, row_id: str, parent: str = "") -> Row:
        """The row itself, to read or to change."""
        resource = RESOURCES[path]
        row = self.tables[path].get(row_id)
        if row is None or row.get(resource.parent, "") != parent:
            raise absent(resource.prefix.capitalize())
        return row

    def create(self, path: str, body: Any, parent: str = "") -> Row:
        """A new row from a request's body. Fields that the simulator does not know are kept as they came."""
        resource = RESOURCES[path]
        fields = checked(resource, body, creating=True)
        return self._insert(resource, fields, self._now(), parent)

    def update(self, path: str, row_id: str, body: Any, parent: str = "") -> Row:
        """Change the fields that the body names; null is a value like any other."""
        row = self.get(path, row_id, parent)
        row.update(checked(RESOURCES[path], body, creating=False), updated_at=self._now())
        return row

    def delete(self, path: str, row_id: str, parent: str = "") -> dict[str, Any]:
        """``{id, deleted: true}``; the row is not found from then on."""
        self.get(path, row_id, parent)
        del self.tables[path][row_id]
        return {"id": row_id, "deleted": True}

    def view(self, path: str, row: Row) -> Row:
        """The row as it is answered: a thread embeds its contact and company, whatever the key's scopes."""
        if path != "/threads":
            return dict(row)
        contact, company = row.get("contact_id") or "", row.get("company_id") or ""
        return {
            **row,
            "contact": self.tables["/contacts"].get(contact),
            "company": self.tables["/companies"].get(company),
        }

    def stamp(self, prefix: str) -> Row:
        """The fields that every row has, for things that are in no collection."""
        self._counts[prefix] = n = self._counts.get(prefix, 0) + 1
        return {"id": f"{prefix}_{n}", "created_at": self._now(), "workspace_id": self.id}

    def _seed(self, resource: Resource, n: int, parent: str) -> None:
        # Rows come two to a second, so that the order by id is needed as well.
        made = _FIRST_SECOND + 3600 * (n // 2)
        self._insert(resource, resource.seed(n), _iso(made), parent)

    def _insert(self, resource: Resource, fields: Row, now: str, parent: str) -> Row:
        self._counts[resource.prefix] = n = self._counts.get(resource.prefix, 0) + 1
        row_id = f"{resource.prefix}_{n}"
        row: Row = {"id": row_id, "created_at": now, "updated_at": now, "workspace_id": self.id}
        row |= dict.fromkeys([*resource.required, *resource.optional])
        if resource.parent:
            row[resource.parent] = parent
        self.tables[resource.path][row_id] = row | fields
        return self.tables[resource.path][row_id]

    def _now(self) -> str:
        return _iso(self._clock())


def checked(resource: Resource, body: Any, *, creating: bool) -> Row:
    """The writable fields of a body. Raises 400 ``validation_failed`` that names every wrong one."""
    if not isinstance(body, dict):
        raise invalid(("", "Expected a JSON object."))
    problems = [(name, "Required.") for name in resource.required if creating and body.get(name) is None]
    for name, kind in (*resource.required.items(), *resource.optional.items()):
        value = body.get(name)
        if value is not None and not _is(value, kind):
            wanted = " or ".join(kind) if isinstance(kind, tuple) else _KIND_NAMES[kind]
            problems.append((name, f"Expected {wanted}."))
    if problems:
        raise invalid(*problems)
    return {name: value for name, value in body.items() if name not in (*_OWN, resource.parent)}


def fits(row: Row, query: Mapping[str, str]) -> bool:
    """Whether a row passes a list's filters; a filter that names no field of the row is ignored."""
    return all(_passes(row, name, wanted) for name, wanted in query.items())


def _passes(row: Row, name: str, wanted: str) -> bool:
    stem, _, how = name.rpartition("_")
    if how == "contains":
        return wanted.lower() in str(row.get(stem) or "").lower()
    if how in ("after", "before") and f"{stem}_at" in row:
        moment = str(row[f"{stem}_at"])
        return moment > wanted if how == "after" else moment < wanted
    if name in row:
        return wanted == _spelt(row[name])
    if f"{name}s" in row:
        many = row[f"{name}s"] or ()
        return wanted in (many.values() if isinstance(many, dict) else many)
    return True


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is(value: Any, kind: Kind) -> bool:
    if isinstance(kind, tuple):
        return value in kind
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) and value != ""


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
