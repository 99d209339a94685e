"""The statuses of several replicas combined: which secrets may be revoked, and which need attention."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from gateway.cli.keys.revocation import Sighting, ago, faults, gather, name_of
from gateway.telemetry.status import SlotStatus

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
HOUR = 3600.0


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


CURRENT = Sighting(
    "a",
    "support",
    SlotStatus(
        "1",
        "active",
        preview="newn",
        api_key_id="key_new",
        workspace="wks_1",
        scopes=("threads:read",),
        source="file:/run/secrets/support/current",
        since=before(5 * HOUR),
        last_used=before(1),
        requests_last_hour=120,
    ),
    NOW,
)


def changed(one: Sighting, **fields: Any) -> Sighting:
    """The same sighting with another slot, or at another replica."""
    place = {name: fields.pop(name) for name in ("replica", "key") if name in fields}
    return replace(one, **place, slot=structs.replace(one.slot, **fields))


PREVIOUS = changed(
    CURRENT,
    slot="2",
    source="file:/run/secrets/support/previous",
    preview="oldo",
    api_key_id="key_old",
    state="standby",
    since=before(90 * HOUR),
    last_used=before(3 * HOUR + 60),
    requests_last_hour=0,
)


def advice(*seen: Sighting, doubt: str = "", unused_for: float = HOUR) -> dict[str, tuple[bool, str]]:
    """By preview: whether it is safe to revoke, and the sentence."""
    replicas = list(dict.fromkeys(one.replica for one in seen))
    secrets = gather(seen, replicas, doubt=doubt, unused_for=unused_for)
    return {secret.preview or "": (secret.safe_to_revoke, secret.advice) for secret in secrets}


def at(replica: str, *seen: Sighting) -> list[Sighting]:
    return [changed(one, replica=replica) for one in seen]


def test_an_old_secret_out_of_use_is_safe_to_revoke() -> None:
    """Where another secret is active and this one has been out of use for long enough, a plain sentence says so."""
    said = advice(CURRENT, PREVIOUS)

    assert (True, "`support/previous` was last used 3 h ago; it is safe to revoke.") == said["oldo"]
    assert (False, "") == said["newn"]


def test_a_replaced_secret_in_memory_is_safe_to_revoke() -> None:
    """A secret that is only in memory, and in no file any more, is reported in the same way."""
    said = advice(CURRENT, changed(PREVIOUS, slot="replaced", source=CURRENT.slot.source))

    assert (True, "`support/replaced` was last used 3 h ago; it is safe to revoke.") == said["oldo"]


def test_a_secret_in_use_a_moment_ago_is_not() -> None:
    """A secret that was used within the time asked for has to wait."""
    said = advice(CURRENT, changed(PREVIOUS, last_used=before(120)))

    assert (False, "`support/previous` was last used 2 min ago; wait until it has been unused for 1 h.") == said["oldo"]
    assert advice(CURRENT, changed(PREVIOUS, last_used=before(120)), unused_for=60)["oldo"][0]


def test_the_last_use_of_all_replicas_counts() -> None:
    """A secret that one replica of several still uses is not safe to revoke."""
    seen = [*at("a", CURRENT, PREVIOUS), *at("b", CURRENT, changed(PREVIOUS, last_used=before(5)))]

    assert (False, "`support/previous` was last used 5 s ago; wait until it has been unused for 1 h.") == advice(*seen)[
        "oldo"
    ]


def test_another_secret_has_to_be_active_everywhere() -> None:
    """A replica that has not taken the new secret yet keeps the old one from being revoked, and is named."""
    behind = [changed(CURRENT, replica="b", state="unverified"), changed(PREVIOUS, replica="b")]
    safe, said = advice(*at("a", CURRENT, PREVIOUS), *behind)["oldo"]

    assert (False, "`support/previous` has to stay: no other secret of `support` is active at b.") == (safe, said)


def test_a_secret_that_is_active_somewhere_is_not_judged() -> None:
    """Of a secret that serves at some replica nothing is said: it is in use."""
    seen = [*at("a", CURRENT, PREVIOUS), changed(PREVIOUS, replica="b", state="active", slot="1")]

    assert (False, "") == advice(*seen)["oldo"]


def test_a_replica_that_does_not_answer_counts_as_using_it() -> None:
    """If one replica is silent, no secret is called safe to revoke."""
    safe, said = advice(CURRENT, PREVIOUS, doubt="1 of 2 replicas did not answer; ask again")["oldo"]

    assert not safe
    assert "`support/previous` was last used 3 h ago, but 1 of 2 replicas did not answer; ask again." == said


def test_a_replica_that_has_just_started_knows_nothing_of_before() -> None:
    """A replica that never used a secret vouches only for the time that it has been running."""
    young = changed(PREVIOUS, last_used=None, since=before(600))
    old = changed(PREVIOUS, last_used=None)

    assert not advice(CURRENT, young)["oldo"][0]
    assert "has not been used in the 10 min that are known; wait" in advice(CURRENT, young)["oldo"][1]
    assert "has not been used in the 3 d that are known; it is safe to revoke." in advice(CURRENT, old)["oldo"][1]


@pytest.mark.parametrize(
    ("state", "note", "said"),
    [
        ("rejected", "Productlane answers 401", "is of no use: Productlane answers 401."),
        ("unsupported", "Productlane answers 410", "is of no use: Productlane answers 410."),
        (
            "wrong_workspace",
            "it belongs to workspace x, the key to y",
            "is of no use: it belongs to workspace x, the key to y.",
        ),
        ("standby", "it lacks admin, which policies need", "is not used: it lacks admin, which policies need."),
    ],
)
def test_a_secret_that_cannot_serve_says_why(state: str, note: str, said: str) -> None:
    """A new secret that was not promoted is never called safe to revoke; the output says what is wrong with it."""
    blocked = changed(CURRENT, state=state, note=note, last_used=None)
    serving = changed(PREVIOUS, state="active")

    assert (False, f"`support/current` {said}") == advice(blocked, serving)["newn"]


def test_one_secret_at_two_places_is_one() -> None:
    """The same secret in different slots of replicas is one row, even before it is verified."""
    moved = changed(PREVIOUS, replica="b", slot="replaced", api_key_id=None)
    secrets = gather([*at("a", CURRENT, PREVIOUS), *at("b", CURRENT), moved], ["a", "b"], doubt="", unused_for=HOUR)

    assert [("1", "active", 240), ("2,replaced", "standby", 0)] == [(s.slot, s.state, s.requests) for s in secrets]


def test_two_secrets_with_the_same_four_characters_are_two() -> None:
    """Secrets with the same preview are told apart by their `api_key_id`."""
    twin = changed(PREVIOUS, preview="newn")

    assert 2 == len(gather([CURRENT, twin], ["a"], doubt="", unused_for=HOUR))


def test_states_that_differ_are_counted() -> None:
    """Where replicas disagree, the table says how many see what."""
    seen = [*at("a", CURRENT), *at("b", CURRENT), changed(CURRENT, replica="c", state="unverified")]
    (secret,) = gather(seen, ["a", "b", "c"], doubt="", unused_for=HOUR)

    assert "active (2), unverified (1)" == secret.state


def test_what_is_wrong_with_a_file_is_told() -> None:
    """A broken file is reported beside the advice, with the secret that stays in memory."""
    (secret,) = gather([changed(CURRENT, fault="the file x is empty")], ["a"], doubt="", unused_for=HOUR)

    assert "`support/current`: the file x is empty." == secret.fault


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ([CURRENT, PREVIOUS], []),
        ([changed(CURRENT, state="rejected")], ["`support` has no active secret at a."]),
        (
            [changed(CURRENT, state="rejected", note="Productlane answers 401"), changed(PREVIOUS, state="active")],
            ["`support` is not served by the first of its secrets, support/current: Productlane answers 401."],
        ),
        (
            [changed(CURRENT, state="unverified"), changed(PREVIOUS, state="active", slot="replaced")],
            ["`support` is not served by the first of its secrets, support/current: it is unverified."],
        ),
    ],
)
def test_what_somebody_has_to_see_to(seen: list[Sighting], found: list[str]) -> None:
    """A key without an active secret, and a rotation that did not come through, are faults."""
    assert found == faults(gather(seen, ["a"], doubt="", unused_for=HOUR), ["a"])


def test_secrets_are_called_as_people_call_them() -> None:
    """By key and file, by key and variable, or as replaced."""
    assert "support/current" == name_of(CURRENT)
    assert "support/SUPPORT_KEY" == name_of(changed(CURRENT, source="env:SUPPORT_KEY"))
    assert "support/replaced" == name_of(changed(CURRENT, slot="replaced"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86_400, "1 d")]
)
def test_durations_in_their_largest_unit(seconds: float, text: str) -> None:
    """A duration is shown as one number that is never too large."""
    assert text == ago(seconds)
