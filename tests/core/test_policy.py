"""`gateway.core.policy`: the truth table of `decide`. Every field of a policy has a row that fails without it."""

from dataclasses import fields
from datetime import date, timedelta
from itertools import product

import pytest

from gateway.core.catalog import Catalog, Endpoint, Lane
from gateway.core.policy import Permit, Policy, decide, required_scopes
from gateway.core.refusal import Reason, Refused

TODAY = date(2026, 11, 24)

OPEN = Endpoint("GET", "/me", frozenset(), Lane.READ)
READ = Endpoint("GET", "/threads", frozenset({"threads:read"}), Lane.READ)
WRITE = Endpoint("POST", "/threads", frozenset({"threads:write"}), Lane.WRITE)
BOTH = Endpoint("GET", "/contacts/{id}/issues", frozenset({"contacts:read", "issues:read"}), Lane.READ)
MERGE = Endpoint("POST", "/companies/{id}/merge", frozenset({"companies:write"}), Lane.WRITE, guarded=True)

SCOPES = frozenset({"threads:read", "threads:write", "contacts:read", "issues:read", "companies:write"})


def grant(
    *scopes: str,
    endpoints: tuple[Endpoint, ...] = (),
    deny: tuple[Endpoint, ...] = (),
    audit: bool = False,
    expires: date | None = None,
) -> Policy:
    """A policy of the caller ``billing``."""
    return Policy("billing", frozenset(scopes), frozenset(endpoints), frozenset(deny), audit, expires)


def outcome(policy: Policy, endpoint: Endpoint) -> tuple[str, Reason]:
    """``allow``, ``would_deny`` or the code of the refusal, and the reason."""
    try:
        permit = decide(policy, endpoint, TODAY)
    except Refused as refused:
        return refused.code.value, refused.reason
    return "allow" if permit.would_deny is None else "would_deny", permit.would_deny or permit.reason


TABLE = [
    # Silence is no.
    (grant(), READ, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant(), MERGE, "forbidden", Reason.GUARDED),
    # An endpoint without scopes works for any key, so for any caller.
    (grant(), OPEN, "allow", Reason.ANY_KEY),
    # scopes
    (grant("threads:read"), READ, "allow", Reason.SCOPE_HELD),
    (grant("threads:read"), WRITE, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant("threads:write"), READ, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant("threads"), READ, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant("admin"), READ, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant("contacts:read"), BOTH, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant("issues:read"), BOTH, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant("contacts:read", "issues:read"), BOTH, "allow", Reason.SCOPE_HELD),
    # endpoints
    (grant(endpoints=(READ,)), READ, "allow", Reason.ENDPOINT_NAMED),
    (grant(endpoints=(READ,)), WRITE, "scope_required", Reason.SCOPE_NOT_GRANTED),
    (grant("threads:read", endpoints=(READ,)), READ, "allow", Reason.ENDPOINT_NAMED),
    # guarded: a scope alone never reaches it
    (grant("companies:write"), MERGE, "forbidden", Reason.GUARDED),
    (grant(*SCOPES), MERGE, "forbidden", Reason.GUARDED),
    (grant(endpoints=(MERGE,)), MERGE, "allow", Reason.ENDPOINT_NAMED),
    # deny wins over everything
    (grant(deny=(OPEN,)), OPEN, "forbidden", Reason.DENIED),
    (grant("threads:read", deny=(READ,)), READ, "forbidden", Reason.DENIED),
    (grant("threads:read", deny=(WRITE,)), READ, "allow", Reason.SCOPE_HELD),
    (grant(endpoints=(READ,), deny=(READ,)), READ, "forbidden", Reason.DENIED),
    (grant(endpoints=(MERGE,), deny=(MERGE,)), MERGE, "forbidden", Reason.DENIED),
    # audit forwards what lacks a scope, and counts it
    (grant(audit=True), READ, "would_deny", Reason.SCOPE_NOT_GRANTED),
    (grant("contacts:read", audit=True), BOTH, "would_deny", Reason.SCOPE_NOT_GRANTED),
    (grant("threads:read", audit=True), READ, "allow", Reason.SCOPE_HELD),
    (grant(endpoints=(MERGE,), audit=True), MERGE, "allow", Reason.ENDPOINT_NAMED),
    (grant(audit=True), OPEN, "allow", Reason.ANY_KEY),
    # what audit never lifts
    (grant(deny=(READ,), audit=True), READ, "forbidden", Reason.DENIED),
    (grant(audit=True), MERGE, "forbidden", Reason.GUARDED),
    (grant("companies:write", audit=True), MERGE, "forbidden", Reason.GUARDED),
    (grant("threads:read", audit=True, expires=TODAY), READ, "forbidden", Reason.EXPIRED),
    (grant(audit=True, expires=TODAY), READ, "forbidden", Reason.EXPIRED),
    # expires: the first day on which nothing is granted
    (grant("threads:read", expires=TODAY + timedelta(1)), READ, "allow", Reason.SCOPE_HELD),
    (grant("threads:read", expires=TODAY), READ, "forbidden", Reason.EXPIRED),
    (grant("threads:read", expires=TODAY - timedelta(1)), READ, "forbidden", Reason.EXPIRED),
    (grant(endpoints=(MERGE,), expires=TODAY), MERGE, "forbidden", Reason.EXPIRED),
    (grant(expires=TODAY), OPEN, "forbidden", Reason.EXPIRED),
    (grant(deny=(READ,), expires=TODAY), READ, "forbidden", Reason.EXPIRED),
]


@pytest.mark.parametrize(("policy", "endpoint", "verdict", "reason"), TABLE)
def test_the_decision_is_that_of_the_table(policy: Policy, endpoint: Endpoint, verdict: str, reason: Reason) -> None:
    """A caller may do what its policy names, and every refusal says which rule refused."""
    assert (verdict, reason) == outcome(policy, endpoint)


# How much a caller may send is counted elsewhere; it never changes what it may send.
AMOUNTS = {"reads", "writes", "weight"}


@pytest.mark.parametrize("name", [field.name for field in fields(Policy) if field.name not in {"caller", *AMOUNTS}])
def test_every_field_of_a_policy_decides_something(name: str) -> None:
    """No field of a policy is read and then forgotten: for each, some row of the table turns on it alone."""
    bare = Policy("billing")
    changed = [
        row
        for row in TABLE
        if outcome(
            Policy(**{f.name: getattr(bare if f.name == name else row[0], f.name) for f in fields(Policy)}), row[1]
        )
        != row[2:]
    ]

    assert changed


@pytest.mark.parametrize("audit", [False, True])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("denied", [False, True])
@pytest.mark.parametrize("expired", [False, True])
def test_the_whole_api_follows_one_formula(
    catalog: Catalog, audit: bool, named: bool, denied: bool, expired: bool
) -> None:
    """For each of the 99 endpoints and every mix of rules, the decision is what one line of logic says."""
    for endpoint, held in product(catalog.endpoints, (frozenset[str](), frozenset(catalog.scopes))):
        one = frozenset({endpoint})
        policy = Policy(
            "a", held, one if named else frozenset(), one if denied else frozenset(), audit, TODAY if expired else None
        )
        through = (
            not expired and not denied and (named or (not endpoint.guarded and (audit or endpoint.scopes <= held)))
        )
        missed = through and not named and not endpoint.scopes <= held

        assert ("would_deny" if missed else "allow" if through else "refused") == (
            found if (found := outcome(policy, endpoint)[0]) in {"allow", "would_deny"} else "refused"
        )


def test_a_permit_says_who_may_do_what_and_why() -> None:
    """What is counted and logged for an allowed request is what was judged."""
    assert Permit("billing", READ, Reason.SCOPE_HELD) == decide(grant("threads:read"), READ, TODAY)
    assert Permit("billing", READ, Reason.SCOPE_NOT_GRANTED, Reason.SCOPE_NOT_GRANTED) == decide(
        grant(audit=True), READ, TODAY
    )


def test_a_missing_scope_is_told_as_productlane_tells_it() -> None:
    """A client that reads ``details`` of `scope_required` finds what is needed and what its policy grants."""
    with pytest.raises(Refused) as caught:
        decide(grant("threads:read", "contacts:read"), BOTH, TODAY)

    assert "This endpoint requires the `contacts:read` and `issues:read` scopes." == caught.value.message
    assert {
        "required": ["contacts:read", "issues:read"],
        "granted": ["contacts:read", "threads:read"],
    } == caught.value.details
    assert "policy billing: does not grant issues:read; add it under `scopes`" == caught.value.note


def test_one_missing_scope_is_told_in_the_singular() -> None:
    """The sentence for one scope is the one of Productlane's documentation."""
    assert "This endpoint requires the `threads:write` scope." == required_scopes(WRITE)


@pytest.mark.parametrize(
    ("policy", "endpoint", "words"),
    [
        (grant(expires=date(2026, 1, 2)), READ, ["policy billing", "expires: 2026-01-02", "renew"]),
        (grant(deny=(READ,)), READ, ["policy billing", "`deny` names GET /threads"]),
        (grant(), MERGE, ["policy billing", "name POST /companies/{id}/merge under `endpoints`"]),
        (grant(), WRITE, ["policy billing", "does not grant threads:write", "`scopes`"]),
    ],
)
def test_the_note_names_the_rule_and_the_fix(policy: Policy, endpoint: Endpoint, words: list[str]) -> None:
    """Whoever reads `Proxy-Status` or the log knows which line of which policy to change."""
    with pytest.raises(Refused) as caught:
        decide(policy, endpoint, TODAY)

    assert [] == [word for word in words if word not in caught.value.note]


@pytest.mark.parametrize(("lane", "cap"), [(Lane.READ, 300), (Lane.WRITE, 10), (Lane.UPLOAD, 10)])
def test_a_cap_is_of_a_lane(lane: Lane, cap: int) -> None:
    """An upload counts as a write, and what a policy does not limit has no cap."""
    assert (cap, None) == (Policy("app", reads=300, writes=10).cap(lane), Policy("app").cap(lane))
