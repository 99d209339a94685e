"""`gateway.core.verdict`: the walk that a request and ``explain`` both take, and what is known where it ends."""

from datetime import date

import pytest

from gateway.core.catalog import Catalog
from gateway.core.policy import Permit, Policy
from gateway.core.refusal import Code, Reason
from gateway.core.routing import Route, Routes
from gateway.core.target import read_target
from gateway.core.verdict import judge

TODAY = date(2026, 11, 24)
READER = Policy("billing", frozenset({"companies:read", "threads:read"}))
COMPANIES = Route("/companies/**", ("k",))


@pytest.mark.parametrize(
    ("ask", "endpoint", "permitted", "route", "refused"),
    [
        ("GET /companies/c_1", "GET /companies/{id}", True, COMPANIES, None),
        ("HEAD /companies", "GET /companies", True, COMPANIES, None),
        ("GET /nothing", None, False, None, Code.NOT_FOUND),
        ("PUT /companies", None, False, None, Code.METHOD_NOT_ALLOWED),
        ("POST /companies", "POST /companies", False, None, Code.SCOPE_REQUIRED),
        ("POST /companies/c_1/merge", "POST /companies/{id}/merge", False, None, Code.FORBIDDEN),
        ("GET /threads", "GET /threads", True, None, Code.FORBIDDEN),
    ],
)
def test_a_verdict_tells_how_far_a_request_came(
    catalog: Catalog, ask: str, endpoint: str | None, permitted: bool, route: Route | None, refused: Code | None
) -> None:
    """Whoever explains, logs or counts a refusal knows the endpoint, the permit and the route found before it."""
    method, path = ask.split(" ")
    verdict = judge(
        read_target(method, "/api/v2" + path), READER, catalog, Routes([COMPANIES], catalog.endpoints), TODAY
    )

    assert endpoint == (verdict.endpoint.name if verdict.endpoint else None)
    assert permitted == isinstance(verdict.permit, Permit)
    assert route == verdict.route
    assert refused == (verdict.refused.code if verdict.refused else None)


def test_a_policy_can_be_asked_without_keys(catalog: Catalog) -> None:
    """A cases file holds for the policy alone, whatever keys and routes an installation has."""
    verdict = judge(read_target("GET", "/api/v2/threads"), READER, catalog, None, TODAY)

    assert verdict.refused is None
    assert verdict.route is None
    assert verdict.permit is not None
    assert Reason.SCOPE_HELD is verdict.permit.reason


def test_the_day_is_the_one_that_is_asked_about(catalog: Catalog) -> None:
    """Whether a grant has ended depends on the day given, not on the day of the machine."""
    ending = Policy("billing", frozenset({"threads:read"}), expires=TODAY)
    target = read_target("GET", "/api/v2/threads")

    assert judge(target, ending, catalog, None, date(2026, 11, 23)).refused is None
    assert judge(target, ending, catalog, None, TODAY).refused is not None
