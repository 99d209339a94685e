"""`gateway.core.decision`: its truth table, its permit and its trace. Every field of a policy has a row of its own."""

from datetime import date, timedelta
from itertools import product

import pytest

from gateway.core.catalog import Catalog, Endpoint, Lane
from gateway.core.decision import (
    Permit,
    ask,
    audit_note,
    decide,
    final_rule,
    granted,
    ruling,
    trace,
    trace_unread,
)
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.routing import Route, Routes, Standing
from gateway.core.rule import Ask, Rule, Stage
from gateway.core.rules import RULES
from gateway.core.target import read_target
from gateway.core.words import required_scopes

TODAY = date(2026, 11, 24)
ROUTE = Route("/**", ("k",))
READER = Policy("billing", frozenset({"companies:read", "threads:read"}))
COMPANIES = Route("/companies/**", ("k",))

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
    rule = granted(policy, endpoint, TODAY)
    verdict = rule.code.value if rule.code is not None else "would_deny" if rule.would_deny else "allow"
    return verdict, rule.reason


def decided(policy: Policy, endpoint: Endpoint, route: Route | None = ROUTE) -> Permit:
    """The decision about an endpoint. Raises `Refused`."""
    return decide(Ask(policy, endpoint, TODAY, route=route))


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


# Limits are counted elsewhere and never change a decision.
AMOUNTS = {"reads", "writes", "weight"}
# The contact in a message never changes a decision either.
WORDS = {"variable"}


@pytest.mark.parametrize("name", [name for name in Policy._fields if name not in {"caller", *AMOUNTS, *WORDS}])
def test_every_field_of_a_policy_decides_something(name: str) -> None:
    """No field of a policy is read and then forgotten: for each, some row of the table turns on it alone."""
    bare = Policy("billing")
    changed = [row for row in TABLE if outcome(row[0]._replace(**{name: getattr(bare, name)}), row[1]) != row[2:]]

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
    """Metrics and log show the judged endpoint of an allowed request."""
    held, audited = decided(grant("threads:read"), READ), decided(grant(audit=True), READ)

    assert ("billing", READ, ROUTE, Lane.READ) == (held.caller, held.endpoint, held.route, held.lane)
    assert [(Reason.SCOPE_HELD, False), (Reason.SCOPE_NOT_GRANTED, True)] == [
        (permit.reason, permit.would_deny) for permit in (held, audited)
    ]
    assert "" == audit_note(held)
    assert "policy billing: does not grant threads:read; add `threads:read`" in audit_note(audited)


def test_a_missing_scope_is_told_as_productlane_tells_it() -> None:
    """``details`` of `scope_required` list the needed scopes and those that the policy grants."""
    with pytest.raises(Refused) as caught:
        decided(grant("threads:read", "contacts:read"), BOTH)

    assert "This endpoint requires the `contacts:read` and `issues:read` scopes." == caught.value.message
    assert {
        "required": ["contacts:read", "issues:read"],
        "granted": ["contacts:read", "threads:read"],
    } == caught.value.details
    assert (
        "policy billing: does not grant issues:read; add `issues:read` under `scopes` in policy `billing`"
        == caught.value.note
    )


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
    """`Proxy-Status` and the log name the policy and the line to change."""
    with pytest.raises(Refused) as caught:
        decided(policy, endpoint)

    assert [] == [word for word in words if word not in caught.value.note]


def test_a_sidecar_is_sent_to_its_variable() -> None:
    """A sidecar without files reads which variable to change, and not about a policy file that it does not have."""
    sidecar = grant("threads:read")._replace(variable="PRODUCTLANE_SCOPES")
    with pytest.raises(Refused) as scope:
        decided(sidecar, WRITE)
    with pytest.raises(Refused) as guarded:
        decided(sidecar, MERGE)

    assert "add `threads:write` to `$PRODUCTLANE_SCOPES`" == scope.value.fix
    assert "a policy file, which this sidecar needs first" in guarded.value.fix


@pytest.mark.parametrize(("lane", "cap"), [(Lane.READ, 300), (Lane.WRITE, 10), (Lane.UPLOAD, 10)])
def test_a_cap_is_of_a_lane(lane: Lane, cap: int) -> None:
    """An upload counts as a write, and a lane without a limit has no cap."""
    assert (cap, None) == (Policy("app", reads=300, writes=10).cap(lane), Policy("app").cap(lane))


def asked(catalog: Catalog, words: str, policy: Policy = READER) -> Ask:
    """What the rules look at for ``METHOD /path``, with one route that covers companies."""
    method, path = words.split(" ")
    target = read_target(method, path if path.startswith("/api/") else "/api/v2" + path)
    return ask(target, policy, catalog, Routes([COMPANIES], catalog.endpoints), TODAY)


@pytest.mark.parametrize(
    ("words", "endpoint", "route", "refused"),
    [
        ("GET /companies/c_1", "GET /companies/{id}", COMPANIES, None),
        ("HEAD /companies", "GET /companies", COMPANIES, None),
        ("GET /nothing", " ", None, Code.NOT_FOUND),
        ("PUT /companies", " ", None, Code.METHOD_NOT_ALLOWED),
        ("GET /api/v1/companies", " ", None, Code.UNSUPPORTED_API_VERSION),
        ("POST /companies", "POST /companies", COMPANIES, Code.SCOPE_REQUIRED),
        ("POST /companies/c_1/merge", "POST /companies/{id}/merge", COMPANIES, Code.FORBIDDEN),
        ("GET /threads", "GET /threads", None, Code.FORBIDDEN),
    ],
)
def test_a_request_is_decided_from_what_is_known(
    catalog: Catalog, words: str, endpoint: str, route: Route | None, refused: Code | None
) -> None:
    """Logs and metrics of a refusal know the endpoint and the route, and the fast way and the trace agree."""
    one = asked(catalog, words)
    try:
        found = decide(one).rule.code
    except Refused as caught:
        found = caught.code

    assert (endpoint.strip(), route) == (one.endpoint.name.strip(), one.route)
    assert refused == found == final_rule(one).code


def test_target_and_caller_are_known_before_anything_is_asked(catalog: Catalog) -> None:
    """The rules of target and caller decide about no ask: a request that fails them has none."""
    one = asked(catalog, "GET /companies")
    before = [rule for rule in RULES if rule.stage in (Stage.TARGET, Stage.CALLER)]

    assert [(False, "", "")] * len(before) == [(rule.decides(one), *rule.says(one)[:2]) for rule in before]
    assert before


def test_a_policy_can_be_asked_without_keys(catalog: Catalog) -> None:
    """A cases file tests the policy alone, independent of keys and routes."""
    rule = ruling(ask(read_target("GET", "/api/v2/threads"), READER, catalog, None, TODAY))

    assert rule.allows
    assert Reason.SCOPE_HELD is rule.reason


NAMES = ("target", "caller", "version", "endpoint", "method", "expires", "deny", "endpoints", "guarded", "scopes")
WALK = (*NAMES, "mode", "routes", "keys")


@pytest.mark.parametrize(
    ("words", "policy", "outcomes"),
    [
        ("GET /companies", READER, {"scopes": "allows", "mode": "not asked"}),
        ("GET /companies", Policy("billing", audit=True), {"mode": "allows"}),
        ("GET /companies", Policy("billing"), {"scopes": "refuses", "mode": "not asked"}),
        ("POST /companies/c_1/merge", READER, {"guarded": "refuses", "scopes": "not asked"}),
        ("GET /nothing", READER, {"endpoint": "refuses", "method": "not asked"}),
        ("PUT /companies", READER, {"method": "refuses", "expires": "not asked"}),
        ("GET /api/v1/companies", READER, {"version": "refuses", "endpoint": "not asked"}),
        ("GET /threads", READER, {"scopes": "allows", "routes": "refuses", "keys": "not asked"}),
    ],
)
def test_a_trace_says_what_each_rule_did(
    catalog: Catalog, words: str, policy: Policy, outcomes: dict[str, str]
) -> None:
    """Each rule appears once and in order; after a refusal no rule is asked."""
    steps = trace(asked(catalog, words, policy))
    found = {step.rule: step.outcome for step in steps}
    refusing = next((n for n, step in enumerate(steps) if step.outcome == "refuses"), len(steps))

    assert WALK == tuple(step.rule for step in steps)
    assert outcomes == {name: found[name] for name in outcomes}
    assert {"not asked"} >= {step.outcome for step in steps[refusing + 1 :]}
    assert all(bool(step.why) == (step.outcome != "not asked") for step in steps if step.rule != "keys")


def test_a_trace_goes_on_to_the_keys(catalog: Catalog) -> None:
    """With the keys known, the walk ends at the one that serves, or at why none does."""
    one = asked(catalog, "GET /companies")
    good = one._replace(standings={"k": Standing(frozenset({"companies:read"}))})
    bare = one._replace(standings={"k": Standing(frozenset())})

    assert ("keys", "passes", "the only one") == trace(good, "the only one")[-1]
    assert ("keys", "refuses") == trace(bare)[-1][:2]
    assert (Reason.SCOPE_HELD, Reason.SCOPE_ON_NO_KEY) == (final_rule(good).reason, final_rule(bare).reason)


def test_a_target_that_cannot_be_read_ends_the_walk() -> None:
    """No rule is asked about a target that servers could read differently."""
    with pytest.raises(Refused) as caught:
        read_target("GET", "/api/v2//threads")

    steps = trace_unread(caught.value)
    assert WALK == tuple(step.rule for step in steps)
    assert ["refuses", *["not asked"] * (len(WALK) - 1)] == [step.outcome for step in steps]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.reason}")
def test_the_rules_are_one_closed_table(rule: Rule) -> None:
    """Each rule has a stage, a summary and a reason."""
    assert rule.summary
    assert rule.stage in Stage
    assert rule.allows == (rule.code is None)
    assert list(Stage).index(rule.stage) >= max(
        (list(Stage).index(one.stage) for one in RULES[: RULES.index(rule)]), default=0
    )
