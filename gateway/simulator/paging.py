"""Pages of a list: ``{data, page: {cursor, has_more, limit}}``, newest first (the vendor's page on pagination)."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.simulator.errors import ErrorCode, Failed, invalid
from gateway.simulator.resources import Row

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
_PAGING: Final = ("limit", "cursor")


def page(rows: Sequence[Row], query: Mapping[str, str]) -> dict[str, Any]:
    """One page of rows that are already filtered and in order.

    A cursor names the row after which the page starts, so rows added or deleted meanwhile neither repeat nor hide
    others. It belongs to its filters. Raises `Failed`: 400 for the limit, 422 for a cursor that is not ours.
    """
    limit = _limit(query)
    start = _start(rows, query) if "cursor" in query else 0
    data = list(rows[start : start + limit])
    more = start + limit < len(rows)
    cursor = _cursor(data[-1], query) if more else None
    return {"data": data, "page": {"cursor": cursor, "has_more": more, "limit": limit}}


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        raise invalid(("limit", f"Expected a number from 1 to {MAX_LIMIT}."))
    return int(text)


def _filters(query: Mapping[str, str]) -> str:
    pairs = sorted((name, value) for name, value in query.items() if name not in _PAGING)
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]


def _cursor(last: Row, query: Mapping[str, str]) -> str:
    text = json.dumps([last["created_at"], last["id"], _filters(query)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _start(rows: Sequence[Row], query: Mapping[str, str]) -> int:
    text = query["cursor"]
    try:
        parts = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        created_at, row_id, filters = (str(part) for part in parts)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Failed(ErrorCode.UNPROCESSABLE, "The cursor is malformed.") from error
    if filters != _filters(query):
        raise Failed(ErrorCode.UNPROCESSABLE, "The cursor belongs to other filters.")
    keys = [(row["created_at"], row["id"]) for row in rows]
    last, ascending = (created_at, row_id), keys == sorted(keys)
    return sum(key <= last if ascending else key >= last for key in keys)
