"""`gateway.telemetry.usage`: what each caller used, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.record import Record
from gateway.telemetry.usage import Usage, Use


def test_uses_are_counted_by_caller_and_endpoint() -> None:
    """Usage counts for each caller and endpoint: allowed, denied, allowed by audit, and the last time."""
    times = iter((101.0, 102.0, 103.0, 104.0, 105.0))
    usage = Usage(clock=lambda: next(times))
    for decision in ("allow", "deny", "would_deny", "allow"):
        usage.count(Record(caller="billing", endpoint="GET /companies", decision=decision))
    usage.count(Record(caller="support", endpoint="GET /threads", decision="deny"))

    assert {"GET /companies": Use(allowed=2, denied=1, would_deny=1, last=104.0)} == usage.of("billing")
    assert {"GET /threads": Use(denied=1, last=105.0)} == usage.of("support")
    assert {} == usage.of("nobody")
    assert ("billing", "support") == usage.callers


def test_requests_without_a_decision_are_no_use() -> None:
    """A request that was refused before any policy was asked does not count as something a caller used."""
    usage = Usage()
    usage.count(Record(caller="billing", endpoint="GET /companies"))

    assert () == usage.callers


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=60))
def test_memory_is_bounded_whatever_names_come(pairs: list[tuple[str, str]]) -> None:
    """No flood of names makes the counts grow beyond their bound, and none is lost: the rest count as ``other``."""
    usage = Usage(bound=5)
    for caller, endpoint in pairs:
        usage.count(Record(caller=caller, endpoint=endpoint, decision="allow"))
    uses = [use for caller in usage.callers for use in usage.of(caller).values()]

    assert len(uses) <= 6
    assert len(pairs) == sum(use.allowed for use in uses)


def test_what_a_removed_caller_used_can_be_seen_for_a_week() -> None:
    """A policy that was removed by mistake can be rewritten from its caller's usage; then the usage is forgotten."""
    now = 0.0
    usage = Usage(clock=lambda: now)
    for caller in ("billing", "gone", "-", "other"):
        usage.count(Record(caller=caller, endpoint="GET /companies", decision="allow"))
    now = 7 * 86_400.0
    usage.prune({"billing"})
    within = usage.callers
    now += 1
    usage.prune({"billing"})

    assert ("billing", "gone", "-", "other") == within
    assert ("billing", "-", "other") == usage.callers


def test_what_is_forgotten_makes_room() -> None:
    """Callers that come and go do not use up what there is room for."""
    now = 0.0
    usage = Usage(clock=lambda: now, bound=1)
    usage.count(Record(caller="gone", endpoint="GET /companies", decision="allow"))
    now = 8 * 86_400.0
    usage.prune({"new"})
    usage.count(Record(caller="new", endpoint="GET /companies", decision="allow"))

    assert ("new",) == usage.callers
