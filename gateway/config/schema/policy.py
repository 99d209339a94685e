"""The fields of a policy file: one caller each.

A `Policy` here names scopes and endpoints, and `gateway.core.policy.Policy` has looked them up in a catalog. The core
has the rest of the fields in the form in which a decision asks for them; credentials go to `gateway.callers`.
"""

from datetime import date
from typing import Literal, TypeAlias, get_args

from gateway.callers.kinds import Authenticate
from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Whole, one_of
from gateway.config.reading.names import NAME
from gateway.config.reading.section import Record, Section, section, setting
from gateway.config.schema.kinds import DAY, ENDPOINT, SCOPE

Mode: TypeAlias = Literal["enforce", "audit"]
_A_MINUTE = Whole(1, 1_000_000)


class CallerLimits(Section):
    """Hard caps over any minute, of each replica or, with a Redis `store`, of all; past them the caller gets 429."""

    reads_per_minute: int | None = setting(_A_MINUTE, "Most GET and HEAD requests a minute.", default=None)
    writes_per_minute: int | None = setting(_A_MINUTE, "Most other requests a minute.", default=None)


class Policy(Section):
    """What one caller may do. Nothing is allowed that it does not name."""

    caller: str = setting(NAME, "Name of the caller, in logs, metrics and routes.")
    # Its keys are the rows of `KINDS`.
    authenticate: Section = setting(Record(Authenticate), "How this caller is identified. One of these is enough.")
    scopes: tuple[str, ...] = setting(
        Many(SCOPE, "scopes"), "Scopes of Productlane that the caller may use.", default=()
    )
    endpoints: tuple[str, ...] = setting(
        Many(ENDPOINT, "endpoints", once=False),
        "Single endpoints beyond the scopes; the only way to reach a guarded one.",
        default=(),
    )
    deny: tuple[str, ...] = setting(
        Many(ENDPOINT, "endpoints", once=False), "Endpoints that are refused, whatever else allows them.", default=()
    )
    mode: Mode = setting(
        one_of(get_args(Mode)),
        "`audit` forwards what scopes would refuse and reports it; deny and guarded hold all the same.",
        default="enforce",
    )
    expires: date | None = setting(DAY, "First day, in UTC, on which nothing is granted any more.", default=None)
    limits: CallerLimits = section(factory=CallerLimits)
    weight: int = setting(
        Whole(1, 1000), "Share of a key's rate budget, beside that of other callers that ask for it.", default=1
    )
