"""`gateway.core.comparison`: the effect of a policy change, compared with a slow and obvious implementation."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Catalog, Endpoint, Lane
from gateway.core.comparison import NO_POLICY, Setting, VerdictChange, compare, verdict
from gateway.core.policy import Policy
from tests.support.policies import TODAY, endpoints, policies

READ = Endpoint("GET", "/threads", frozenset({"threads:read"}), Lane.READ)
WRITE = Endpoint("POST", "/threads", frozenset({"threads:write"}), Lane.WRITE)
MERGE = Endpoint("POST", "/companies/{id}/merge", frozenset({"companies:write"}), Lane.WRITE, guarded=True)
ME = Endpoint("GET", "/me", frozenset(), Lane.READ)
ALL = (READ, WRITE, MERGE, ME)

BASE = Policy("app", frozenset({"threads:read"}))
TABLE = [
    (
        BASE._replace(scopes=frozenset()),
        Setting("scopes", removed=("threads:read",)),
        [(READ, "allow", "scope_required")],
    ),
    (
        BASE._replace(scopes=BASE.scopes | {"threads:write"}),
        Setting("scopes", added=("threads:write",)),
        [(WRITE, "scope_required", "allow")],
    ),
    (
        BASE._replace(endpoints=frozenset({MERGE})),
        Setting("endpoints", added=("POST /companies/{id}/merge",)),
        [(MERGE, "forbidden", "allow")],
    ),
    (BASE._replace(deny=frozenset({READ})), Setting("deny", added=("GET /threads",)), [(READ, "allow", "forbidden")]),
    (
        BASE._replace(audit=True),
        Setting("mode", removed=("enforce",), added=("audit",)),
        [(WRITE, "scope_required", "would_deny")],
    ),
    (
        BASE._replace(expires=TODAY),
        Setting("expires", added=("2026-11-24",)),
        [(READ, "allow", "forbidden"), (WRITE, "scope_required", "forbidden"), (ME, "allow", "forbidden")],
    ),
    (BASE._replace(expires=date(2027, 1, 1)), Setting("expires", added=("2027-01-01",)), []),
    (BASE._replace(reads=5), Setting("limits.reads_per_minute", added=("5",)), []),
    (BASE._replace(writes=5), Setting("limits.writes_per_minute", added=("5",)), []),
    (BASE._replace(weight=5), Setting("weight", removed=("1",), added=("5",)), []),
]


@pytest.mark.parametrize(("after", "setting", "verdicts"), TABLE, ids=[setting.name for _, setting, _ in TABLE])
def test_a_setting_and_what_it_turns(
    after: Policy, setting: Setting, verdicts: list[tuple[Endpoint, str, str]]
) -> None:
    """Each changed field of a policy is named, with its effect on exactly the endpoints it concerns."""
    (found,) = compare({"app": BASE}, {"app": after}, ALL, TODAY)

    assert (setting,) == found.settings
    assert {VerdictChange("app", *verdict) for verdict in verdicts} == {*found.verdicts}


def test_a_caller_that_comes_or_goes() -> None:
    """A new caller gains its rights and a removed one loses them; rights it never had are no change."""
    (added,) = compare({}, {"app": BASE}, ALL, TODAY)
    (removed,) = compare({"app": BASE}, {}, ALL, TODAY)

    assert (None, BASE, None) == (added.before, added.after, removed.after)
    assert [(READ, True), (ME, True)] == sorted(
        ((verdict.endpoint, verdict.gained) for verdict in added.verdicts), key=lambda pair: pair[0].name, reverse=True
    )
    assert {(READ, "allow", NO_POLICY), (ME, "allow", NO_POLICY)} == {
        (verdict.endpoint, verdict.before, verdict.after) for verdict in removed.verdicts
    }
    assert all(verdict.lost for verdict in removed.verdicts)


@given(data=st.data())
def test_nothing_changes_between_a_set_and_itself(catalog: Catalog, data: st.DataObject) -> None:
    """A set of policies does not differ from itself."""
    some = {name: data.draw(policies(catalog, name)) for name in ("a", "b")}

    assert () == compare(some, dict(some), catalog.endpoints, TODAY)


@given(data=st.data())
def test_verdicts_are_all_there_are(catalog: Catalog, data: st.DataObject) -> None:
    """An endpoint is reported exactly if the verdicts of the two policies differ, whatever the policies."""
    old, new = data.draw(policies(catalog)), data.draw(policies(catalog))
    found = [
        verdict for one in compare({"app": old}, {"app": new}, endpoints(catalog), TODAY) for verdict in one.verdicts
    ]
    slow = {(endpoint, verdict(old, endpoint, TODAY), verdict(new, endpoint, TODAY)) for endpoint in endpoints(catalog)}

    assert {row for row in slow if row[1] != row[2]} == {
        (verdict.endpoint, verdict.before, verdict.after) for verdict in found
    }


@given(data=st.data())
def test_the_settings_are_what_leads_from_one_to_the_other(catalog: Catalog, data: st.DataObject) -> None:
    """The old policy without the removed and with the added parts is the new policy, and the reverse."""
    old, new = data.draw(policies(catalog)), data.draw(policies(catalog))
    there = {
        setting.name: setting for one in compare({"app": old}, {"app": new}, (), TODAY) for setting in one.settings
    }
    back = {setting.name: setting for one in compare({"app": new}, {"app": old}, (), TODAY) for setting in one.settings}

    def changed(name: str, before: frozenset[str]) -> frozenset[str]:
        setting = there.get(name, Setting(name))
        assert frozenset(setting.removed) <= before
        return before - frozenset(setting.removed) | frozenset(setting.added)

    assert new.scopes == changed("scopes", old.scopes)
    for name in ("endpoints", "deny"):
        before, after = (frozenset(endpoint.name for endpoint in getattr(one, name)) for one in (old, new))
        assert after == changed(name, before)
    assert ("mode" in there) == (old.audit != new.audit)
    assert {name: (one.added, one.removed) for name, one in there.items()} == {
        name: (one.removed, one.added) for name, one in back.items()
    }
