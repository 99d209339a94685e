"""The identity of a secret: the answer of ``GET /me``."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from gateway.core.policy import Policy
from gateway.core.secret import HeldSecrets


class NotAnIdentity(ValueError):
    """The body is not what ``GET /me`` answers."""


class Identity(NamedTuple):
    """The workspace and the scopes of a secret, with the whole body they were read from.

    Fields as two public clients give them: ``workspace_id``, ``api_key_id``, ``scopes``, ``linear_team_ids``,
    ``default_linear_team_id``; more are possible, so the body is kept.
    """

    workspace: str
    api_key_id: str
    scopes: frozenset[str]
    body: Mapping[str, Any]

    @classmethod
    def read(cls, body: bytes | str, secrets: HeldSecrets | None = None) -> Self:
        """Read the JSON body of ``GET /me``. Raises `NotAnIdentity`, also where it repeats one of ``secrets``.

        Secrets are searched in the decoded body: an escape in JSON would hide one from a search in the bytes.
        """
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise NotAnIdentity("not JSON") from error
        scopes = fields.get("scopes") if isinstance(fields, dict) else None
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise NotAnIdentity("no list of scopes")
        workspace, api_key_id = fields.get("workspace_id"), fields.get("api_key_id")
        if not isinstance(workspace, str) or not isinstance(api_key_id, str):
            raise NotAnIdentity("no workspace_id or api_key_id")
        if not "".join((workspace, api_key_id, *scopes)).isprintable():
            # JSON can name half a character (RFC 8259 section 8.2), which no metric can tell, and one that moves the
            # cursor of a terminal.
            raise NotAnIdentity("a name that cannot be printed")
        if secrets is not None and secrets.occur_in(fields):
            raise NotAnIdentity("it repeats a key, which must be neither kept nor shown")
        return cls(workspace, api_key_id, frozenset(scopes), fields)

    def as_seen_by(self, policy: Policy) -> dict[str, Any]:
        """The body with ``scopes`` cut to what this caller may use.

        Under audit a missing scope refuses nothing, so none is cut.
        """
        if policy.audit:
            return dict(self.body)
        return {**self.body, "scopes": [scope for scope in self.body["scopes"] if scope in policy.scopes]}
