"""`gateway.core.identity`: what ``GET /me`` says, and what of it a caller sees."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Identity, NotAnIdentity
from gateway.core.policy import Policy

BODY: dict[str, Any] = {
    "workspace_id": "wks_1",
    "api_key_id": "key_1",
    "scopes": ["threads:read", "contacts:read", "threads:write"],
    "linear_team_ids": ["t_1"],
    "default_linear_team_id": None,
    "newer": {"than": "the gateway"},
}


def without(name: str) -> dict[str, Any]:
    """The body with one field missing."""
    return {key: value for key, value in BODY.items() if key != name}


@pytest.mark.parametrize("body", [json.dumps(BODY), json.dumps(BODY).encode()], ids=["text", "bytes"])
def test_the_answer_of_me_is_read_whole(body: bytes | str) -> None:
    """Workspace, key id and scopes are known, and fields that are newer than the gateway are kept."""
    identity = Identity.read(body)

    assert "wks_1" == identity.workspace
    assert "key_1" == identity.api_key_id
    assert frozenset(BODY["scopes"]) == identity.scopes
    assert BODY == identity.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"\xff\xfe",
        b'{"scopes": [',
        b"[" * 100_000,
        b"null",
        b"[]",
        b'"scopes"',
        json.dumps(without("scopes")),
        json.dumps(without("workspace_id")),
        json.dumps(without("api_key_id")),
        json.dumps(BODY | {"scopes": None}),
        json.dumps(BODY | {"scopes": "admin"}),
        json.dumps(BODY | {"scopes": {"admin": True}}),
        json.dumps(BODY | {"scopes": ["admin", 1]}),
        json.dumps(BODY | {"workspace_id": None}),
        json.dumps(BODY | {"workspace_id": 1}),
        json.dumps(BODY | {"api_key_id": ["key_1"]}),
        json.dumps(BODY | {"workspace_id": "\x1b[2J"}),
        json.dumps(BODY | {"scopes": ["\x9b2J:read"]}),
        json.dumps(BODY | {"api_key_id": "key\n1"}),
    ],
)
def test_anything_else_is_not_an_identity(body: bytes | str) -> None:
    """A page of a CDN or half an answer is never taken for a key without scopes, nor for one with more."""
    with pytest.raises(NotAnIdentity):
        Identity.read(body)


def test_a_key_without_scopes_has_an_identity() -> None:
    """A key that carries no scope is known to carry none."""
    assert frozenset() == Identity.read(json.dumps(BODY | {"scopes": []})).scopes


@pytest.mark.parametrize(
    ("granted", "audit", "seen"),
    [
        pytest.param({"threads:read"}, False, ["threads:read"], id="cut to the grant"),
        pytest.param(
            {"threads:write", "threads:read"}, False, ["threads:read", "threads:write"], id="in the key's order"
        ),
        pytest.param({"docs:read"}, False, [], id="what the key lacks is not promised"),
        pytest.param(set(), False, [], id="no grant"),
        pytest.param({"threads:read"}, True, BODY["scopes"], id="audit refuses no scope"),
        pytest.param(set(), True, BODY["scopes"], id="audit without a grant"),
    ],
)
def test_a_caller_sees_the_scopes_it_can_use(granted: set[str], audit: bool, seen: list[str]) -> None:
    """``GET /me`` names exactly the scopes with which this caller gets through, and every other field unchanged."""
    identity = Identity.read(json.dumps(BODY))

    body = identity.as_seen_by(Policy("billing", frozenset(granted), audit=audit))

    assert BODY | {"scopes": seen} == body


def test_what_one_caller_sees_does_not_change_what_the_next_sees() -> None:
    """The cut is made for one answer; the identity itself stays as Productlane gave it."""
    identity = Identity.read(json.dumps(BODY))

    for audit in (True, False):
        identity.as_seen_by(Policy("billing", audit=audit))["api_key_id"] = "changed"

    assert BODY == identity.body


SCOPES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=5)


@given(st.lists(SCOPES), st.frozensets(SCOPES))
def test_no_one_sees_more_than_key_and_grant_share(held: list[str], granted: frozenset[str]) -> None:
    """The scopes seen are those that both the key carries and the policy grants, whatever they are called."""
    identity = Identity.read(json.dumps(BODY | {"scopes": held}))

    assert frozenset(held) & granted == frozenset(identity.as_seen_by(Policy("a", granted))["scopes"])
