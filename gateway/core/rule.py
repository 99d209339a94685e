"""A rule of the decision: the request it looks at, when it decides, and its words."""

from collections.abc import Callable, Mapping
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.core.catalog import EMPTY, Catalog, Endpoint
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.routing import Route, Standing
from gateway.core.target import NO_TARGET, Target


class Ask(NamedTuple):
    """Everything that the rules look at: a caller's request, with its endpoint, route and keys.

    ``endpoint`` is `NOWHERE` where the catalog has none, and ``route`` is None where no route covers it. ``today`` is
    in UTC. ``standings`` are the keys of the route, None as long as nobody has looked at them.
    """

    policy: Policy
    endpoint: Endpoint
    today: date
    target: Target = NO_TARGET
    catalog: Catalog = EMPTY
    route: Route | None = None
    standings: Mapping[str, Standing] | None = None


class Stage(StrEnum):
    """The stages of a decision, in order. The first rule of a stage that decides ends the stage."""

    TARGET = "target"
    CALLER = "caller"
    CATALOG = "catalog"
    POLICY = "policy"
    ROUTE = "route"
    KEY = "key"


class Words(NamedTuple):
    """The words of a rule that decides.

    ``decided_by`` names the setting and ``why`` the cause. ``message`` is the sentence for the caller, ``fix`` what
    would change the outcome, as an imperative clause; both are empty where the rule allows.
    """

    decided_by: str
    why: str
    message: str = ""
    fix: str = ""
    details: Mapping[str, Any] | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Rule(NamedTuple):
    """One row of the table. ``code`` is None where the rule allows. ``summary`` says when it decides, for people.

    ``decides`` makes no text; ``says`` and ``passes`` (why it does not decide) are called only for a reader.
    """

    name: str
    stage: Stage
    reason: Reason
    code: Code | None
    summary: str
    decides: Callable[[Ask], bool]
    says: Callable[[Ask], Words]
    passes: Callable[[Ask], str]

    @property
    def allows(self) -> bool:
        return self.code is None

    @property
    def would_deny(self) -> bool:
        """Whether the request is let through by ``mode: audit`` alone."""
        return self.code is None and self.reason is Reason.SCOPE_NOT_GRANTED

    def refusal(self, ask: Ask) -> Refused:
        """The refusal of an ask that this rule has decided against."""
        assert self.code is not None  # noqa: S101 - a rule that allows refuses nothing
        words = self.says(ask)
        return Refused(
            self.code,
            self.reason,
            words.message,
            note=words.why,
            fix=words.fix,
            decided_by=words.decided_by,
            details=words.details,
            headers=words.headers,
        )
