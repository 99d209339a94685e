"""`gateway.proxy.verdicts`: remembered decisions are bounded in number and expire with their policy."""

from datetime import date

from gateway.core.catalog import Catalog, Endpoint, Lane
from gateway.core.decision import Permit, ask, decide
from gateway.core.policy import Policy
from gateway.core.routing import Route, Routes
from gateway.core.target import read_target
from gateway.proxy.verdicts import Today, Verdicts

ENDPOINT = Endpoint("GET", "/threads", frozenset({"threads:read"}), Lane.READ)
CATALOG = Catalog([ENDPOINT], {"threads:read": ""})
ROUTES = Routes([Route("/**", ("main",))], [ENDPOINT])
DAY, NEXT = date(2026, 11, 24), date(2026, 11, 25)


def permit(target: str, caller: str = "one") -> Permit:
    policy = Policy(caller, frozenset({"threads:read"}))
    return decide(ask(read_target("GET", target), policy, CATALOG, ROUTES, DAY))


def test_a_verdict_is_for_the_very_same_request() -> None:
    """Another caller, method, query or day is decided by itself."""
    verdicts = Verdicts()
    given = permit("/api/v2/threads?a=1")
    verdicts.keep(given, "/api/v2/threads?a=1", DAY)
    found = verdicts.find("one", "GET", "/api/v2/threads?a=1", DAY)

    assert found is not None
    assert given is found.permit
    assert verdicts.find("two", "GET", "/api/v2/threads?a=1", DAY) is None
    assert verdicts.find("one", "HEAD", "/api/v2/threads?a=1", DAY) is None
    assert verdicts.find("one", "GET", "/api/v2/threads?a=2", DAY) is None
    assert verdicts.find("one", "GET", "/api/v2/threads?a=1", NEXT) is None


def test_no_caller_can_fill_the_memory() -> None:
    """Of many targets the last thousand are remembered, and of long ones none."""
    verdicts = Verdicts()
    for number in range(3000):
        verdicts.keep(permit(f"/api/v2/threads?a={number}"), f"/api/v2/threads?a={number}", DAY)
    long = "/api/v2/threads?a=" + "b" * 1000
    verdicts.keep(permit(long), long, DAY)

    assert 1024 == len(verdicts._known)
    assert verdicts.find("one", "GET", "/api/v2/threads?a=2999", DAY) is not None
    assert verdicts.find("one", "GET", long, DAY) is None


def test_the_date_changes_at_midnight() -> None:
    """The date is that of the clock in UTC, and one object for a day, by which verdicts are found."""
    now = [1_764_028_799.0]
    today = Today(lambda: now[0])
    before = today()
    same = today()
    now[0] += 1.0

    assert before is same
    assert (date(2025, 11, 24), date(2025, 11, 25)) == (before, today())
